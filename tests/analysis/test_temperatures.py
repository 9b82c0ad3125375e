"""Means of a layer's temperature over the run carry the errors of the measurements they are made of."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from thermotui.analysis.temperatures import LayerTemperature, layer_temperatures
from thermotui.runlog.reader import RunLogReader
from thermotui.runlog.schema import Header, Layer
from thermotui.runlog.writer import RunLogWriter


def temperatures(path: Path, values: np.ndarray, errors: np.ndarray) -> LayerTemperature:
    """What a log of these measurements [rows] of its only layer says; the force is measured every eighth row."""
    header = Header("r", 0.0, "softmax", (Layer("0", 4),))
    with RunLogWriter.create(path, header) as writer:
        for step, (value, error) in enumerate(zip(values, errors, strict=True)):
            force = float(step) if step % 8 == 0 else math.nan
            writer.append("reservoir", step=step, temperature=[value], temperature_se=[error], force=[force])
    with RunLogReader(path) as log:
        (found,) = layer_temperatures(log)
    return found


def drawn(rows: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    return (generator.lognormal(size=(2, rows)) * [[3.0], [0.1]]).astype(np.float32)


def test_the_error_of_a_mean_is_that_of_independent_measurements(tmp_path: Path) -> None:
    values, errors = drawn(60)
    found = temperatures(tmp_path / "run.h5", values, errors)
    assert found.mean == pytest.approx(values.mean(), rel=1e-5)
    assert found.mean_se == pytest.approx(math.sqrt((errors**2).sum()) / 60, rel=1e-5)
    late, early = values[-15:].mean(), values[:15].mean()
    relative = [math.sqrt((part**2).sum()) / 15 for part in (errors[-15:], errors[:15])]
    assert found.relative_change == pytest.approx(late / early, rel=1e-5)
    assert found.relative_change_se == pytest.approx(
        late / early * math.hypot(relative[0] / late, relative[1] / early), rel=1e-5
    )


def test_over_rollups_the_error_is_never_too_small(tmp_path: Path) -> None:
    values, errors = drawn(5_000)
    found = temperatures(tmp_path / "run.h5", values, errors)
    assert found.mean == pytest.approx(values.mean(), rel=1e-4)
    exact = math.sqrt((errors.astype(np.float64) ** 2).sum()) / 5_000
    assert exact <= found.mean_se < 4 * exact


@pytest.mark.parametrize("rows", [1, 60, 6_401])
def test_the_force_is_the_latest_measured(tmp_path: Path, rows: int) -> None:
    values, errors = drawn(rows)
    assert temperatures(tmp_path / "run.h5", values, errors).force == (rows - 1) // 8 * 8


def test_rows_without_a_measurement_do_not_count(tmp_path: Path) -> None:
    values, errors = np.full(6_400, np.nan), np.full(6_400, np.nan)
    values[::4], errors[::4] = 1.0, 0.1
    found = temperatures(tmp_path / "run.h5", values, errors)
    assert found.mean == pytest.approx(1.0)
    assert found.mean_se == pytest.approx(0.1 / math.sqrt(1_600), rel=1e-5)


def test_a_measurement_without_an_error_takes_it_from_no_other(tmp_path: Path) -> None:
    values, errors = drawn(60)
    errors[:3] = np.nan
    found = temperatures(tmp_path / "run.h5", values, errors)
    assert found.mean == pytest.approx(values.mean(), rel=1e-5)
    assert found.mean_se == pytest.approx(math.sqrt((errors[3:] ** 2).mean() / 60), rel=1e-5)


def test_a_layer_that_started_cold_has_no_ratio(tmp_path: Path) -> None:
    values, errors = drawn(60)
    values[:30] = errors[:30] = 0.0
    found = temperatures(tmp_path / "run.h5", values, errors)
    assert math.isnan(found.relative_change) and math.isnan(found.relative_change_se)
    assert found.mean == pytest.approx(values.mean(), rel=1e-5)


def test_a_layer_that_was_never_measured_has_no_mean(tmp_path: Path) -> None:
    nothing = np.full(20, np.nan, np.float32)
    found = temperatures(tmp_path / "run.h5", nothing, nothing)
    assert math.isnan(found.mean) and math.isnan(found.mean_se) and math.isnan(found.relative_change)
