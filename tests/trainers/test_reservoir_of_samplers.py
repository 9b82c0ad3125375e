"""The noise of a model's own samples belongs to the temperature whatever the batch's size (chains, |b| = 1)."""

import numpy as np
import pytest

from trainers.config import resolve
from trainers.training import Training


@pytest.mark.parametrize(("batch_size", "replacement"), [(1, True), (2, True), (15, False), (30, False)])
def test_temperature_of_an_rbm_agrees_with_the_full_gradient(batch_size: int, replacement: bool) -> None:
    values = {"data": "bars-and-stripes", "hidden": 6, "batch_size": batch_size, "replacement": replacement}
    values |= {"steps": 300, "learning_rate": 1e-4, "reservoir_stride": 3, "full_stride": 3, "stride": 100}
    config, options = resolve("rbm", values | {"ensemble": 8, "probe_size": 64, "device": "cpu"})
    training = Training("rbm", config, options)
    training.begin()
    for _ in range(config.steps):
        training.advance()
        if training.block_is_full:
            training.recorder.drain()
    rows, _ = training.meter.drain()
    for layer in (0, 1):
        within, full = (rows[name][:, layer].astype(float) for name in ("temperature", "temperature_full"))
        difference = within - full
        error = difference.std(ddof=1) / np.sqrt(len(rows))
        assert within.mean() > 0
        assert abs(difference.mean()) < 4 * error
        assert error < 0.05 * full.mean()
