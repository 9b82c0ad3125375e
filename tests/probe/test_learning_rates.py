"""A learning rate that lies on the device, as captured graphs read it: the figures of a number, and nobody waits."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.devices import DEVICES
from tests.probe.test_devices import nobody_waits
from tests.probe.test_loops import data, rows, small
from thermotui.probe import Probe, log, mobility
from thermotui.probe.mobility import Mobility

DECAY = 0.9


class SGD(torch.optim.SGD):
    """Torch's own has the host wait for such a learning rate."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter -= group["lr"] * parameter.grad


@pytest.fixture(autouse=True)
def every_tensor_is_on_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a device the processor's tensors go its way."""
    monkeypatch.setattr(mobility, "on_device", lambda value: isinstance(value, Tensor))


def train(path: Path, rate: float | Tensor, device: str, *, guarded: bool) -> dict[str, np.ndarray]:
    """Each step lowers the rate in place once the optimizer has made it."""
    inputs, targets = (tensor.to(device) for tensor in data(48))
    model = small().to(device)
    optimizer = SGD(model.parameters(), lr=rate)
    with Probe(model, optimizer, log=path, full_interval=4) as probe:
        for number in range(20):

            def loss() -> Tensor:
                return F.cross_entropy(model(inputs), targets)

            # The log is made after the first step.
            with nobody_waits(device) if guarded and number else contextlib.nullcontext(), probe.step(replay=loss):
                optimizer.zero_grad()
                loss().backward()
                optimizer.step()
                for group in optimizer.param_groups:
                    group["lr"] *= DECAY
    return {stream: rows(path, stream) for stream in ("steps", "reservoir")}


@pytest.mark.parametrize("device", DEVICES)
def test_a_tensor_has_the_figures_of_a_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    monkeypatch.setattr(log, "FLUSH_SECONDS", 1e9)
    expected = train(tmp_path / "number.h5", 0.5, device, guarded=False)
    found = train(tmp_path / "tensor.h5", torch.tensor(0.5, device=device), device, guarded=True)
    np.testing.assert_allclose(found["steps"]["learning_rate"], 0.5 * DECAY ** np.arange(20), rtol=1e-6)
    for stream in expected:
        for column in set(expected[stream].dtype.names or ()) - {"time"}:
            np.testing.assert_allclose(
                found[stream][column], expected[stream][column], rtol=2e-3, atol=1e-7, err_msg=column
            )
    gaps = found["reservoir"]["reversibility_gap"]
    assert np.isfinite(gaps).any() and np.isfinite(found["reservoir"]["temperature"]).all()


@pytest.mark.parametrize("device", DEVICES)
def test_groups_of_either_kind_make_up_the_rates_of_layers(device: str) -> None:
    first, second, third, absent = (nn.Parameter(torch.zeros(size, device=device)) for size in (6, 2, 4, 3))
    optimizer = SGD([{"params": [first], "lr": torch.tensor([0.4], device=device)}, {"params": [second]}], lr=0.2)
    optimizer.add_param_group({"params": [third], "lr": 0.1, "momentum": 0.5})
    found = Mobility(optimizer, [[first, second], [third], [absent]])

    def on_device() -> list[float]:
        assert np.isnan(found.rates()).all()
        rates = found.rates_on_device()
        assert rates is not None and rates.device.type == device
        return rates.tolist()

    assert on_device() == pytest.approx([(6 * 0.4 + 2 * 0.2) / 8, 0.2, np.nan], nan_ok=True)
    rate = found.learning_rate
    optimizer.param_groups[0]["lr"].fill_(0.8)
    optimizer.param_groups[2]["lr"] = torch.tensor(0.3, device=device)
    assert on_device() == pytest.approx([(6 * 0.8 + 2 * 0.2) / 8, 0.6, np.nan], nan_ok=True)
    # What was read is not that of later steps.
    assert float(rate) == pytest.approx(0.4)
    for group in optimizer.param_groups:
        group["lr"] = 0.1
    assert found.rates() == pytest.approx([0.1, 0.2, np.nan], nan_ok=True)
    assert found.rates_on_device() is None and found.learning_rate == 0.1
