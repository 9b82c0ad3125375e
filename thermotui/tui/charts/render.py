"""One chart as a frame of cells: pure, so that it can be tested, timed and written to a file without a screen."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from thermotui.tui.charts.axes import gutter_width, write_header, write_x_axis, write_y_axis
from thermotui.tui.charts.buckets import Columns, to_columns
from thermotui.tui.charts.frame import Frame, Roles, blank
from thermotui.tui.charts.model import ChartData, Floats
from thermotui.tui.charts.numbers import to_ascii
from thermotui.tui.charts.raster import GLYPHS, Dots, Mode, fill_between, line, pack
from thermotui.tui.charts.roles import ROLE, band_role
from thermotui.tui.charts.scales import Axis


@dataclass(frozen=True)
class Layout:
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


def layout(width: int, height: int, *, header: bool = True) -> Layout:
    """The layout of a chart of that size, in cells."""
    width, height = max(width, 1), max(height, 1)
    return Layout(width, height, gutter_width(width), header and height >= 3, height >= 4, height >= 5)


def columns_of(data: ChartData, x_range: tuple[float, float], cells: int, mode: Mode) -> tuple[Columns, ...]:
    """Each series in the dot columns of a plot `cells` wide."""
    return tuple(to_columns(series, x_range, cells * GLYPHS[mode].across) for series in data.series)


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
    frame = blank(place.height, place.width)
    glyphs = GLYPHS[mode]
    bits = np.zeros((place.rows, place.cells), np.uint8)
    roles = np.zeros_like(bits)
    for series, each in zip(data.series, columns, strict=True):
        rows = place.rows * glyphs.down
        heights = _heights(each, axis)
        _paint(bits, roles, _band(heights, rows), mode, band_role(series.colour_role))
        _paint(bits, roles, line(heights[2], rows), mode, series.colour_role, over_full=True)
        _paint(bits, roles, _spikes(heights, rows, 1.5 * glyphs.down / rows), mode, series.colour_role)
    plot = slice(place.top, place.top + place.rows), slice(place.gutter, place.gutter + place.cells)
    frame.characters[plot] = glyphs.characters[bits]
    frame.foreground[plot] = roles
    _shade(frame, place, data, x_range)
    if place.gutter:
        write_y_axis(frame, place.top, place.rows, place.gutter, axis, ascii_only=mode == "ascii")
    if place.axis:
        y = place.top + place.rows
        write_x_axis(frame, y, place.gutter, x_range, data, ascii_only=mode == "ascii", labels=place.labels)
    if cursor is not None:
        _point(frame, place, cursor, x_range, mode)
    if axis.scale == "log":
        hidden = [series.name for series, each in zip(data.series, columns, strict=True) if (each.low <= 0).any()]
        text = f"{', '.join(hidden)} ≤ 0 not shown"
        text = to_ascii(text) if mode == "ascii" else text
        if hidden and len(text) < place.cells:
            frame.write(place.top, place.width - len(text), text, "warning")
    if place.header:
        write_header(frame, data, cursor, ascii_only=mode == "ascii")
    if mode == "ascii":
        frame.characters[frame.characters > 126] = ord("?")
    return frame


def _heights(each: Columns, axis: Axis) -> Floats:
    """Low, high and mean, and the edges of the error band if there is one, on the axis: [3 or 5, columns].

    Far-away heights are cut to just outside of the picture, so that rows fit into integers.
    """
    if each.lower is None or each.upper is None:
        values = np.stack((each.low, each.high, each.mean))
    else:
        lower = np.maximum(each.lower, axis.low) if axis.scale == "log" else each.lower
        values = np.stack((each.low, each.high, each.mean, lower, each.upper))
    return np.asarray(np.clip(axis.transform(values), -1.0, 2.0))


def _band(heights: Floats, rows: int) -> Dots:
    """Every dot from minimum to maximum, and every second one of the error band, [rows, columns]."""
    extremes = fill_between(heights[1], heights[0], rows)
    if len(heights) == 3:
        return extremes
    return extremes | (fill_between(heights[4], heights[3], rows) & _dither(extremes.shape))


def _spikes(heights: Floats, rows: int, margin: float) -> Dots:
    """Where a column's extreme leaves those of both neighbours by more than `margin` of the axis, [rows, columns].

    Drawn as bright as the curve: one bad step among millions is what one looks for.
    """
    low, high = heights[:2]
    around = np.full((2, 2, low.size), np.nan)
    around[:, 0, 1:], around[:, 1, :-1] = heights[:2, :-1], heights[:2, 1:]
    around_low, around_high = np.fmin(*around[0]), np.fmax(*around[1])
    up, down = high - around_high > margin, around_low - low > margin
    if not (up.any() or down.any()):
        return np.zeros((rows, low.size), np.bool_)
    rising = fill_between(np.where(up, high, np.nan), around_high, rows)
    return rising | fill_between(around_low, np.where(down, low, np.nan), rows)


@lru_cache(64)
def _dither(shape: tuple[int, int]) -> Dots:
    """Every second dot, so that a band looks unlike a curve without colours too."""
    rows, columns = np.indices(shape, sparse=True)
    return np.asarray((rows + columns) % 2 == 0)


def _paint(bits: Roles, roles: Roles, dots: Dots, mode: Mode, role: str, *, over_full: bool = False) -> None:
    """Add dots to the plot. With over_full they replace those of a full cell, so a curve shows within its band."""
    if not dots.any():
        return
    added = pack(dots, mode)
    kept = np.where(bits == GLYPHS[mode].full, 0, bits) if over_full else bits
    touched = added > 0
    bits[touched] = (kept | added)[touched]
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
