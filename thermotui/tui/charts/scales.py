"""Scales of the value axis: transforms, nice numbers and a range that grows at once and shrinks lazily."""

from __future__ import annotations

import math
import sys
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from thermotui.tui.charts.model import Floats, Scale

SHRINK_BELOW = 0.4
"""The range is given up for a smaller one when the data fill less than this share of it."""
_FARTHEST = sys.float_info.max / 8  # the extent of an axis is a number too
HEADROOM, NEARLY = 1.0, 0.15
"""Room beyond growing data, in their extent, and how near to an end they get it too, as a share of the axis."""
SHRINK_GROWING_BELOW = 0.2
"""As SHRINK_BELOW, for data of a run that goes on, which are growing into their room."""


class Axis(NamedTuple):
    """A value axis: `low` and `high` in the unit of the data, and how values between them are spread.

    `threshold` is the half-width of the linear part of a symlog axis, in the unit of the data.
    """

    low: float
    high: float
    scale: Scale = "linear"
    threshold: float = 1.0

    def transform(self, values: ArrayLike) -> Floats:
        """Place values on the axis: 0 at `low`, 1 at `high`; NaN where a log axis has no place for them."""
        # Values far beyond the axis may overflow: infinity lies outside of it just as well.
        with np.errstate(over="ignore", invalid="ignore"):
            bottom, top = self.low, self.high
            if self.scale != "linear":
                bottom, top = _spread(np.array([bottom, top]), self.scale, self.threshold)
            places = _spread(np.asarray(values, dtype=np.float64), self.scale, self.threshold)
            return np.asarray((places - bottom) / (top - bottom), dtype=np.float64)

    def place(self, value: float, nowhere: float) -> float:
        """Where one value lies, as `transform` has it but never infinitely far off; `nowhere` instead of NaN."""
        bottom, top = (_spread_one(end, self.scale, self.threshold) for end in (self.low, self.high))
        above, extent = _spread_one(value, self.scale, self.threshold) - bottom, top - bottom
        found = above / extent if extent else math.copysign(math.inf, above) if above else math.nan
        return nowhere if math.isnan(found) else min(max(found, -sys.float_info.max), sys.float_info.max)

    def invert(self, fraction: float) -> float:
        """The value at a fraction of the axis."""
        bottom, top = _spread(np.array([self.low, self.high]), self.scale, self.threshold)
        place = float(bottom + fraction * (top - bottom))
        if self.scale == "log":
            return float(10.0 ** min(max(place, -307.0), 308.0))
        if self.scale == "symlog":
            return math.copysign(self.threshold * (10.0 ** min(abs(place), 300.0) - 1.0), place)
        return place

    def ticks(self, count: int) -> list[float]:
        """At most about `count` round values within the axis, in rising order."""
        if count < 1:
            return []
        if self.scale == "linear":
            return linear_ticks(self.low, self.high, count)
        return _power_ticks(self, count)


def _spread(values: Floats, scale: Scale, threshold: float) -> Floats:
    if scale == "linear":
        return values
    with np.errstate(divide="ignore", invalid="ignore"):
        if scale == "log":
            return np.where(values > 0, np.log10(values), np.nan)
        return np.sign(values) * np.log10(1.0 + np.abs(values) / threshold)


def _spread_one(value: float, scale: Scale, threshold: float) -> float:
    if scale == "linear":
        return value
    if scale == "log":
        return math.log10(value) if value > 0 else math.nan
    return math.copysign(math.log10(1.0 + abs(value) / threshold), value)


