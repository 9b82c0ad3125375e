"""Smoothing: the exponential mean of all rows at every zoom, no look ahead, no spike hidden."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tui import scripted
from thermotui.analysis.smoothing import RUN_IN_BUCKETS, exponential_mean, smoothed
from thermotui.runlog.reader import Overview, RunLogReader
from thermotui.runlog.schema import Header, Layer
from thermotui.runlog.writer import RunLogWriter


def test_half_life() -> None:
    values = np.r_[0.0, np.ones(10)]
    weight = np.full(11, 1 - 0.5 ** (1 / 4))
    assert exponential_mean(values, weight)[4] == pytest.approx(0.5)
    assert exponential_mean(values, weight)[8] == pytest.approx(0.75)


@given(st.lists(st.floats(-1e6, 1e6) | st.just(float("nan")), min_size=1, max_size=50), st.floats(0.01, 1.0))
def test_stays_within_the_values_and_passes_over_nan(values: list[float], weight: float) -> None:
    array = np.array(values)
    mean = exponential_mean(array, np.full(len(array), weight))
    known = array[np.isfinite(array)]
    first = np.flatnonzero(np.isfinite(array))
    if known.size:
        assert np.all(np.isnan(mean[: first[0]]))
        rest = mean[first[0] :]
        assert np.all((rest >= known.min() - 1e-6) & (rest <= known.max() + 1e-6))
    else:
        assert np.all(np.isnan(mean))


def sine(rows: int, period: float = 200.0) -> np.ndarray:
    return (1 + np.sin(2 * np.pi * np.arange(rows) / period)).astype(np.float32)


@pytest.fixture(scope="module")
def long_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200,000 rows: a loss of period 200, an accuracy of period 20,000, a gradient norm measured every fourth row."""
    path = tmp_path_factory.mktemp("long") / "run.h5"
    with RunLogWriter.create(path, Header("r", 0.0, "softmax", (Layer("0", 4),))) as writer:
        rows = np.zeros(200_000, writer.dtype("steps"))
        rows["step"], rows["loss"], rows["accuracy"] = np.arange(200_000), sine(200_000), sine(200_000, 20_000)
        rows["gradient_norm"] = np.where(np.arange(200_000) % 4 == 0, sine(200_000), np.nan)
        writer.append_rows("steps", rows)
    return path


def shown_smoothed(
    path: Path, start: int, stop: int, half_life: int, buckets: int = 512, names: Sequence[str] = ("loss", "accuracy")
) -> Overview:
    with RunLogReader(path) as log:
        return smoothed(log, "steps", log.overview("steps", names, start, stop, buckets), start, half_life)


@pytest.mark.parametrize("half_life", [16, 128, 1024])
@pytest.mark.parametrize(("start", "stop"), [(0, 400), (300, 700), (120_001, 120_401), (199_600, 200_000)])
def test_a_zoomed_view_is_the_exponential_mean_of_all_rows(
    long_log: Path, half_life: int, start: int, stop: int
) -> None:
    weight = np.full(200_000, 1 - 0.5 ** (1 / half_life))
    expected = exponential_mean(np.stack([sine(200_000), sine(200_000, 20_000)], 1).astype(float), weight)
    found = shown_smoothed(long_log, start, stop, half_life)
    assert found.width == 1
    assert np.allclose(found.mean["loss"], expected[start:stop, 0], rtol=0, atol=2e-3)
    assert np.allclose(found.mean["accuracy"], expected[start:stop, 1], rtol=0, atol=2e-3)


@pytest.mark.parametrize(("rows", "half_life"), [(8_000, 16), (8_000, 1024), (200_000, 128), (200_000, 1024)])
def test_buckets_show_the_mean_at_their_first_row(long_log: Path, rows: int, half_life: int) -> None:
    weight = np.full(200_000, 1 - 0.5 ** (1 / half_life))
    expected = exponential_mean(sine(200_000, 20_000).astype(float), weight)
    found = shown_smoothed(long_log, 200_000 - rows, 200_000, half_life)
    # Less than half a bucket off along the steps.
    steepest = 2 * np.pi / 20_000 * max(found.width, half_life) / 2
    assert np.abs(found.mean["accuracy"] - expected[found.step_first]).max() < steepest


