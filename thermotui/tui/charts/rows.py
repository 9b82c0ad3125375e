"""One row a layer: sparklines and heatmaps as frames of cells, pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from thermotui.tui.charts.axes import read_out
from thermotui.tui.charts.buckets import Columns, all_to_columns
from thermotui.tui.charts.frame import Frame, blank
from thermotui.tui.charts.model import Floats, SeriesData
from thermotui.tui.charts.numbers import format_compact, format_value, to_ascii
from thermotui.tui.charts.raster import GLYPHS, Mode, line_span, span_bits
from thermotui.tui.charts.roles import HEAT_LEVELS, ROLE
from thermotui.tui.charts.scales import Axis

VALUE_WIDTH = 17
"""Cells kept for `−12.34 ± 0.05` and the like at the end of a sparkline's row."""

HEAT_TEXT = " .:-=+*#%@"
"""Levels of a heatmap where there are no colours to tell them apart."""


class RowLayout(NamedTuple):
    """Cells of a row: the name, the plot, the last value."""

    name: int
    plot: int
    value: int


def row_layout(width: int, names: Sequence[str], *, values: bool = True) -> RowLayout:
    """Share out a row of `width` cells; the plot keeps at least half of what names and values leave."""
    name = min(max((len(text) for text in names), default=0), name_room(width)) + 1
    value = VALUE_WIDTH + 1 if values and width >= 40 else 0
    return RowLayout(name, max(width - name - value, 1), value)


