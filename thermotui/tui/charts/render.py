"""One chart as a frame of cells: pure, so that it can be tested, timed and written to a file without a screen."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np

from thermotui.tui.charts.axes import Parts, gutter_width, header_parts, write_header, write_x_axis, write_y_axis
from thermotui.tui.charts.buckets import Columns, all_to_columns
from thermotui.tui.charts.frame import Frame, Roles, blank
from thermotui.tui.charts.model import ChartData, Floats
from thermotui.tui.charts.numbers import to_ascii
from thermotui.tui.charts.raster import GLYPHS, Mode, dither, line_span, span_bits
from thermotui.tui.charts.roles import ROLE, band_role
from thermotui.tui.charts.scales import Axis


class Layout(NamedTuple):
    """Where the parts of a chart of `width` × `height` cells lie; small ones drop labels, axis and header."""

    width: int
    height: int
    gutter: int
    header: bool
    axis: bool
    labels: bool

    @property
    def top(self) -> int:
        """First row of the plot."""
        return int(self.header)

    @property
    def rows(self) -> int:
        """Rows of the plot."""
        return max(1, self.height - self.header - self.axis - self.labels)

    @property
    def cells(self) -> int:
        """Cells in a row of the plot."""
        return max(1, self.width - self.gutter)


def layout(width: int, height: int) -> Layout:
    """The layout of a chart of that size, in cells."""
    width, height = max(width, 1), max(height, 1)
    return Layout(width, height, gutter_width(width), height >= 3, height >= 4, height >= 5)


def columns_of(data: ChartData, x_range: tuple[float, float], cells: int, mode: Mode) -> tuple[Columns, ...]:
    """Each series in the dot columns of a plot `cells` wide."""
    return columns_of_all((data,), x_range, cells, mode)[0]


def columns_of_all(
    charts: Sequence[ChartData], x_range: tuple[float, float], cells: int, mode: Mode
) -> list[tuple[Columns, ...]]:
    """The series of each chart in the dot columns of plots `cells` wide."""
    everything = [series for data in charts for series in data.series]
    columns = iter(all_to_columns(everything, x_range, cells * GLYPHS[mode].across))
    return [tuple(islice(columns, len(data.series))) for data in charts]


def value_range(columns: tuple[Columns, ...]) -> tuple[float, float, float]:
    """Smallest and largest value drawn, and the smallest above zero; NaN where there is none."""
    parts = [
        part
        for each in columns
        for part in (each.low, each.high, each.mean, each.lower, each.upper)
        if part is not None
    ]  # fmt: skip
    values = np.concatenate(parts) if parts else np.empty(0)
    values = values[np.isfinite(values)]
    if not values.size:
        return np.nan, np.nan, np.nan
    magnitudes = np.abs(values[values != 0])
    return float(values.min()), float(values.max()), float(magnitudes.min()) if magnitudes.size else np.nan


class Sketch(NamedTuple):
    """What one chart is to show and where: data with their columns, the part of the run, the axis, the cursor.

    header: its parts as `header_parts` gives them; None where they are still to be made.
    """

    data: ChartData
    columns: tuple[Columns, ...]
    place: Layout
    axis: Axis
    x_range: tuple[float, float]
    mode: Mode = "braille"
    cursor: float | None = None
    header: Parts | None = None


def draw(
    data: ChartData,
    columns: tuple[Columns, ...],
    place: Layout,
    axis: Axis,
    x_range: tuple[float, float],
    mode: Mode = "braille",
    cursor: float | None = None,
) -> Frame:
    """Draw a chart: header, curves with their bands, axes with labels, shaded intervals, alert marks and the cursor."""
    return draw_all((Sketch(data, columns, place, axis, x_range, mode, cursor),))[0]


def draw_all(sketches: Sequence[Sketch]) -> list[Frame]:
    """Draw charts as `draw` does each, the curves of all plots of one size in one go: numpy's calls cost, not dots."""
    plots: dict[int, tuple[Roles, Roles]] = {}
    alike: dict[tuple[int, int, Mode], list[int]] = {}
    for index, sketch in enumerate(sketches):
        alike.setdefault((sketch.place.rows, sketch.place.cells, sketch.mode), []).append(index)
    for (rows, cells, mode), indices in alike.items():
        plots.update(zip(indices, _curves([sketches[index] for index in indices], rows, cells, mode), strict=True))
    return [_draw(sketch, *plots[index]) for index, sketch in enumerate(sketches)]


def _draw(sketch: Sketch, bits: Roles, roles: Roles) -> Frame:
    """The frame around the curves of a plot, given as `_curves` gives them."""
    data, place, axis, x_range, mode = sketch.data, sketch.place, sketch.axis, sketch.x_range, sketch.mode
    frame = blank(place.height, place.width)
    plot = slice(place.top, place.top + place.rows), slice(place.gutter, place.gutter + place.cells)
    frame.characters[plot] = GLYPHS[mode].characters[bits]
    frame.foreground[plot] = roles
    _shade(frame, place, data, x_range)
    if place.gutter:
        write_y_axis(frame, place.top, place.rows, place.gutter, axis, ascii_only=mode == "ascii")
    if place.axis:
        y = place.top + place.rows
        write_x_axis(frame, y, place.gutter, x_range, data, ascii_only=mode == "ascii", labels=place.labels)
    if sketch.cursor is not None:
        _point(frame, place, sketch.cursor, x_range, mode)
    if axis.scale == "log":
        hidden = [
            series.name for series, each in zip(data.series, sketch.columns, strict=True) if (each.low <= 0).any()
        ]
        text = f"{', '.join(hidden)} ≤ 0 not shown"
        text = to_ascii(text) if mode == "ascii" else text
        if hidden and len(text) < place.cells:
            frame.write(place.top, place.width - len(text), text, "warning")
    if place.header:
        ascii_only = mode == "ascii"
        parts = sketch.header or header_parts(data, sketch.cursor, place.width, ascii_only=ascii_only)
        write_header(frame, parts, ascii_only=ascii_only)
    if mode == "ascii":
        frame.characters[frame.characters > 126] = ord("?")
    return frame