def test_no_bucket_knows_of_rows_behind_its_first(tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    with RunLogWriter.create(path, Header("r", 0.0, "softmax", (Layer("0", 4),))) as writer:
        rows = np.zeros(40_000, writer.dtype("steps"))
        rows["step"], rows["loss"] = np.arange(40_000), np.arange(40_000) >= 20_480
        writer.append_rows("steps", rows)
    for half_life in (16, 1024):
        found = shown_smoothed(path, 0, 40_000, half_life, names=("loss",))
        assert found.width == 128
        before = found.step_first < 20_480
        assert not found.mean["loss"][before].any()
        assert found.mean["loss"][~before][0] < 0.01 < found.mean["loss"][~before][1]


def test_where_buckets_are_wide_the_curve_is_that_of_their_means(long_log: Path) -> None:
    with RunLogReader(long_log) as log:
        plain = log.overview("steps", ["loss"], 100_000, 200_000, 100)
        found = smoothed(log, "steps", plain, 100_000, 16)
    assert plain.width == 1024
    assert np.allclose(found.mean["loss"][1:], plain.mean["loss"][:-1], atol=2e-3)


def test_half_lives_are_of_rows_also_where_few_have_a_value(long_log: Path) -> None:
    found = shown_smoothed(long_log, 100_000, 100_400, 128, names=("loss", "gradient_norm"))
    assert np.allclose(found.mean["loss"], found.mean["gradient_norm"], atol=0.03)
    assert np.isfinite(found.mean["gradient_norm"]).all()


def test_what_is_read_does_not_grow_with_the_log(long_log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    read = RunLogReader.overview

    def noted(log: RunLogReader, stream: str, fields: Sequence[str], start: int, stop: int, buckets: int) -> Overview:
        found = read(log, stream, fields, start, stop, buckets)
        asked.append((stop - start, len(found.count)))
        return found

    with RunLogReader(long_log) as log:
        shown = [log.overview("steps", ["loss"], start, 200_000, 512) for start in (199_600, 150_000, 1_000)]
        monkeypatch.setattr(RunLogReader, "overview", noted)
        for start, each in zip((199_600, 150_000, 1_000), shown, strict=True):
            for half_life in (16, 128, 1024):
                smoothed(log, "steps", each, start, half_life)
    assert all(rows <= 16 * 1024 and buckets <= RUN_IN_BUCKETS for rows, buckets in asked)
    assert len(asked) < 9 + 3


def test_an_infinite_value_is_passed_over() -> None:
    found = exponential_mean(np.array([np.inf, 1.0, np.inf, 3.0]), np.full(4, 0.5))
    assert np.array_equal(found, [np.nan, 1.0, 1.0, 2.0], equal_nan=True)


def test_zoom_hardly_changes_the_curve(tmp_path: Path) -> None:
    path = scripted.scripted_log(tmp_path / "run.h5")
    names = ["loss", "loss_spread"]
    with RunLogReader(path) as log:
        whole = smoothed(log, "steps", log.overview("steps", names, 0, 2000, 4096), 0, 64)
        part = smoothed(log, "steps", log.overview("steps", names, 500, 600, 4096), 500, 64)
        coarse = log.overview("steps", names, 0, 2000, 50)
        coarse_smoothed = smoothed(log, "steps", coarse, 0, 64)
        layers = log.overview("reservoir", ["temperature"], 0, 400, 4096)
        temperature = smoothed(log, "reservoir", layers, 0, 64).mean["temperature"]
    assert np.allclose(whole.mean["loss"][500:600], part.mean["loss"], rtol=1e-3)
    exact = np.interp(coarse.step_first, whole.step_first, whole.mean["loss"])
    assert np.allclose(exact[1:], coarse_smoothed.mean["loss"][1:], rtol=0.01)
    assert np.array_equal(coarse.maximum["loss"], coarse_smoothed.maximum["loss"])
    assert np.array_equal(coarse.mean["loss_spread"], coarse_smoothed.mean["loss_spread"])
    assert temperature.shape == (400, 4)
    assert np.allclose(temperature[:, 1], 2 * temperature[:, 0], rtol=1e-5)
