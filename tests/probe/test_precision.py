"""Autocast around the whole step, backward pass and all: what the probe computes stays in full precision."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from thermotui.probe import Probe, passes
from thermotui.probe.agreement import Directed, Directions
from thermotui.probe.autocorrelation import GradientProjection
from thermotui.probe.noise import Part, part_of_calls


class Sequences(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.up, self.down = nn.Linear(24, 96), nn.Linear(96, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        with torch.autocast("cpu", enabled=False):
            return self.down(torch.tanh(self.up(inputs))).mean(1)


def rows_of(path: Path, dtype: torch.dtype | None) -> tuple[np.ndarray, np.ndarray]:
    model = Sequences()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    generator = torch.Generator().manual_seed(7)
    with (
        Probe(model, optimizer, log=path, window=8, lags=4, seed=1, sketch=2) as probe,
        torch.autocast("cpu", dtype=dtype, enabled=dtype is not None),
    ):
        for _ in range(24):
            inputs = torch.randn(8, 40, 24, generator=generator)
            targets = torch.randint(3, (8,), generator=generator)
            with probe.step():
                optimizer.zero_grad()
                F.cross_entropy(model(inputs), targets).backward()
                optimizer.step()
        assert not probe.unmeasured and "sketch" in probe.estimators["up"]
    with h5py.File(path) as file:
        return file["reservoir"][:], file["autocorrelation"][:]


def test_a_step_under_autocast_is_measured_as_one_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[Tensor] = []

    def kept(*args: Any, **options: Any) -> tuple[Part, str]:
        part, estimator = part_of_calls(*args, **options)
        found.extend(one.values for one in part.norms)
        return part, estimator

    projected = GradientProjection.layers

    def layers(self: GradientProjection, joined: Tensor) -> Tensor:
        found.append(projected(self, joined))
        return found[-1]

    along = Directions.of_gradient

    def of_gradient(*args: Any) -> Directed:
        directed = along(*args)
        found.append(directed.along)
        return directed

    monkeypatch.setattr(passes, "part_of_calls", kept)
    monkeypatch.setattr(GradientProjection, "layers", layers)
    monkeypatch.setattr(Directions, "of_gradient", of_gradient)
    plain, lags = rows_of(tmp_path / "plain.h5", None)
    cast, cast_lags = rows_of(tmp_path / "cast.h5", torch.float16)
    assert len(found) > 200 and {one.dtype for one in found} == {torch.float32}
    assert (plain["temperature_se"] > 0).all() and len(lags) == 3
    # The backward pass itself rounds under autocast.
    for name in ("temperature", "temperature_se"):
        np.testing.assert_allclose(cast[name], plain[name], rtol=0.02)
    np.testing.assert_allclose(cast_lags["autocorrelation"], lags["autocorrelation"], atol=0.01)
