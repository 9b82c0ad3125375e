"""What surrounds a plot: value axis, step axis with alert marks, header with the last or the pointed-at values."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from thermotui.tui.charts.frame import Frame, blank
from thermotui.tui.charts.model import ChartData, Mark, SeriesData, Shade
from thermotui.tui.charts.numbers import format_compact, format_tick, format_value, to_ascii
from thermotui.tui.charts.roles import ROLE
from thermotui.tui.charts.scales import Axis, linear_ticks, nice_step

SEVERITY_ORDER = {"minor": 0, "warning": 1, "critical": 2}


def gutter_width(width: int) -> int:
    """Cells left of the plot for labels of the value axis: the same for every chart of a width, so panels line up."""
    if width < 20:
        return 0
    return 7 if width < 60 else 9


def write_y_axis(frame: Frame, top: int, rows: int, gutter: int, axis: Axis, *, ascii_only: bool) -> None:
    """A vertical line with a label in every second row of a low plot, and in every third of a high one."""
    column = gutter - 1
    frame.characters[top : top + rows, column] = ord("|" if ascii_only else "│")
    frame.foreground[top : top + rows, column] = ROLE["axis"]
    for y, label in _y_labels(axis, rows, column, ascii_only=ascii_only):
        frame.write(top + y, column - len(label), label, "muted")
        frame.write(top + y, column, "+" if ascii_only else "┤", "axis")


@lru_cache(64)
def _y_labels(axis: Axis, rows: int, room: int, *, ascii_only: bool) -> tuple[tuple[int, str], ...]:
    """Rows of the plot that have a label, and the labels."""
    ticks = axis.ticks(max(2, min(rows // 2, 3 + rows // 5)))
    steps = np.diff(ticks)
    step = float(steps.min()) if steps.size else abs(ticks[0]) if ticks else 1.0
    labels: dict[int, str] = {}
    for tick, height in zip(ticks, axis.transform(ticks).tolist(), strict=True):
        label = format_tick(tick, step if axis.scale == "linear" else abs(tick))
        label = to_ascii(label) if ascii_only else label
        y = min(int((1.0 - height) * rows), rows - 1)
        if y not in labels and 0.0 <= height <= 1.0 + 1e-9 and len(label) <= room:
            labels[y] = label
    return tuple(labels.items())


def write_x_axis(
    frame: Frame, y: int, gutter: int, x_range: tuple[float, float], data: ChartData, *, ascii_only: bool, labels: bool
) -> None:
    """The step axis: double where an interval is valid, marked where an alert was raised, with labels below."""
    axis = _x_axis(frame.width, gutter, x_range, data.shades, data.marks, ascii_only=ascii_only, labels=labels)
    there, first = slice(y, y + 1 + labels), max(gutter - 1, 0)
    frame.characters[there, first:] = axis.characters[: 1 + labels, first:]
    frame.foreground[there, first:] = axis.foreground[: 1 + labels, first:]


@lru_cache(16)
def _x_axis(
    width: int,
    gutter: int,
    x_range: tuple[float, float],
    shades: tuple[Shade, ...],
    marks: tuple[Mark, ...],
    *,
    ascii_only: bool,
    labels: bool,
) -> Frame:
    """Two rows of that width, from the gutter on: most charts on a screen have the same axis."""
    frame, y = blank(2, width), 0
    start, end = x_range
    cells = width - gutter
    plain, double, tick_mark, alert = ("-", "=", "+", "^") if ascii_only else ("─", "═", "┬", "▲")
    frame.write(y, gutter, plain * cells, "axis")
    if gutter:
        frame.write(y, gutter - 1, "+" if ascii_only else "└", "axis")

    def cell(x: float) -> int:
        return int((x - start) / (end - start) * cells)

    for shade in shades:
        first, last = max(0, cell(max(shade.start, start))), min(cells, cell(min(shade.end, end)) + 1)
        if shade.start < end and shade.end > start and last > first:
            frame.write(y, gutter + first, double * (last - first), "valid")
    for x, left, label in _x_labels(x_range, cells):
        frame.write(y, gutter + x, tick_mark, "axis")
        if labels and label:
            frame.write(y + 1, gutter + left, to_ascii(label) if ascii_only else label, "muted")
    for mark in sorted(marks, key=lambda mark: SEVERITY_ORDER[mark.severity]):
        if start <= mark.x < end:
            # The most severe of the marks that share a cell is the one seen.
            frame.write(y, gutter + min(cell(mark.x), cells - 1), alert, mark.severity)
    return frame


@lru_cache(64)
def _x_labels(x_range: tuple[float, float], cells: int) -> tuple[tuple[int, int, str], ...]:
    """Cells of the ticks, first cells of their labels, and the labels; no label where it would touch its neighbour."""
    start, end = x_range
    count = max(1, cells // 11)
    ticks = linear_ticks(start, end, count)
    while not ticks:
        # The step that would fit has no multiple within.
        count += 1
        ticks = linear_ticks(start, end, count)
    step = ticks[1] - ticks[0] if len(ticks) > 1 else nice_step(end - start, count)
    free, labels = 0, []
    for tick in ticks:
        x = int((tick - start) / (end - start) * cells)
        if not 0 <= x < cells:
            continue
        label = format_tick(tick, step)
        left = min(max(x - len(label) // 2, free), cells - len(label))
        if left < free:
            labels.append((x, x, ""))
        else:
            labels.append((x, left, label))
            free = left + len(label) + 1
    return tuple(labels)


def read_out(series: SeriesData, x: float | None) -> tuple[float, float | None]:
    """The value to print for a series: (value, standard error or None), of the row at or before x where that is known,

    or else of the last finite point at or before x. x None means the newest. NaN where there is none.
    """
    row = series.row
    if row is not None and row.at == (None if x is None else max(0, int(x))) and np.isfinite(row.value):
        return row.value, row.error
    stop = series.x.size if x is None else int(np.searchsorted(series.x, x, side="right"))
    index = stop - 1
    if x is None:
        finite = np.flatnonzero(np.isfinite(series.mean[-1024:]))
        if finite.size:
            index = max(series.x.size - 1024, 0) + int(finite[-1])
    if index < 0:
        return np.nan, None
    error = None
    if series.se_low is not None and series.se_high is not None:
        error = (float(series.se_high[index]) - float(series.se_low[index])) / 2
    return float(series.mean[index]), error


Parts = tuple[tuple[str, str], ...]
"""Texts with their roles."""


def header_parts(data: ChartData, cursor: float | None, width: int, *, ascii_only: bool) -> Parts:
    """Title, unit and notes, then each series' name and latest value, or the values at the cursor.

    Where they do not fit, notes go first, then errors move into parentheses as in 4.91(5), then title and names become
    short, then the unit goes, then values, the last series' first: the names tell the colours apart.
    """
    count = len(data.series)
    variants = [
        _Header(unit=True, notes=True, values=count),
        _Header(unit=True, values=count),
        _Header(unit=True, compact=True, values=count),
        _Header(unit=True, compact=True, short=True, values=count),
        _Header(compact=True, short=True, values=count),
        *(_Header(compact=True, short=True, values=values, gap=" ") for values in range(count, -1, -1)),
    ]
    for variant in variants:
        parts = variant.parts(data, cursor, ascii_only=ascii_only)
        if sum(len(text) for text, _ in parts) <= width:
            break
    return tuple(parts)


def write_header(frame: Frame, parts: Parts, *, ascii_only: bool) -> None:
    """The parts of a header, as far as they fit."""
    x = 0
    for text, role in parts:
        if x + len(text) > frame.width and x:
            frame.write(0, min(x, frame.width - 1), "~" if ascii_only else "…", "muted")
            break
        x = frame.write(0, x, text, role)


class _Header(NamedTuple):
    """What of a header is written: how many series have their values, and whether errors are in parentheses."""

    values: int
    unit: bool = False
    notes: bool = False
    compact: bool = False
    short: bool = False
    gap: str = "  "

    def parts(self, data: ChartData, cursor: float | None, *, ascii_only: bool) -> list[tuple[str, str]]:
        """Texts with their roles, each but the first with the blanks before it."""
        title = (data.short if self.short else "") or data.title
        parts = [(title, "title")] if title else []
        if self.unit and data.unit:
            parts.append((f" [{data.unit}]", "muted"))
        if self.notes:
            parts += [(f" {note}", "muted") for note in data.notes]
        if cursor is not None:
            parts.append((f"{self.gap}{data.x_label} {cursor:.0f}", "cursor"))
        for index, series in enumerate(data.series):
            called = (series.short if self.short else "") or series.name
            name = "" if len(data.series) == 1 and series.name == data.title else f" {called}"
            text = ""
            if index < self.values:
                value, error = read_out(series, cursor)
                compact = format_compact(value, error) if self.compact else ""
                text = f" {compact or format_value(value, error, exact=series.exact)}"
            parts.append(((self.gap if parts else "") + ("-" if ascii_only else "━"), series.colour_role))
            parts.append((name + text, "plain"))
        return [(to_ascii(text), role) for text, role in parts] if ascii_only else parts
