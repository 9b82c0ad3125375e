"""Components count in the mobility by the squares of their gradients: those with next to none, next to nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.probe.test_mobility import KINDS, Make, mobility_of, response
from thermotui.probe import Probe
from thermotui.probe.mobility import Mobility


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("sgd", "momentum", "nesterov")])
def test_gradients_that_are_rounding_have_no_say(kind: str) -> None:
    """As that of an attention's key bias: of 1e-9 where the others have 1, it moves by up to r/ε of itself."""
    alive, dead = (nn.Parameter(torch.zeros(4, dtype=torch.float64)) for _ in range(2))
    optimizer = KINDS[kind](iter([alive, dead]))
    both, one = Mobility(optimizer, [[alive, dead]]), Mobility(optimizer, [[alive]])
    for step in range(20):
        for parameter, size in ((alive, 1.0), (dead, 1e-9)):
            gradient = torch.full_like(parameter, size if step % 3 else -size)
            parameter.grad = gradient.to_sparse(1) if kind == "sparse adam" else gradient
        optimizer.step()
    assert mobility_of(both)[0] == pytest.approx(mobility_of(one)[0], rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.Adam(p, lr=0.1, eps=1e-6),
        lambda p: torch.optim.Adagrad(p, lr=0.1, initial_accumulator_value=0.1, eps=1e-3),
        lambda p: torch.optim.Adamax(p, lr=0.1, eps=1e-3),
    ],
    ids=["adam", "adagrad", "adamax"],
)
def test_components_without_gradient_have_no_say_at_any_precision(make: Make, dtype: torch.dtype) -> None:
    """Half precision has no room for 1/ε, and rounds what an accumulator begins with."""
    some, none = (nn.Parameter(torch.zeros(4, dtype=dtype)) for _ in range(2))
    optimizer = make(iter([some, none]))
    found = Mobility(optimizer, [[some, none], [some], [none]])
    gradient = torch.tensor([0.25, 0.25, 0.0, 0.0], dtype=dtype)
    for _ in range(3):
        some.grad, none.grad = gradient.clone(), torch.zeros_like(none)
        optimizer.step()
    both, alone, nothing = mobility_of(found)
    assert np.isfinite(alone) and both == pytest.approx(alone, rel=1e-3) and np.isnan(nothing)


@pytest.mark.parametrize("size", [1e-30, 1e-12, 1e12, 1e18])
def test_squares_of_any_size_have_their_place(size: float) -> None:
    parameter = nn.Parameter(torch.zeros(1000, dtype=torch.float64))
    optimizer = torch.optim.Adam([parameter], lr=0.1)
    found = Mobility(optimizer, [[parameter]])
    parameter.grad = torch.full_like(parameter, size)
    optimizer.step()
    assert mobility_of(found)[0] == pytest.approx(0.1 / (size + 1e-8), rel=1e-5)


@pytest.mark.parametrize("lent", [False, True])
def test_groups_of_other_rates_are_weighed_alike(monkeypatch: pytest.MonkeyPatch, lent: bool) -> None:
    monkeypatch.setattr("thermotui.probe.mobility.on_device", lambda value: isinstance(value, Tensor))
    slow, fast = (nn.Parameter(torch.zeros(size, dtype=torch.float64)) for size in (40, 4))
    rates: list[Any] = [1e-3, torch.tensor(0.1, dtype=torch.float64) if lent else 0.1]
    groups = [{"params": [one], "lr": rate} for one, rate in zip((slow, fast), rates, strict=True)]
    optimizer = torch.optim.Adam(groups)
    found = Mobility(optimizer, [[slow, fast]])
    slow.grad, fast.grad = torch.full_like(slow, 0.01), torch.full_like(fast, 1.0)
    optimizer.step()
    preconditioner = found.preconditioner()
    host, device = found.rates(), found.rates_on_device()
    assert preconditioner is not None
    mobility = float((preconditioner * device if device is not None else preconditioner * host[0])[0])
    moved = [slow.detach().neg(), fast.detach().neg()]
    assert mobility == pytest.approx(response(moved, [slow.grad, fast.grad]), rel=1e-5)


def test_the_temperature_of_a_layer_with_a_dead_parameter_is_that_of_its_components(tmp_path: Path) -> None:
    """½ ⟨μ_i Var(η_i)⟩, from gradients of many batches where θ hardly moves: keys' biases have none but rounding."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh())
    queries, keys, out = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 3)
    everything = nn.ModuleDict({"first": model, "q": queries, "k": keys, "out": out})

    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = everything

        def forward(self, inputs: Tensor) -> Tensor:
            hidden = model(inputs)
            weights = (queries(hidden) @ keys(hidden).mT / 8**0.5).softmax(-1)
            return out((weights @ hidden).mean(1))

    attention = Attention()
    optimizer = torch.optim.Adam(attention.parameters(), lr=1e-9)
    generator = torch.Generator().manual_seed(5)
    gradients: list[list[Tensor]] = []
    layer = list(keys.parameters())
    with Probe(attention, optimizer, log=tmp_path / "log.h5") as probe:
        for _ in range(1600):
            inputs = torch.randn(16, 5, 6, generator=generator)
            targets = torch.randint(3, (16,), generator=generator)
            with probe.step():
                optimizer.zero_grad()
                F.cross_entropy(attention(inputs), targets).backward()
                optimizer.step()
            gradients.append([p.grad.clone() for p in layer if p.grad is not None])
    moment = [optimizer.state[p]["exp_avg_sq"] / (1 - 0.999**1600) for p in layer]
    preconditioner = torch.cat([(1e-9 / (one.sqrt() + 1e-8)).flatten() for one in moment])
    variance = torch.stack([torch.cat([g.flatten() for g in step]) for step in gradients]).double().var(0)
    assert preconditioner.max() > 1000 * preconditioner.median()
    index = [found.name for found in probe._layers].index("parts.k")
    with h5py.File(tmp_path / "log.h5") as file:
        temperatures = file["reservoir"]["temperature"][1200:, index]
    expected = float((preconditioner * variance).mean()) / 2
    assert float(temperatures.mean()) == pytest.approx(expected, rel=0.1)