def _curves(sketches: Sequence[Sketch], rows: int, cells: int, mode: Mode) -> list[tuple[Roles, Roles]]:
    """Bits and roles of the cells [rows, cells] of each plot: of each series its band, its line over it, its spikes."""
    nothing = np.zeros((rows, cells), np.uint8)
    drawn = [sketch for sketch in sketches if sketch.columns]
    if not drawn:
        return [(nothing, nothing) for _ in sketches]
    low, high, mean, lower, upper = np.concatenate([_heights(each.columns, each.axis) for each in drawn], axis=1)
    spikes = _spikes(low, high, 1.5 / rows)
    tops, bottoms = line_span(mean, rows * GLYPHS[mode].down)
    upper_ends = np.array([high, upper, tops, *(top for top, _ in spikes)])
    lower_ends = np.array([low, lower, bottoms, *(bottom for _, bottom in spikes)])
    extremes, errors, lines, *spiked = span_bits(upper_ends, lower_ends, rows, mode)
    errors &= dither(rows, cells, mode)
    bands = extremes | errors
    plots, at = [], 0
    for sketch in sketches:
        bits, roles = nothing.copy(), nothing.copy()
        for series in sketch.data.series[: len(sketch.columns)]:
            _paint(bits, roles, bands[at], band_role(series.colour_role))
            _paint(bits, roles, lines[at], series.colour_role, full=GLYPHS[mode].full)
            for spike in spiked:
                _paint(bits, roles, spike[at], series.colour_role)
            at += 1
        plots.append((bits, roles))
    return plots


def _heights(columns: tuple[Columns, ...], axis: Axis) -> Floats:
    """Low, high, mean and the edges of the error band, NaN where there is none, on the axis: [5, series, columns].

    Far-away heights are cut to just outside of the picture, so that rows fit into integers.
    """
    nothing = np.full(columns[0].mean.size, np.nan)
    lower = [nothing if each.lower is None else each.lower for each in columns]
    upper = [nothing if each.upper is None else each.upper for each in columns]
    parts = [[each.low for each in columns], [each.high for each in columns], [each.mean for each in columns]]
    values = np.array([*parts, lower, upper])
    if axis.scale == "log":
        values[3] = np.maximum(values[3], axis.low)
    return np.asarray(np.clip(axis.transform(values), -1.0, 2.0))


def _spikes(low: Floats, high: Floats, margin: float) -> list[tuple[Floats, Floats]]:
    """Where a column's extreme leaves those of both neighbours by more than `margin` of the axis: top and bottom.

    low, high, and both of what is returned, rising and falling or nothing at all: [series, columns]. Drawn as bright
    as the curve: one bad step among millions is what one looks for.
    """
    around = np.full((2, 2, *low.shape), np.nan)
    around[0, ..., 1:], around[1, ..., :-1] = (low[:, :-1], high[:, :-1]), (low[:, 1:], high[:, 1:])
    around_low, around_high = np.fmin(around[0, 0], around[1, 0]), np.fmax(around[0, 1], around[1, 1])
    up, down = high - around_high > margin, around_low - low > margin
    if not (up.any() or down.any()):
        return []
    return [(np.where(up, high, np.nan), around_high), (around_low, np.where(down, low, np.nan))]


def _paint(bits: Roles, roles: Roles, added: Roles, role: str, full: int | None = None) -> None:
    """Add dots to the plot. With `full` they replace those of a full cell, so a curve shows within its band."""
    touched = added > 0
    if full is not None:
        bits[touched & (bits == full)] = 0
    bits |= added
    roles[touched] = ROLE[role]


def _shade(frame: Frame, place: Layout, data: ChartData, x_range: tuple[float, float]) -> None:
    start, end = x_range
    rows = slice(place.top, place.top + place.rows)
    for shade in data.shades:
        first = round((max(shade.start, start) - start) / (end - start) * place.cells)
        last = round((min(shade.end, end) - start) / (end - start) * place.cells)
        if last > first:
            frame.background[rows, place.gutter + first : place.gutter + last] = ROLE["valid"]


def _point(frame: Frame, place: Layout, cursor: float, x_range: tuple[float, float], mode: Mode) -> None:
    """A vertical line at the cursor, behind the curves."""
    start, end = x_range
    if not start <= cursor < end:
        return
    cell = place.gutter + int((cursor - start) / (end - start) * place.cells)
    rows = slice(place.top, place.top + place.rows)
    frame.background[rows, cell] = ROLE["cursor"]
    empty = frame.characters[rows, cell] == ord(" ")
    frame.characters[rows, cell][empty] = ord("|" if mode == "ascii" else "│")
    frame.foreground[rows, cell][empty] = ROLE["cursor"]
