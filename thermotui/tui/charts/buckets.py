"""From points to columns: minimum, maximum and mean of each column of the picture, never losing an extreme."""

from __future__ import annotations

import math
from collections.abc import Sequence
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
    return all_to_columns((series,), x_range, columns)[0]


def all_to_columns(series: Sequence[SeriesData], x_range: tuple[float, float], columns: int) -> tuple[Columns, ...]:
    """Each series as `to_columns` has it; those that share their array `x` are reduced in one go."""
    start, end = x_range
    if not end > start or columns < 1:
        raise ValueError(f"no columns in the range {x_range} with {columns} columns")
    edges = np.linspace(start, end, columns + 1)
    groups: dict[int, list[int]] = {}
    for index, each in enumerate(series):
        groups.setdefault(id(each.x), []).append(index)
    result: dict[int, Columns] = {}
    for indices in groups.values():
        result.update(zip(indices, _reduced(tuple(series[index] for index in indices), edges), strict=True))
    return tuple(result[index] for index in range(len(series)))


def _reduced(series: tuple[SeriesData, ...], edges: Floats) -> list[Columns]:
    """Series with one x in the columns between the edges [columns + 1]."""
    x, columns = series[0].x, edges.size - 1
    bounds = np.searchsorted(x, edges)
    counts = np.diff(bounds)
    filled = counts > 0
    begin, stop = int(bounds[0]), int(bounds[-1])
    starts, counts = bounds[:-1][filled] - begin, counts[filled]
    bands = [edge for each in series for edge in (each.se_low, each.se_high) if edge is not None]
    lines = [*(each.mean for each in series), *bands]
    extremes = np.full((2, len(series), columns), np.nan)
    means = np.full((len(lines), columns), np.nan)
    if starts.size:
        lowest = np.stack([each.low[begin:stop] for each in series])
        highest = np.stack([each.high[begin:stop] for each in series])
        extremes[0][:, filled] = np.fmin.reduceat(lowest, starts, axis=1)
        extremes[1][:, filled] = np.fmax.reduceat(highest, starts, axis=1)
        means[:, filled] = _means(np.stack([values[begin:stop] for values in lines]), starts, counts)
    # The minimum of finite points may be finite where their mean overflowed or the mean of a rollup was not kept.
    measured = np.isfinite(extremes).all(axis=0)
    empty = ~filled
    if x.size > 1 and empty.any():
        between = _Between((edges[:-1] + edges[1:])[empty] / 2, x)
        means[:, empty] = between.line(lines)
        extremes[:, :, empty] = between.extremes(series)
    edges_drawn = iter(means[len(series) :])
    return [
        Columns(
            low=extremes[0, index],
            high=extremes[1, index],
            mean=means[index],
            lower=None if each.se_low is None else next(edges_drawn),
            upper=None if each.se_high is None else next(edges_drawn),
            measured=measured[index],
        )
        for index, each in enumerate(series)
    ]


class _Between:
    """Columns that no point falls into, at [m] centres between two points or outside of all."""

    def __init__(self, centres: Floats, x: Floats) -> None:
        after = np.searchsorted(x, centres)
        self.inside = (after > 0) & (after < x.size)
        self.left, self.right = np.where(self.inside, after - 1, 0), np.where(self.inside, after, 0)
        width = np.where(self.inside, x[self.right] - x[self.left], 1.0)
        self.fraction = (centres - x[self.left]) / width

    def line(self, lines: Sequence[Floats]) -> Floats:
        """Linear interpolation of each, [lines, m]; NaN outside and beside a NaN point."""
        left = np.stack([values[self.left] for values in lines])
        right = np.stack([values[self.right] for values in lines])
        with np.errstate(invalid="ignore"):  # infinities beside each other: no place in between
            return np.where(self.inside, left + (right - left) * self.fraction, np.nan)

    def extremes(self, series: Sequence[SeriesData]) -> Floats:
        """Low and high of the point before where it stands for several rows, [2, series, m]: they reach to the next."""
        low = np.stack([each.low[self.left] for each in series])
        high = np.stack([each.high[self.left] for each in series])
        return np.where(self.inside & (low < high), np.stack((low, high)), np.nan)


def _means(values: Floats, starts: np.typing.NDArray[np.intp], counts: np.typing.NDArray[np.intp]) -> Floats:
    """Means [lines, runs] of the finite values of each run of points of [lines, n]; NaN where there is none."""
    with np.errstate(invalid="ignore", over="ignore"):
        means: Floats = np.add.reduceat(values, starts, axis=1) / counts
    spoilt = ~np.isfinite(means).all(axis=1)
    if spoilt.any():
        # Only lines with a gap or an infinity pay for the second pass.
        finite = np.isfinite(values[spoilt])
        with np.errstate(invalid="ignore", over="ignore"):
            totals = np.add.reduceat(np.where(finite, values[spoilt], 0.0), starts, axis=1)
            means[spoilt] = totals / np.add.reduceat(finite, starts, axis=1, dtype=np.float64)
    return means
