"""Smoothing: the right mean, the same at every zoom, no spike hidden."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tui import scripted
from thermotui.analysis.smoothing import exponential_mean, smoothed
from thermotui.runlog.reader import RunLogReader


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


def test_zoom_never_changes_the_curve(tmp_path: Path) -> None:
    path = scripted.scripted_log(tmp_path / "run.h5")
    with RunLogReader(path) as log:
        whole = smoothed(log, "steps", log.overview("steps", ["loss", "loss_spread"], 0, 2000, 4096), 64)
        part = smoothed(log, "steps", log.overview("steps", ["loss", "loss_spread"], 500, 600, 4096), 64)
        coarse = log.overview("steps", ["loss", "loss_spread"], 0, 2000, 50)
        coarse_smoothed = smoothed(log, "steps", coarse, 64)
        layers = log.overview("reservoir", ["temperature"], 0, 400, 4096)
        temperature = smoothed(log, "reservoir", layers, 64).mean["temperature"]
    assert np.array_equal(whole.mean["loss"][500:600], part.mean["loss"])
    assert np.allclose(np.interp(coarse.step_first, whole.step_first, whole.mean["loss"]), coarse_smoothed.mean["loss"])
    assert np.array_equal(coarse.maximum["loss"], coarse_smoothed.maximum["loss"])
    assert np.array_equal(coarse.mean["loss_spread"], coarse_smoothed.mean["loss_spread"])
    assert temperature.shape == (400, 4)
    assert np.allclose(temperature[:, 1], 2 * temperature[:, 0], rtol=1e-5)
