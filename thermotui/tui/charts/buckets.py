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


def stable_range(first: float, last: float, columns: int) -> tuple[float, float]:
    """The smallest range of `columns` power-of-two buckets, aligned to the bucket, that holds [first, last].

    While `last` grows within it, the range stays, so appended rows change only their own columns.
    """
    span = max(last - first, 1.0)
    bucket = 2.0 ** math.ceil(math.log2(span / max(columns - 1, 1)))
    start = math.floor(first / bucket) * bucket
    if start + bucket * columns <= last:
        # Aligning the start cost up to one bucket at the right end.
        bucket *= 2
        start = math.floor(first / bucket) * bucket
    return start, start + bucket * columns


def rolling_range(last: float, span: float, columns: int) -> tuple[float, float]:
    """A window of about `span` that ends after `last` and moves in jumps of an eighth of its width."""
    bucket = 2.0 ** math.ceil(math.log2(max(span, 1.0) / max(columns, 1)))
    width = bucket * columns
    jump = bucket * max(columns // 8, 1)
    end = (math.floor(last / jump) + 1) * jump
    return end - width, end


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
        mean[empty] = _between(centres, series.x, series.mean)
        if series.se_low is not None and series.se_high is not None and lower is not None and upper is not None:
            lower[empty] = _between(centres, series.x, series.se_low)
            upper[empty] = _between(centres, series.x, series.se_high)
    return Columns(low, high, mean, lower, upper, measured)


def _between(centres: Floats, x: Floats, values: Floats) -> Floats:
    """Linear interpolation at [m] centres, NaN outside of the points and beside a NaN point."""
    after = np.searchsorted(x, centres)
    inside = (after > 0) & (after < x.size)
    left, right = np.where(inside, after - 1, 0), np.where(inside, after, 0)
    width = np.where(inside, x[right] - x[left], 1.0)
    with np.errstate(invalid="ignore"):  # infinities beside each other: no place in between
        result = values[left] + (values[right] - values[left]) * (centres - x[left]) / width
    return np.where(inside, result, np.nan)


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
