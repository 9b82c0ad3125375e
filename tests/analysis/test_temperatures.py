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


def temperatures(path: Path, values: np.ndarray, errors: np.ndarray, **ensemble: object) -> LayerTemperature:
    """What a log of these measurements [rows] of its only layer says; the force is measured every eighth row."""
    header = Header("r", 0.0, "softmax", (Layer("0", 4),), **ensemble)
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


def measured_ensemble(path: Path, seed: int, varies: str, *, members: int = 8, rows: int = 300) -> LayerTemperature:
    """Of members at 1 ± 0.2 if each has data of its own, else at 1, measured with noise of 0.1."""
    generator = np.random.default_rng(seed)
    persistent = 0.2 * generator.standard_normal(members) if varies == "data" else np.zeros(members)
    drawn = 1.0 + persistent + 0.1 * generator.standard_normal((rows, members))
    errors = drawn.std(axis=1, ddof=1) / math.sqrt(members)
    return temperatures(path, drawn.mean(axis=1), errors, ensemble=members, ensemble_varies=varies)


@pytest.mark.parametrize(("varies", "least", "most"), [("data", 0.6, 1.2), ("seed", 0.7, 1.3)])
def test_means_of_ensembles_scatter_by_their_errors(tmp_path: Path, varies: str, least: float, most: float) -> None:
    found = [measured_ensemble(tmp_path / f"{seed}.h5", seed, varies) for seed in range(40)]
    scatter = np.std([each.mean for each in found], ddof=1)
    assert least < scatter / np.mean([each.mean_se for each in found]) < most
    deviations = [abs(each.relative_change - 1.0) / each.relative_change_se for each in found]
    assert max(deviations) < 4.0
    assert {each.errors_bound for each in found} == {varies == "data"}


def test_the_error_of_members_with_data_of_their_own_does_not_average_away(tmp_path: Path) -> None:
    values, errors = drawn(5_000)
    found = temperatures(tmp_path / "run.h5", values, errors, ensemble=8, ensemble_varies="data")
    assert found.mean_se == pytest.approx(errors.mean(), rel=1e-4)
    alone = temperatures(tmp_path / "alone.h5", values, errors, ensemble=1, ensemble_varies="data")
    assert alone.mean_se < found.mean_se / 10 and not alone.errors_bound


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
