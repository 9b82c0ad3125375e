"""Axes: round trips, nice ends, growth at once and lazy shrinking."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from thermotui.tui.charts.model import SCALES, Scale
from thermotui.tui.charts.scales import Axis, fit_axis, linear_ticks, nice_step, sticky_axis

magnitudes = st.floats(-1e9, 1e9, allow_nan=False)


@given(magnitudes, magnitudes, st.sampled_from(SCALES))
def test_the_axis_holds_the_data(first: float, second: float, scale: Scale) -> None:
    low, high = min(first, second), max(first, second)
    assume(scale != "log" or low > 1e-200)
    smallest = min((abs(v) for v in (low, high) if v), default=math.nan)
    axis = fit_axis(low, high, scale, smallest)
    places = axis.transform([low, high])
    assert -1e-9 <= places[0] <= places[1] <= 1 + 1e-9


@given(st.floats(0, 1), st.sampled_from(SCALES))
def test_a_place_on_the_axis_is_a_value_and_back(fraction: float, scale: Scale) -> None:
    axis = fit_axis(0.5, 800.0, scale, 0.5)
    assert axis.transform([axis.invert(fraction)])[0] == pytest.approx(fraction, abs=1e-9)


@given(magnitudes, st.floats(1e-6, 1e9), st.integers(2, 12))
def test_ticks_are_few_within_the_axis_and_rising(low: float, span: float, count: int) -> None:
    assume(low + span > low + span / 1e3 > low)
    ticks = linear_ticks(low, low + span, count)
    assert ticks == sorted(ticks)
    assert len(ticks) <= count + 1
    slack = 1e-6 * span + 1e-9 * abs(low)
    assert all(low - slack <= tick <= low + span + slack for tick in ticks)


@pytest.mark.parametrize(("span", "count", "step"), [(10, 5, 2), (10, 4, 5), (1, 10, 0.1), (7, 3, 5), (0.3, 3, 0.1)])
def test_steps_are_one_two_or_five(span: float, count: int, step: float) -> None:
    assert nice_step(span, count) == pytest.approx(step)


def test_log_and_symlog_ticks() -> None:
    assert Axis(0.01, 1000.0, "log").ticks(6) == pytest.approx([0.01, 0.1, 1, 10, 100, 1000])
    ticks = Axis(-100.0, 100.0, "symlog", 1.0).ticks(7)
    assert 0.0 in ticks and ticks == [-tick for tick in reversed(ticks)]


def test_symlog_is_odd_and_passes_zero() -> None:
    axis = Axis(-50.0, 50.0, "symlog", 1.0)
    assert axis.transform([0.0])[0] == 0.5
    low, high = axis.transform([-10.0, 10.0])
    assert low + high == pytest.approx(1.0)


def test_a_log_axis_has_no_place_for_what_is_not_positive() -> None:
    assert np.isnan(Axis(0.1, 10.0, "log").transform([0.0, -1.0])).all()


def test_growing_is_immediate_and_shrinking_lazy() -> None:
    axis = sticky_axis(None, 0.0, 1.0, "linear")
    grown = sticky_axis(axis, 0.0, 7.3, "linear")
    assert grown.high >= 7.3
    assert sticky_axis(grown, 0.1, 5.0, "linear") is grown, "a smaller maximum alone moves nothing"
    assert sticky_axis(grown, 0.0, 0.4, "linear").high < grown.high, "data that fill too little are given more room"


def test_a_running_total_outgrows_its_axis_a_few_times_only() -> None:
    axes = [sticky_axis(None, 0.0, 1.0, "linear")]
    for high in np.linspace(1.0, 100.0, 1000):
        axes.append(sticky_axis(axes[-1], 0.0, float(high), "linear", growing=True, totals=True))
        assert high <= axes[-1].high
    changes = sum(before is not after for before, after in pairwise(axes))
    assert changes <= np.log(100) / np.log(1.6)
    assert axes[-1].low == 0.0, "the end that holds stays"


def test_a_falling_loss_outgrows_its_axis_a_few_times_only_and_gets_no_room_below_zero() -> None:
    axes = [sticky_axis(None, 2.3, 2.4, "linear")]
    for low in np.linspace(2.3, 0.0, 1000):
        axes.append(sticky_axis(axes[-1], float(low), 2.4, "linear", growing=True))
        assert 0.0 <= axes[-1].low <= low
        assert (2.4 - low) / (axes[-1].high - axes[-1].low) > 0.3, "and fills a fair share of it"
    assert sum(before is not after for before, after in pairwise(axes)) <= 5
    assert {axis.high for axis in axes[-10:]} == {axes[-1].high}


def test_what_does_not_add_up_gets_no_room_above() -> None:
    axis = sticky_axis(None, 0.0, 0.5, "linear")
    assert sticky_axis(axis, 0.0, 0.98, "linear", growing=True).high == 1.0


@given(
    st.lists(st.tuples(magnitudes, magnitudes), min_size=1, max_size=20),
    st.sampled_from(SCALES),
    st.booleans(),
    st.booleans(),
)
def test_no_sequence_of_ranges_ever_cuts_data_off(
    ranges: list[tuple[float, float]], scale: Scale, growing: bool, totals: bool
) -> None:
    axis = None
    for first, second in ranges:
        low, high = min(first, second), max(first, second)
        if scale == "log":
            low, high = abs(low) + 1e-3, abs(low) + abs(high) + 1e-3
        smallest = min((abs(v) for v in (low, high) if v), default=math.nan)
        axis = sticky_axis(axis, low, high, scale, smallest, growing=growing, totals=totals)
        places = axis.transform([low, high])
        assert places[0] >= -1e-9 and places[1] <= 1 + 1e-9
        # Drawn once more they look the same.
        assert sticky_axis(axis, low, high, scale, smallest, growing=growing, totals=totals) == axis


def test_nothing_finite_still_gives_an_axis() -> None:
    for scale in SCALES:
        axis = sticky_axis(None, math.nan, math.nan, scale)
        assert axis.low < axis.high


@pytest.mark.parametrize(
    ("low", "high", "ends"), [(1.65, 1.74, (1, 2)), (0.3, 40, (0.2, 50)), (2, 2, (2, 5)), (1e-7, 0.01, (1e-7, 0.01))]
)
def test_ends_of_a_log_axis_are_one_two_or_five(low: float, high: float, ends: tuple[float, float]) -> None:
    axis = fit_axis(low, high, "log", low)
    assert (axis.low, axis.high) == pytest.approx(ends)
