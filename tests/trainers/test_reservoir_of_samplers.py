"""The noise of a model's own samples belongs to the temperature whatever the batch's size (chains, |b| = 1)."""

from typing import Any

import numpy as np
import pytest
import torch

from trainers.config import resolve
from trainers.header import make_header
from trainers.training import Training


def trained(family: str, values: dict[str, Any]) -> tuple[Training, np.ndarray]:
    """A run to its end, and the rows of `reservoir`."""
    config, options = resolve(family, values | {"ensemble": 8, "probe_size": 64, "device": "cpu"})
    training = Training(family, config, options)
    training.begin()
    for _ in range(config.steps):
        training.advance()
        if training.block_is_full:
            training.recorder.drain()
    return training, training.meter.drain()[0]


@pytest.mark.parametrize(("batch_size", "replacement"), [(1, True), (2, True), (15, False), (30, False)])
def test_temperature_of_an_rbm_agrees_with_the_full_gradient(batch_size: int, replacement: bool) -> None:
    values = {"data": "bars-and-stripes", "hidden": 6, "batch_size": batch_size, "replacement": replacement}
    values |= {"steps": 300, "learning_rate": 1e-4, "reservoir_stride": 3, "full_stride": 3, "stride": 100}
    _, rows = trained("rbm", values)
    for layer in (0, 1):
        within, full = (rows[name][:, layer].astype(float) for name in ("temperature", "temperature_full"))
        difference = within - full
        error = difference.std(ddof=1) / np.sqrt(len(rows))
        assert within.mean() > 0
        assert abs(difference.mean()) < 4 * error
        assert error < 0.05 * full.mean()


@pytest.mark.parametrize(
    ("family", "batch_size", "replacement"),
    [("rbm", 1, False), ("rbm", 10, True), ("rbm", 25, False), ("rbm", 30, False), ("vae", 1000, False)],
)
def test_what_samples_draw_themselves_is_no_finite_population(family: str, batch_size: int, replacement: bool) -> None:
    """Chains that start at the data, and z: against the variance of batches' gradients where θ stays."""
    chains = {"data": "bars-and-stripes", "hidden": 6, "initial_scale": 1.0, "persistent": False}
    values: dict[str, Any] = {"batch_size": batch_size, "replacement": replacement}
    values |= chains if family == "rbm" else {"data": "digits", "widths": "8", "latent": 2, "optimizer": "sgd"}
    values |= {"steps": 300, "learning_rate": 1e-7, "reservoir_stride": 2, "full_stride": 0, "stride": 1000}
    training, rows = trained(family, values)
    gradients = []
    for _ in range(1000):
        training.family.gradient(training.schedule.next(), measure_noise=False)
        grads = {name: p.grad.flatten(1) for name, p in training.family.module.named_parameters() if p.grad is not None}
        gradients.append(
            [torch.cat([grads[one] for one in names], dim=1) for names in training.family.layer_parameters]
        )
    for index in range(len(training.family.layers)):
        direct = 0.5e-7 * torch.stack([step[index] for step in gradients]).double().var(0).mean(1).numpy()
        measured = rows["temperature"][:, index].astype(float)
        # Members differ, and of their variances of so many batches each is known to a few per cent.
        error = measured.std(ddof=1) / np.sqrt(len(rows)) + 0.01 * direct.mean()
        assert abs(measured.mean() - direct.mean()) < 4 * error, (index, measured.mean() / direct.mean())
        assert error < 0.05 * direct.mean()


@pytest.mark.parametrize("persistent", [True, False])
def test_the_header_says_that_contrastive_divergence_has_another_gradient(persistent: bool) -> None:
    values = {"data": "bars-and-stripes", "hidden": 3, "persistent": persistent, "probe_size": 16, "device": "cpu"}
    config, options = resolve("rbm", values)
    family = Training("rbm", config, options).family
    header = make_header(family, config, options, estimator="", detectors={})
    assert any("(CD)" in note for note in header.notes) != persistent
