"""Modules that remember, draw, have hooks or answer to others: the training stays theirs, and no figure is wrong."""

from __future__ import annotations

import contextlib
import copy
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.probe.conftest import CLASSES
from thermotui.probe import Probe
from thermotui.probe.layers import model_layers
from thermotui.probe.sameness import differences

RATE = 0.1


class Leaf(nn.Module):
    """A parameter of its own, no other module inside, no rule."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.linspace(0.5, 1.5, 5))

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs * self.gain


class Hidden(Leaf):
    """As in truncated backpropagation through time."""

    def __init__(self) -> None:
        super().__init__()
        self.state: Tensor | None = None

    def forward(self, inputs: Tensor) -> Tensor:
        last = torch.zeros(5) if self.state is None else self.state
        out = torch.tanh(inputs * self.gain + last)
        self.state = out.detach().mean(0)
        return out


class RunningMean(Leaf):
    def __init__(self) -> None:
        super().__init__()
        self.mean = torch.zeros(5)

    def forward(self, inputs: Tensor) -> Tensor:
        # Without torch's count of changes noticing.
        self.mean.data.mul_(0.9).add_(0.1 * inputs.detach().mean(0))
        return (inputs - self.mean) * self.gain


class RunningBuffer(Leaf):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(5))

    def forward(self, inputs: Tensor) -> Tensor:
        self.mean = 0.9 * self.mean + 0.1 * inputs.detach().mean(0)
        return (inputs - self.mean) * self.gain


class Counter(Leaf):
    def __init__(self) -> None:
        super().__init__()
        self.calls = {"all": 0}

    def forward(self, inputs: Tensor) -> Tensor:
        self.calls["all"] += 1
        return inputs * self.gain * min(1.0, self.calls["all"] / 50)


class Bank(Leaf):
    def __init__(self) -> None:
        super().__init__()
        self.bank: list[Tensor] = []

    def forward(self, inputs: Tensor) -> Tensor:
        self.bank = [*self.bank, inputs.detach().mean(0)][-4:]
        return (inputs - torch.stack(self.bank).mean(0)) * self.gain


class Toggle(Leaf):
    def __init__(self) -> None:
        super().__init__()
        self.odd = False

    def forward(self, inputs: Tensor) -> Tensor:
        self.odd = not self.odd
        return inputs * self.gain if self.odd else -inputs * self.gain


class Renormalised(Leaf):
    """Changes its parameter in the forward pass."""

    def forward(self, inputs: Tensor) -> Tensor:
        self.gain.data.mul_(0.99)
        return inputs * self.gain


class InPlace(Leaf):
    def forward(self, inputs: Tensor) -> Tensor:
        return inputs.add_(self.gain)


class PythonRandom(Leaf):
    def forward(self, inputs: Tensor) -> Tensor:
        return inputs * self.gain if random.random() > 0.5 else inputs * self.gain.square()


class NumpyRandom(Leaf):
    def forward(self, inputs: Tensor) -> Tensor:
        mask = torch.as_tensor(np.random.rand(len(inputs), 1) < 0.3)  # noqa: NPY002
        return torch.where(mask, self.gain, inputs)


class TorchRandom(Leaf):
    def forward(self, inputs: Tensor) -> Tensor:
        return inputs * self.gain + torch.randn_like(inputs)


class KeepsGraph(Leaf):
    def forward(self, inputs: Tensor) -> Tensor:
        self.last = inputs * self.gain
        return self.last


class Elsewhere(Leaf):
    def __init__(self) -> None:
        super().__init__()
        self.others = [nn.Linear(5, 5)]

    def forward(self, inputs: Tensor) -> Tensor:
        return self.others[0](inputs) * self.gain


class Closure(Leaf):
    def __init__(self) -> None:
        super().__init__()
        self.scale = lambda inputs: inputs * self.gain

    def forward(self, inputs: Tensor) -> Tensor:
        return self.scale(inputs)


class Statistics(Leaf):
    """Batch norm inside without parameters or running statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(5, affine=False, track_running_stats=False)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.norm(inputs) * self.gain


