"""From points to columns: minimum, maximum and mean of each column of the picture, never losing an extreme."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from thermotui.tui.charts.model import Floats, SeriesData


@dataclass(frozen=True, eq=False)
class Columns:
    """A series in columns of the picture: every array is float64 [columns], NaN where there is nothing to draw.

    `measured` is true where at least one finite point fell into the column; elsewhere `mean` is interpolated between
    neighbouring points, and NaN across a gap.
    """

    low: Floats
    high: Floats
    mean: Floats
    lower: Floats | None
    upper: Floats | None
    measured: np.typing.NDArray[np.bool_]


GROWTH = 4
"""How often longer the next range of a growing run is: each growth paints every chart anew."""


def stable_range(first: float, last: float, planned: float | None = None) -> tuple[float, float]:
    """A range that holds [first, last] and stays while `last` grows: appended rows change no column before theirs.

    Its length is that of the run as planned to end at `planned`, divided by a power of GROWTH; a power of GROWTH where
    nothing is planned, or where the run went beyond. Data fill at least a quarter of it.
    """
    span = max(last - first, 1.0) * (1 + 1e-9)
    whole = 1.0 if planned is None or planned < last else planned - first + 1.0
    length = whole * float(GROWTH) ** math.ceil(math.log(span / whole, GROWTH))
    # The logarithm of a power of GROWTH may lie beside the whole number.
    return first, first + (length if length >= span else GROWTH * length)


def rolling_range(last: float, span: float) -> tuple[float, float]:
    """A window of at least `span` that ends after `last` and moves in jumps of an eighth of its length."""
    width = _rounded_up(max(span, 1.0) * 8 / 7)
    jump = width / 8
    end = (math.floor(last / jump) + 1) * jump
    return end - width, end


def _rounded_up(span: float) -> float:
    half = 2.0 ** (math.floor(math.log2(span)) - 1)
    return math.ceil(span / half) * half


def to_columns(series: SeriesData, x_range: tuple[float, float], columns: int) -> Columns:
    """Reduce a series to `columns` columns of equal width over [x_range), in O(points in range).

    A column's low and high are those of its finite points, so a spike of one step survives any zoom. Raises ValueError
    where the range is empty or there is no column.
    """
    start, end = x_range
    if not end > start or columns < 1:
        raise ValueError(f"no columns in the range {x_range} with {columns} columns")
    edges = np.linspace(start, end, columns + 1)
    bounds = np.searchsorted(series.x, edges)
    counts = np.diff(bounds)
    filled = counts > 0
    low, high, mean = (np.full(columns, np.nan) for _ in range(3))
    lower = upper = None
    begin, stop = int(bounds[0]), int(bounds[-1])
    starts = bounds[:-1][filled] - begin
    if starts.size:
        low[filled] = np.fmin.reduceat(series.low[begin:stop], starts)
        high[filled] = np.fmax.reduceat(series.high[begin:stop], starts)
        mean[filled] = _means(series.mean[begin:stop], starts, counts[filled])
    # The minimum of finite points may be finite where their mean overflowed or the mean of a rollup was not kept.
    measured = np.isfinite(low) & np.isfinite(high)
    if series.se_low is not None and series.se_high is not None:
        lower, upper = np.full(columns, np.nan), np.full(columns, np.nan)
        if starts.size:
            lower[filled] = _means(series.se_low[begin:stop], starts, counts[filled])
            upper[filled] = _means(series.se_high[begin:stop], starts, counts[filled])
    empty = ~filled
    if empty.any() and series.x.size > 1:
        centres = (edges[:-1] + edges[1:])[empty] / 2
        between = _Between(centres, series.x)
        mean[empty] = between.line(series.mean)
        low[empty], high[empty] = between.extremes(series.low, series.high)
        if series.se_low is not None and series.se_high is not None and lower is not None and upper is not None:
            lower[empty] = between.line(series.se_low)
            upper[empty] = between.line(series.se_high)
    return Columns(low, high, mean, lower, upper, measured)


class _Between:
    """Columns that no point falls into, at [m] centres between two points or outside of all."""

    def __init__(self, centres: Floats, x: Floats) -> None:
        after = np.searchsorted(x, centres)
        self.inside = (after > 0) & (after < x.size)
        self.left, self.right = np.where(self.inside, after - 1, 0), np.where(self.inside, after, 0)
        width = np.where(self.inside, x[self.right] - x[self.left], 1.0)
        self.fraction = (centres - x[self.left]) / width

    def line(self, values: Floats) -> Floats:
        """Linear interpolation; NaN outside and beside a NaN point."""
        with np.errstate(invalid="ignore"):  # infinities beside each other: no place in between
            result = values[self.left] + (values[self.right] - values[self.left]) * self.fraction
        return np.where(self.inside, result, np.nan)

    def extremes(self, low: Floats, high: Floats) -> tuple[Floats, Floats]:
        """Those of the point before where it stands for several rows: its rows reach as far as the next point."""
        several = self.inside & (low[self.left] < high[self.left])
        return np.where(several, low[self.left], np.nan), np.where(several, high[self.left], np.nan)


def _means(values: Floats, starts: np.typing.NDArray[np.intp], counts: np.typing.NDArray[np.intp]) -> Floats:
    """Means of the finite values of each run of points; NaN where there is none."""
    with np.errstate(invalid="ignore", over="ignore"):
        means: Floats = np.add.reduceat(values, starts) / counts
    spoilt = ~np.isfinite(means)
    if spoilt.any():
        # Only columns with a gap or an infinity pay for the second pass.
        ends = np.append(starts[1:], values.size)
        for column in np.flatnonzero(spoilt):
            run = values[starts[column] : ends[column]]
            finite = run[np.isfinite(run)]
            means[column] = finite.mean() if finite.size else np.nan
    return means