def name_room(width: int) -> int:
    """Most cells that the names take of a row of `width`."""
    return max(width // 4, 4)


def short_names(names: Sequence[str], room: int) -> tuple[str, ...]:
    """The names without the dotted parts that all of them begin or end with, as far as `room` cells ask for it."""
    parts = [name.split(".") for name in names]
    for end in (-1, 0):
        while max((len(".".join(each)) for each in parts), default=0) > room:
            if min(map(len, parts)) < 2 or len({each[end] for each in parts}) > 1:
                break
            parts = [each[:-1] if end else each[1:] for each in parts]
    return tuple(map(".".join, parts))


def spark_range(columns: Columns) -> tuple[float, float, float]:
    """Smallest and largest value of a row, and the smallest above zero; NaN where there is none."""
    low, high = columns.low[columns.measured], columns.high[columns.measured]
    if not low.size:
        return np.nan, np.nan, np.nan
    positive = np.concatenate((low[low > 0], high[high > 0]))
    return float(low.min()), float(high.max()), float(positive.min()) if positive.size else np.nan


def value_text(series: SeriesData, *, ascii_only: bool) -> str:
    """The last value with its error in at most VALUE_WIDTH cells: a number is written another way, but never cut."""
    value, error = read_out(series, None)
    for text in (format_value(value, error, exact=series.exact), format_compact(value, error)):
        shown = to_ascii(text) if ascii_only else text
        if len(shown) <= VALUE_WIDTH:
            return shown
    return "~" if ascii_only else "…"


def spark_columns(
    series: Sequence[SeriesData], names: Sequence[str], x_range: tuple[float, float], width: int, mode: Mode
) -> tuple[Columns, ...]:
    """The series in the dot columns of rows of `width` cells."""
    dots = row_layout(width, names).plot * GLYPHS[mode].across
    return all_to_columns(series, x_range, dots)


def draw_sparklines(
    series: Sequence[SeriesData],
    columns: Sequence[Columns],
    names: Sequence[str],
    width: int,
    mode: Mode,
    axes: Sequence[Axis],
    marked: int | None = None,
    tall: int = 1,
) -> Frame:
    """A series in `tall` rows: name, minima and maxima between the two ends of its axis, last value ± error.

    columns: the series as `spark_columns` has them. names: what to call them; those too long are cut. axes: the value
    axis of each row; on a log axis zero and less lie at the bottom, as they were measured. marked: index of the row
    that the cursor is on.
    """
    frame = blank(len(series) * tall, width)
    place = row_layout(width, names)
    if not series:
        return frame
    bits = _spark_bits(columns, axes, tall, mode)
    characters = GLYPHS[mode].characters[bits]
    for index, each in enumerate(series):
        y = index * tall
        write_name(frame, y, names[index], place.name, mode, selected=index == marked)
        plot = slice(y, y + tall), slice(place.name, place.name + place.plot)
        frame.characters[plot] = characters[index]
        frame.foreground[plot] = ROLE[each.colour_role]
        if place.value:
            text = value_text(each, ascii_only=mode == "ascii")
            frame.write(y, width - len(text), text, "plain")
    return frame


def _spark_bits(columns: Sequence[Columns], axes: Sequence[Axis], tall: int, mode: Mode) -> NDArray[np.uint8]:
    """Bits [series, tall, cells]: from minima to maxima, and the line of the means."""
    mean = np.array([each.mean for each in columns])
    # Between points the mean is interpolated; minima and maxima are only known where something was measured.
    measured = np.array([each.measured for each in columns])
    extremes = np.array([[each.low for each in columns], [each.high for each in columns]])
    heights = np.array([*np.where(measured, extremes, mean), mean])
    for index, axis in enumerate(axes):
        values = heights[:, index]
        heights[:, index] = axis.transform(np.maximum(values, axis.low) if axis.scale == "log" else values)
    low, high, mean = heights
    top, bottom = line_span(mean, tall * GLYPHS[mode].down)
    extreme, line = span_bits(np.array((high, top)), np.array((low, bottom)), tall, mode)
    return np.asarray(extreme | line)


def draw_heatmap(
    series: Sequence[SeriesData],
    names: Sequence[str],
    x_range: tuple[float, float],
    width: int,
    mode: Mode,
    levels: tuple[float, float],
    *,
    colours: bool = True,
    logarithmic: bool = False,
    marked: int | None = None,
    tall: int = 1,
) -> Frame:
    """A series in `tall` rows, one cell a bucket of steps: its largest value as a colour, or as a character.

    levels: values at the lowest and the highest of the HEAT_LEVELS colours. Cells without a value stay empty.
    """
    frame = blank(len(series) * tall, width)
    place = row_layout(width, names, values=False)
    cells = slice(place.name, place.name + place.plot)
    characters = np.array([ord(character) for character in HEAT_TEXT], np.uint32)
    for index, columns in enumerate(all_to_columns(series, x_range, place.plot)):
        values = np.where(columns.measured, columns.high, columns.mean)
        fractions = _fractions(values, levels, logarithmic=logarithmic)
        level = np.clip(np.nan_to_num(fractions, nan=0.0) * HEAT_LEVELS, 0, HEAT_LEVELS - 1).astype(np.uint8)
        known = np.isfinite(fractions)
        write_name(frame, index * tall, names[index], place.name, mode, selected=index == marked)
        plot = slice(index * tall, (index + 1) * tall), cells
        if colours and mode != "ascii":
            frame.background[plot] = np.where(known, level + ROLE["heat_0"], 0)
        else:
            # The lowest level is a blank and would look like nothing measured.
            frame.characters[plot] = np.where(known, characters[np.maximum(level, 1)], ord(" "))
            # The lowest colour is near that of the background.
            frame.foreground[plot] = np.where(known, np.maximum(level, 1) + ROLE["heat_0"], 0)
    return frame


def _fractions(values: Floats, levels: tuple[float, float], *, logarithmic: bool) -> Floats:
    """Place values between the levels: 0 at the lowest, 1 at the highest; NaN where there is no place."""
    ends = np.array(levels)
    if logarithmic:
        # Zero has no logarithm, but it was measured: the lowest level stands for it.
        values = np.log(np.where(values <= 0, ends[0], values))
        ends = np.log(ends)
    extent = ends[1] - ends[0]
    if not extent > 0:
        return np.where(np.isfinite(values), 0.5, np.nan)
    return np.asarray((values - ends[0]) / extent)


def write_key(
    frame: Frame, y: int, x: int, levels: tuple[float, float], mode: Mode, *, colours: bool, note: str
) -> None:
    """What the colours of a heatmap mean: the values at its lowest and at its highest level."""
    low, high = (format_value(level) for level in levels)
    if mode == "ascii":
        low, high = to_ascii(low), to_ascii(high)
    x = frame.write(y, x, f"{low} ", "muted")
    end = min(x + HEAT_LEVELS, frame.width)
    heat = np.arange(end - x, dtype=np.uint8) + ROLE["heat_0"]
    if colours and mode != "ascii":
        frame.background[y, x:end] = heat
    else:
        frame.write(y, x, HEAT_TEXT.replace(" ", "."))
        frame.foreground[y, x:end] = heat
    frame.write(y, end, f" {high} {note}", "muted")


def write_name(frame: Frame, y: int, name: str, width: int, mode: Mode, *, selected: bool) -> None:
    """The name of a row, cut in the middle where it is too long: its end tells layers apart."""
    name = to_ascii(name) if mode == "ascii" else name
    room = width - 1
    if len(name) > room:
        gap = "~" if mode == "ascii" else "…"
        head = (room - 1) // 2
        name = name[:head] + gap + name[len(name) - (room - 1 - head) :] if room > 1 else name[:room]
    frame.write(y, 0, name, "title" if selected else "muted")
    if selected:
        frame.write(y, width - 1, ">" if mode == "ascii" else "▶", "cursor")
