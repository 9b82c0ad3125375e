"""From sums to rows: the figures of one process do not depend on how it is split over ranks or scaled by its loss."""

import numpy as np
import pytest

from thermotui.probe.measurement import RAW, MeasurementRows, Measurements, Sampling
from thermotui.runlog.schema import RESERVOIR, Header, Layer, row_dtype

DTYPE = row_dtype(RESERVOIR, Header("", 0.0, "x", (Layer("a", 10),), lags=4))
MEAN = 0.5
"""Of each component of the per-sample gradient, which has unit variance."""


def mean_figures(ranks: int, *, summed: bool, total: int = 8, rate: float = 0.01) -> dict[str, float]:
    """Means over many steps in which `ranks` ranks share batches of `total` samples."""
    rng = np.random.default_rng(0)
    steps, batch, size = 4000, total // ranks, 10
    samples = MEAN + rng.standard_normal((steps, batch, size))
    parts = samples if summed else samples / batch
    raw = np.full((steps, len(RAW), 1), np.nan)
    gradient = parts.sum(1)
    figures = {
        "squares": np.square(parts).sum((1, 2)),
        "gradient": np.square(gradient).sum(1),
        "contributing": np.full(steps, batch),
        "eta_2": np.square(samples.mean(1) - MEAN).sum(1),
        "from_steps": 0.5 * np.square(np.diff(gradient, axis=0, prepend=gradient[:1])).sum(1),
        "pairing": np.full(steps, 1.0) * (batch if summed else 1),
        "variance": np.ones(steps),
    }
    for name, values in figures.items():
        raw[:, RAW.index(name), 0] = values
    # The average of the ranks' sums over their own samples is a rank's batch times the mean gradient.
    rates = np.full((steps, 1), rate / batch if summed else rate)
    measured = Measurements(np.arange(steps), np.zeros(steps), np.full(steps, batch), rates, np.ones(steps), raw)
    found = MeasurementRows(DTYPE, np.array([10.0]), Sampling(0, True, ranks, summed), averaged=steps).rows(measured)
    columns = ("temperature", "temperature_full", "mobility", "fluctuation_dissipation")
    return {name: float(found[name].astype(float)[-1000:].mean()) for name in columns} | {
        "force": float(np.sqrt(np.square(found["force"].astype(float)).mean()))
    }


@pytest.mark.parametrize("summed", [False, True])
@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_ranks_and_sums_do_not_change_the_figures(ranks: int, summed: bool) -> None:
    found = mean_figures(ranks, summed=summed)
    rate, noise, force = 0.01, 10 / 8, 10 * MEAN**2
    assert found["mobility"] == pytest.approx(rate)
    assert found["temperature"] == pytest.approx(rate / 2 / 8, rel=0.03)
    assert found["temperature_full"] == pytest.approx(rate / 2 / 8, rel=0.03)
    assert found["force"] == pytest.approx(np.sqrt(force), rel=0.02)
    assert found["fluctuation_dissipation"] == pytest.approx(1 / (rate / 2 * (force + noise)), rel=0.03)


@pytest.mark.parametrize("ranks", [1, 2])
def test_differences_of_steps_are_averaged_over_the_ranks_too(ranks: int) -> None:
    rng = np.random.default_rng(1)
    steps = 4000
    raw = np.full((steps, len(RAW), 1), np.nan)
    raw[:, RAW.index("from_steps"), 0] = np.square(np.diff(rng.standard_normal((steps, 10, 2)))).sum((1, 2)) / 2
    measured = Measurements(
        np.arange(steps), np.zeros(steps), np.ones(steps, np.int64), np.full((steps, 1), 0.01), np.ones(steps), raw
    )
    found = MeasurementRows(DTYPE, np.array([10.0]), Sampling(0, True, ranks, False), averaged=4).rows(measured)
    assert found["temperature"].mean() == pytest.approx(0.01 / 2 / ranks, rel=0.03)


def test_the_force_is_averaged_over_the_measurements_that_there_are() -> None:
    steps = 12
    raw = np.full((steps, len(RAW), 1), np.nan)
    for name, value in {"squares": 2.0, "gradient": 9.0, "contributing": 8.0, "variance": 1.0}.items():
        raw[:, RAW.index(name), 0] = value
    raw[[2, 3, 7], RAW.index("squares")] = np.nan
    rates, batch = np.full((steps, 1), 0.01), np.full(steps, 8)
    measured = Measurements(np.arange(steps), np.zeros(steps), batch, rates, np.ones(steps), raw)
    found = MeasurementRows(DTYPE, np.array([10.0]), Sampling(0, True, 1, False), averaged=steps).rows(measured)
    noise = 8 / 7 * (2 - 9 / 8)
    expected = np.full(steps, np.sqrt(9 - noise))
    expected[[2, 3, 7]] = np.nan
    np.testing.assert_allclose(found["force"][:, 0], expected, rtol=1e-6)