def nice_step(span: float, count: int) -> float:
    """The smallest of 1, 2, 5 × 10^k that divides `span` into about `count` parts, hardly more."""
    rough = max(span, 1e-300) / max(count, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    for factor in (1.0, 2.0, 5.0):
        if factor * power >= rough * 0.95:
            return factor * power
    return 10.0 * power


def linear_ticks(low: float, high: float, count: int) -> list[float]:
    """Multiples of a nice step within [low, high]."""
    step = nice_step(high - low, count)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    if last - first > 4 * count:
        # The range is too narrow for its magnitude to tell neighbouring multiples apart.
        return [low, high]
    return [index * step for index in range(first, last + 1)]


def _power_ticks(axis: Axis, count: int) -> list[float]:
    """Powers of ten within a log or symlog axis, thinned to `count`, with 0 on a symlog axis."""
    candidates: list[float] = []
    largest = max(abs(axis.low), abs(axis.high), 1e-300)
    top = math.floor(math.log10(largest) + 1e-9)
    if axis.scale == "log":
        bottom = math.ceil(math.log10(max(axis.low, 1e-300)) - 1e-9)
        if top - bottom < 1:
            return [tick for tick in linear_ticks(axis.low, axis.high, count) if tick > 0]
        stride = max(1, math.ceil((top - bottom + 1) / count))
        return [10.0**power for power in range(bottom, top + 1, stride)]
    bottom = math.ceil(math.log10(axis.threshold) - 1e-9)
    if top < bottom:
        return linear_ticks(axis.low, axis.high, count)
    sides = (axis.low < 0) + (axis.high > 0)
    stride = max(1, math.ceil((top - bottom + 1) * sides / max(count - 1, 1)))
    powers = [10.0**power for power in range(top, bottom - 1, -stride)]
    candidates = sorted([-power for power in powers] + [0.0] + powers)
    return [tick for tick in candidates if axis.low <= tick <= axis.high]


def fit_axis(low: float, high: float, scale: Scale, smallest_positive: float = math.nan) -> Axis:
    """An axis with nice ends around the data's range. Data without extent get room on either side.

    smallest_positive: smallest magnitude above zero in the data, which a log axis starts from and a symlog axis takes
    its linear part from; NaN where unknown.
    """
    if not (math.isfinite(low) and math.isfinite(high)):
        return Axis(0.1, 1.0, scale) if scale == "log" else Axis(0.0, 1.0, scale)
    if scale == "log":
        return _fit_log(low, high, smallest_positive)
    low, high = (min(max(end, -_FARTHEST), _FARTHEST) for end in (low, high))
    largest = max(abs(low), abs(high))
    if high / 2 - low / 2 <= max(1e-13 * largest, 1e-290):
        # Without an extent that floating point can divide, the data are as good as one value.
        room = largest * 0.1 if largest > 1e-290 else 1.0
        low, high = low - room, high + room
    step = nice_step(high - low, 8)
    bottom, top = math.floor(low / step) * step, math.ceil(high / step) * step
    if not bottom < top:
        bottom, top = low, math.nextafter(high, math.inf)
    if scale == "symlog":
        reach = max(abs(bottom), abs(top))
        smallest = smallest_positive if smallest_positive > 0 else reach / 1e3
        # A linear part of more than six decades below the top would leave no room for it.
        return Axis(bottom, top, scale, 10.0 ** math.floor(math.log10(max(smallest, reach / 1e6))))
    return Axis(bottom, top, scale)


def _fit_log(low: float, high: float, smallest_positive: float) -> Axis:
    if high <= 0:
        return Axis(0.1, 1.0, "log")
    bottom = low if low > 0 else smallest_positive
    if not bottom > 0:
        bottom = high / 1e3
    first, last = _round_below(max(bottom, 1e-300)), _round_above(high)
    return Axis(first, last if last > first else _round_above(2.0 * first), "log")


def _round_below(value: float) -> float:
    """The largest of 1, 2, 5 × 10^k that is at most `value`."""
    power = 10.0 ** math.floor(math.log10(value))
    return max((factor * power for factor in (0.5, 1.0, 2.0, 5.0) if factor * power <= value), default=value)


def _round_above(value: float) -> float:
    """The smallest of 1, 2, 5 × 10^k that is at least `value`."""
    power = 10.0 ** math.floor(math.log10(value))
    return min((factor * power for factor in (1.0, 2.0, 5.0, 10.0, 20.0) if factor * power >= value), default=value)


def sticky_axis(
    previous: Axis | None,
    low: float,
    high: float,
    scale: Scale,
    smallest_positive: float = math.nan,
    *,
    growing: bool = False,
    totals: bool = False,
) -> Axis:
    """The axis to use now: the previous one while the data fit it and fill a fair share of it.

    Growing is immediate, so nothing is ever cut off; shrinking waits until the data fill less than SHRINK_BELOW of the
    axis, so that a flickering maximum does not redraw the whole chart. With data of a `growing` run an end that they
    went beyond is moved by HEADROOM of their extent further than they need, where they are likely to be there soon:
    falling ones down to zero at most, as a loss falls; running `totals` away from zero at either end, and at the other
    end too where they have nearly reached it: both then move at once.
    """
    fresh = fit_axis(low, high, scale, smallest_positive)
    if previous is None or previous.scale != scale or not (math.isfinite(low) and math.isfinite(high)):
        return fresh
    axis = previous
    place = _places(axis, max(low, fresh.low), high)
    if place[0] < 0 or place[1] > 1:
        roomy = fresh
        if growing and scale != "log" and math.isfinite(2.0 * (high - low)):
            roomy = fit_axis(*_with_room(low, high, place, totals=totals), scale, smallest_positive)
        axis = _union(previous, roomy)
        place = _places(axis, max(low, fresh.low), high)
    # The same data drawn once more have the same axis.
    little = place[1] - place[0] < (SHRINK_GROWING_BELOW if growing else SHRINK_BELOW)
    return fresh if little and _extent(fresh, axis) < 2 * SHRINK_BELOW else axis


def _places(axis: Axis, low: float, high: float) -> tuple[float, float]:
    return axis.place(low, nowhere=-1.0), axis.place(high, nowhere=-1.0)


def _with_room(low: float, high: float, place: tuple[float, float], *, totals: bool) -> tuple[float, float]:
    """The ends of growing data that lie at these places of their axis, with the room that they are given."""
    room = HEADROOM * (high - low)
    if low >= 0 and place[0] < 0:
        return max(low - room, 0.0), high
    if not totals:
        return low, high
    return low - room * (place[0] < NEARLY and low < 0), high + room * (place[1] > 1 - NEARLY and high > 0)


def _union(previous: Axis, fresh: Axis) -> Axis:
    """Grow without moving an end that still holds, unless that end has become far too wide."""
    if _extent(fresh, previous) < SHRINK_BELOW:
        return fresh
    joined = fit_axis(min(previous.low, fresh.low), max(previous.high, fresh.high), fresh.scale, fresh.low)
    floor = max(abs(joined.low), abs(joined.high)) / 1e6
    return Axis(joined.low, joined.high, fresh.scale, max(min(previous.threshold, fresh.threshold), floor))


def _extent(inner: Axis, outer: Axis) -> float:
    """Length of `inner` in units of `outer`, as that axis spreads them."""
    return outer.place(inner.high, nowhere=0.0) - outer.place(inner.low, nowhere=0.0)
