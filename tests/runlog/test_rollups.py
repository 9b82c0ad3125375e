"""Rollups and overviews against sums written out here, over generated rows, chunkings and windows."""

from __future__ import annotations

import itertools
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thermotui.runlog import overview
from thermotui.runlog.reader import RunLogReader
from thermotui.runlog.rollup import Rollups
from thermotui.runlog.schema import ROLLUP_FACTORS
from thermotui.runlog.writer import RunLogWriter

ROW = np.dtype([("step", "i8"), ("time", "f8"), ("loss", "f4"), ("layered", "f4", (3,)), ("name", "S4")])
FACTORS = (4, 16, 64)


def brute(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Minimum, maximum, mean and count over the rows of [rows, …], NaN left out; one column at a time."""
    flat = values.astype(np.float64).reshape(len(values), -1)
    figures = []
    for column in flat.T:
        kept = [value for value in column if value == value]
        with np.errstate(invalid="ignore"):
            mean = np.sum(np.array(kept)) / len(kept) if kept else np.nan
        figures.append((min(kept, default=np.nan), max(kept, default=np.nan), mean, len(kept)))
    low, high, mean, count = (np.array(column).reshape(values.shape[1:]) for column in zip(*figures, strict=True))
    return low, high, mean, count


def close(mean: np.ndarray, expected: np.ndarray, scale: np.ndarray) -> bool:
    """Equal within the rounding of float32 means, relative to the largest value that went into them."""
    with np.errstate(invalid="ignore"):
        near = (mean == expected) | (np.abs(mean - expected) <= 1e-6 * scale)
        return bool(np.all(near | (np.isnan(mean) & np.isnan(expected))))


def scale_of(values: np.ndarray) -> np.ndarray:
    finite = np.where(np.isfinite(values), np.abs(values.astype(np.float64)), 0)
    return finite.max(axis=0) + 1e-30


@st.composite
def tables(draw: st.DrawFn) -> np.ndarray:
    count = draw(st.integers(0, 300))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows = np.zeros(count, ROW)
    rows["step"] = np.cumsum(generator.integers(1, 5, count))
    missing, infinite = draw(st.sampled_from([0.0, 0.1, 0.9, 1.0])), draw(st.sampled_from([0.0, 0.0, 0.05]))
    size = 10.0 ** draw(st.integers(-20, 20))
    for name in ("time", "loss", "layered"):
        values = generator.normal(size=rows[name].shape) * size
        values[generator.random(values.shape) < infinite] = np.inf
        values[generator.random(values.shape) < infinite] = -np.inf
        values[generator.random(values.shape) < missing] = np.nan
        rows[name] = values
    return rows


@settings(max_examples=500)
@given(tables(), st.lists(st.integers(1, 60), max_size=30))
def test_rollups_are_the_brute_force_figures_of_every_full_bucket(rows: np.ndarray, cuts: list[int]) -> None:
    rollups = Rollups(ROW, FACTORS)
    levels: list[list[np.ndarray]] = [[] for _ in FACTORS]
    for block in np.split(rows, np.minimum(np.cumsum(cuts, dtype=int), len(rows))):
        for level, complete in zip(levels, rollups.add(block), strict=False):
            level.append(complete)
    for factor, level in zip(FACTORS, levels, strict=True):
        rolled = np.concatenate([np.empty(0, rollups.dtype), *level])
        assert len(rolled) == len(rows) // factor
        for index, row in enumerate(rolled):
            bucket = rows[index * factor : (index + 1) * factor]
            assert (row["step_first"], row["step_last"]) == (bucket["step"][0], bucket["step"][-1])
            for name in ("time", "loss", "layered"):
                low, high, mean, count = brute(bucket[name])
                np.testing.assert_array_equal(row[f"{name}_min"], low)
                np.testing.assert_array_equal(row[f"{name}_max"], high)
                np.testing.assert_array_equal(row[f"{name}_count"], count)
                assert close(row[f"{name}_mean"], mean, scale_of(bucket[name]))


@pytest.fixture(scope="module")
def long_log(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    """A log of 40,000 steps with NaN and one spike, resumed twice on the way."""
    from thermotui.runlog.schema import Header, Layer

    path = tmp_path_factory.mktemp("rollups") / "run.h5"
    writer = RunLogWriter.create(path, Header("test", 0.0, "softmax", (Layer("a", 1),)))
    rows = np.zeros(40_000, writer.dtype("steps"))
    rows["step"] = np.arange(len(rows))
    generator = np.random.default_rng(3)
    for name in rows.dtype.names[1:]:
        rows[name] = generator.normal(size=len(rows))
    rows["loss"][generator.random(len(rows)) < 0.2] = np.nan
    rows["loss"][23_456] = 1e6
    writer.append_rows("steps", rows[:15_000])
    writer.close("interrupted")
    writer = RunLogWriter.resume(path, 9_999)
    writer.append_rows("steps", rows[10_000:30_123])
    writer.close("failed")
    writer = RunLogWriter.resume(path, 29_000)
    writer.append_rows("steps", rows[29_001:])
    writer.close()
    return path, rows


@settings(max_examples=60)
@given(data=st.data())
def test_an_overview_is_the_brute_force_figures_of_its_buckets(long_log, data: st.DataObject) -> None:
    path, rows = long_log
    start = data.draw(st.integers(0, len(rows)))
    stop = data.draw(st.integers(start, len(rows)))
    buckets = data.draw(st.integers(2, 700))
    with RunLogReader(path) as reader:
        overview = reader.overview("steps", ["loss", "accuracy"], start, stop, buckets)
    assert len(overview.count) <= buckets
    assert overview.count.sum() == stop - start
    edges = start + np.concatenate([[0], np.cumsum(overview.count)])
    assert all(edge % overview.width == 0 for edge in edges[1:-1])
    for index, (first, last) in enumerate(itertools.pairwise(edges)):
        bucket = rows[first:last]
        assert (overview.step_first[index], overview.step_last[index]) == (bucket["step"][0], bucket["step"][-1])
        for name in ("loss", "accuracy"):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # a bucket of nothing but NaN
                np.testing.assert_equal(overview.minimum[name][index], np.nanmin(bucket[name]))
                np.testing.assert_equal(overview.maximum[name][index], np.nanmax(bucket[name]))
                mean = np.nanmean(bucket[name].astype(np.float64))
            assert close(overview.mean[name][index], mean, np.nanmax(np.abs(bucket[name]), initial=1e-30))


def test_a_single_spike_is_seen_at_every_zoom(long_log) -> None:
    path, _ = long_log
    with RunLogReader(path) as reader:
        for buckets in (2, 10, 80, 1000):
            assert reader.overview("steps", ["loss"], 0, None, buckets).maximum["loss"].max() == np.float32(1e6)


def test_layers_keep_their_axis(log) -> None:
    with RunLogReader(log(1000, layers=5)) as reader:
        overview = reader.overview("reservoir", ["temperature"], 0, None, 4)
        rows = reader.read("reservoir", ["temperature"])["temperature"]
        assert overview.minimum["temperature"].shape == (4, 5)
        np.testing.assert_array_equal(overview.minimum["temperature"][0], np.nanmin(rows[:256], axis=0))
        assert reader.overview("reservoir", ["force"], 5, 5, 4).minimum["force"].shape == (0, 5)


@pytest.mark.parametrize("allowed, width", [(600 * 64, ROLLUP_FACTORS[0] // 2), (599 * 64, ROLLUP_FACTORS[0])])
def test_wide_rows_are_not_all_read_where_rollups_make_half_of_the_buckets(
    log, monkeypatch: pytest.MonkeyPatch, allowed: int, width: int
) -> None:
    """Rather coarser than late; what is shown is as true."""
    with RunLogReader(log(1000)) as reader:
        rows = reader.read("steps")
        monkeypatch.setattr(overview, "RAW_BYTES", allowed * rows.dtype.itemsize // 64)
        found = reader.overview("steps", ["loss"], 100, 700, 10)
        assert found.width == width
        edges = 100 + np.concatenate([[0], np.cumsum(found.count)])
        for index, (first, last) in enumerate(itertools.pairwise(edges)):
            assert found.minimum["loss"][index] == np.nanmin(rows["loss"][first:last])
            assert found.step_last[index] == rows["step"][last - 1]
        assert edges[-1] == 700
        # Where finer buckets are asked for, there is nothing but rows.
        assert reader.overview("steps", ["loss"], 100, 700, 300).width == 2