class Parent(nn.Module):
    """Parameters of its own beside those of the modules inside it, as a vision transformer's class token."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.ones(6))
        self.inner = nn.Linear(6, CLASSES)
        self.calls = 0

    def forward(self, inputs: Tensor) -> Tensor:
        self.calls += 1
        return self.inner(inputs * self.token)


def between(middle: nn.Module) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(6, 5), type(middle)(), nn.Linear(5, CLASSES))

    return make


def train(make: Callable[[], nn.Module], path: Path | None, steps: int = 12) -> tuple[list[Any], dict[str, str]]:
    """Everything that is left of a training that nothing may touch, and the layers without samples."""
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    model = make()
    torch.manual_seed(1)
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    generator = torch.Generator().manual_seed(5)
    probe = None if path is None else Probe(model, optimizer, log=path)
    with probe or contextlib.nullcontext():
        for _ in range(steps):
            inputs = torch.randn(8, 6, generator=generator)
            targets = torch.randint(CLASSES, (8,), generator=generator)
            with contextlib.nullcontext() if probe is None else probe.step():
                optimizer.zero_grad()
                F.cross_entropy(model(inputs), targets).backward()
                optimizer.step()
    attributes = [{k: v for k, v in vars(m).items() if "_hooks" not in k and k != "scale"} for m in model.modules()]
    rest = [random.random(), np.random.rand(), torch.rand(3)]  # noqa: NPY002
    return [attributes, rest], {} if probe is None else probe.unmeasured


CHANGES = "its forward pass changes the module"
RANDOM = "its forward pass draws random numbers"


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (Hidden, CHANGES),
        (RunningMean, CHANGES),
        (RunningBuffer, CHANGES),
        (Counter, CHANGES),
        (Bank, CHANGES),
        (Toggle, CHANGES),
        (Renormalised, CHANGES),
        (InPlace, "its forward pass changes its arguments"),
        (PythonRandom, RANDOM),
        (NumpyRandom, RANDOM),
        (TorchRandom, RANDOM),
        (KeepsGraph, "it cannot be copied (RuntimeError)"),
        (Elsewhere, "1 refers to modules beside those inside it"),
        (Closure, "1 refers to modules beside those inside it"),
        (Statistics, "1 couples the samples of a batch"),
        (Leaf, None),
    ],
)
def test_what_a_module_does_besides_stays_the_trainings(tmp_path: Path, kind: type[Leaf], reason: str | None) -> None:
    make = between(kind())
    alone, _ = train(make, None)
    probed, unmeasured = train(make, tmp_path / "log.h5")
    assert not any(bool(one) for one in differences(alone, probed))
    assert unmeasured == ({} if reason is None else {"1": reason})


def test_a_module_with_others_inside_is_never_run_again(tmp_path: Path) -> None:
    alone, _ = train(Parent, None)
    probed, unmeasured = train(Parent, tmp_path / "log.h5")
    assert not any(bool(one) for one in differences(alone[1], probed[1]))
    assert unmeasured == {"Parent": "Parent uses its own parameters beside those of other layers"}
    with h5py.File(tmp_path / "log.h5") as file:
        assert np.isfinite(file["reservoir"]["temperature"][2:]).all()


def test_hooks_of_the_loop_are_called_for_its_own_passes_alone(tmp_path: Path) -> None:
    for where in ("on it", "everywhere"):
        seen: list[int] = []
        model = nn.Sequential(nn.Linear(6, 5), Leaf(), nn.Linear(5, CLASSES))

        def note(module: nn.Module, inputs: Any, output: Any, seen: list[int] = seen) -> None:
            if isinstance(module, Leaf):
                seen.append(len(output))

        handle = (
            model[1].register_forward_hook(note)
            if where == "on it"
            else nn.modules.module.register_module_forward_hook(note)
        )
        try:
            _, unmeasured = train(lambda model=model: model, tmp_path / f"{where}.h5", steps=2)
        finally:
            handle.remove()
        assert seen == [8, 8]
        assert unmeasured == {"1": "1 has hooks of the loop's own"}


def test_a_copy_of_a_probed_model_has_no_hooks_of_the_loops_own(tmp_path: Path) -> None:
    model = between(Leaf())()
    probe = Probe(model, torch.optim.SGD(model.parameters(), lr=RATE), log=tmp_path / "log.h5")
    probe.begin_step()
    assert all(layer.obstacle is None for layer in model_layers(copy.deepcopy(model)))
    probe.close()
