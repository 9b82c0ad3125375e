"""Columns never lose an extreme, leave gaps as gaps, and stay where they are while rows are appended."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from thermotui.tui.charts.buckets import rolling_range, stable_range, to_columns
from thermotui.tui.charts.model import SeriesData, raw_series
from thermotui.tui.charts.view import StepView

values = hnp.arrays(
    np.float64, st.integers(1, 200), elements=st.floats(-1e6, 1e6) | st.sampled_from([np.nan, np.inf, -np.inf])
)


@given(values, st.integers(1, 60))
def test_extremes_of_the_finite_points_survive(points: np.ndarray, columns: int) -> None:
    series = raw_series("loss", np.arange(points.size), points)
    reduced = to_columns(series, (0.0, float(points.size)), columns)
    known = points[~np.isnan(points)]
    if known.size:
        assert np.nanmin(reduced.low) == known.min()
        assert np.nanmax(reduced.high) == known.max()
    else:
        assert np.isnan(reduced.low).all() and np.isnan(reduced.mean).all()


@given(values, st.integers(1, 60))
def test_means_match_a_plain_loop(points: np.ndarray, columns: int) -> None:
    series = raw_series("loss", np.arange(points.size), points)
    reduced = to_columns(series, (0.0, float(points.size)), columns)
    edges = np.linspace(0.0, float(points.size), columns + 1)
    for index in range(columns):
        inside = points[(np.arange(points.size) >= edges[index]) & (np.arange(points.size) < edges[index + 1])]
        finite = inside[np.isfinite(inside)]
        if finite.size:
            assert reduced.mean[index] == pytest.approx(finite.mean(), rel=1e-9, abs=1e-6)
        elif inside.size:
            assert np.isnan(reduced.mean[index])


def test_a_gap_is_not_bridged_but_sparse_points_are() -> None:
    series = raw_series("loss", [0, 10, 20, 30, 40], [0.0, 10.0, np.nan, 30.0, 40.0])
    mean = to_columns(series, (0.0, 41.0), 41).mean
    assert mean[5] == pytest.approx(5.5)
    assert np.isnan(mean[11:30]).all()
    assert mean[35] == pytest.approx(35.5)


def test_zoomed_between_two_points_the_line_still_crosses() -> None:
    series = raw_series("loss", [0, 100], [0.0, 100.0], [1.0, 1.0])
    reduced = to_columns(series, (40.0, 60.0), 20)
    assert np.isfinite(reduced.mean).all()
    assert not reduced.measured.any()
    assert reduced.upper is not None and reduced.lower is not None
    np.testing.assert_allclose(reduced.upper - reduced.lower, 2.0)


def test_before_the_first_and_after_the_last_point_nothing_is_drawn() -> None:
    reduced = to_columns(raw_series("loss", [10, 20], [1.0, 1.0]), (0.0, 30.0), 30)
    assert np.isnan(reduced.mean[:10]).all() and np.isnan(reduced.mean[21:]).all()


@given(st.integers(0, 10**7), st.integers(1, 10**7))
def test_a_growing_run_stays_in_its_range_until_it_is_full(first: int, span: int) -> None:
    start, end = stable_range(first, first + span)
    assert start <= first and first + span < end
    assert span >= (end - start) / 4 - 1, "a fair share of the width is used"
    fullest = int(np.ceil(end)) - 1
    assert stable_range(first, max(fullest, first + span)) == (start, end)


@given(st.integers(1, 10**7), st.data())
def test_a_planned_run_ends_where_its_last_range_ends(planned: int, data: st.DataObject) -> None:
    last = data.draw(st.integers(0, planned))
    start, end = stable_range(0, last, planned)
    assert start == 0 and last < end <= planned + 1
    assert max(last, 1) >= (end - start) / 4 - 1
    assert np.log(end / (planned + 1)) / np.log(4) == pytest.approx(round(np.log(end / (planned + 1)) / np.log(4)))
    assert stable_range(0, planned, planned) == (0, planned + 1)
    assert stable_range(0, 2 * planned, planned)[1] > 2 * planned, "more was done than planned"


@given(st.integers(1000, 10**7), st.integers(10, 10**5))
def test_following_moves_in_jumps_and_keeps_the_latest_step_in_sight(last: int, span: int) -> None:
    start, end = rolling_range(last, span)
    assert start <= last < end
    assert last - start >= span
    jump = (end - start) / 8
    assert end % jump == 0
    assert last >= end - jump


def test_points_appended_change_no_earlier_column() -> None:
    generator = np.random.default_rng(3)
    points = generator.normal(size=5000)
    x_range = stable_range(0, 4999)
    assert stable_range(0, 4399) == x_range == (0, 16384)
    short = to_columns(raw_series("loss", np.arange(4400), points[:4400]), x_range, 128)
    longer = to_columns(raw_series("loss", np.arange(5000), points), x_range, 128)
    last = int(4400 / (x_range[1] / 128))
    for field in ("low", "high", "mean"):
        np.testing.assert_array_equal(getattr(short, field)[:last], getattr(longer, field)[:last])


def test_an_empty_range_is_refused() -> None:
    with pytest.raises(ValueError, match="no columns"):
        to_columns(raw_series("loss", [0.0], [1.0]), (1.0, 1.0), 10)


def test_bands_of_rollups_keep_their_extremes() -> None:
    x = np.arange(0, 6400, 64, dtype=float)
    mean = np.ones_like(x)
    low, high = mean.copy(), mean.copy()
    low[50], high[70] = -5.0, 7.0
    reduced = to_columns(SeriesData("loss", x, low, high, mean), (0.0, 6400.0), 10)
    assert np.nanmin(reduced.low) == -5.0 and np.nanmax(reduced.high) == 7.0
    np.testing.assert_allclose(reduced.mean, 1.0)


def test_a_rollup_wider_than_a_column_fills_the_columns_that_its_rows_reach() -> None:
    x = np.array([0.0, 64.0, 128.0])
    mean = np.array([1.0, 2.0, 3.0])
    reduced = to_columns(SeriesData("loss", x, mean - 1, mean + 1, mean), (0.0, 128.0), 8)
    np.testing.assert_array_equal(reduced.low, [0, 0, 0, 0, 1, 1, 1, 1])
    np.testing.assert_array_equal(reduced.high, [2, 2, 2, 2, 3, 3, 3, 3])
    raw = to_columns(raw_series("loss", x, mean), (0.0, 128.0), 8)
    assert np.isnan(raw.low[1:4]).all() and np.isfinite(raw.mean).all()


@pytest.mark.parametrize(
    ("last", "planned", "end"), [(10, None, 1024), (10, 10_000, 625), (10, 100, 101), (900, 10_000, 2500)]
)
def test_a_young_run_has_an_axis_of_its_first_minute(last: float, planned: float | None, end: float) -> None:
    x_range = StepView().resolve((0, last), 100, growing=True, planned=planned, least=500)
    assert x_range == pytest.approx((0, end), rel=1e-3)
