"""Loops of a small model at parameters that stay, and what their temperature is by many batches."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from thermotui.probe import Probe

RATE = 1e-9
Body = Callable[[nn.Module, torch.Generator], None]


def log_of(path: Path, model: nn.Module, body: Body, steps: int = 400) -> tuple[dict[str, float], dict[str, str]]:
    """Mean temperature by layer over the steps in which it was measured, and why layers were given up."""
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    generator = torch.Generator().manual_seed(7)
    with Probe(model, optimizer, log=path) as probe:
        for _ in range(steps):
            with probe.step():
                optimizer.zero_grad()
                body(model, generator)
                optimizer.step()
    with h5py.File(path) as file:
        rows = file["reservoir"][:]
        names = [layer.name for layer in probe._layers]
    means = [
        float(np.mean(one[np.isfinite(one)])) if np.isfinite(one).any() else np.nan for one in rows["temperature"].T
    ]
    return dict(zip(names, means, strict=True)), probe.unmeasured


def truth(model: nn.Module, body: Body, batches: int = 3000) -> dict[str, float]:
    """r/2 · Var(g) by module with parameters, from the gradients of many batches."""
    generator = torch.Generator().manual_seed(8)
    sums: dict[str, tuple[Tensor, Tensor]] = {}
    for _ in range(batches):
        model.zero_grad()
        body(model, generator)
        for name, module in model.named_modules():
            own = [torch.zeros(p.numel()) if p.grad is None else p.grad.flatten() for p in module.parameters(False)]
            if own:
                g = torch.cat(own).double()
                first, second = sums.get(name, (torch.zeros_like(g), torch.zeros_like(g)))
                sums[name] = first + g, second + g.square()
    return {
        name: float(((second - first.square() / batches) / (batches - 1)).mean()) * RATE / 2
        for name, (first, second) in sums.items()
    }


def small() -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3))


def drawn(generator: torch.Generator, size: int = 8) -> tuple[Tensor, Tensor]:
    return torch.randn(size, 5, generator=generator), torch.randint(3, (size,), generator=generator)


def plain(model: nn.Module, generator: torch.Generator) -> None:
    inputs, targets = drawn(generator)
    F.cross_entropy(model(inputs), targets).backward()
