"""K = 50 members in one batched step against a loop over 50 models, at |b| = 1, 10, 100; prints the table.

Run: python tests/benchmarks/batched_members.py [--members 50] [--widths 200,200,200,200] [--seconds 3]
"""

from __future__ import annotations

import argparse
import itertools
import os
import time
from collections.abc import Callable

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional as F

from trainers.batched import BatchedMLP, fill_gradients
from trainers.data.images import load_digits

RATE = 0.02


def batched(members: int, widths: list[int], inputs: Tensor, labels: Tensor, size: int) -> Callable[[], None]:
    """One step of all members at once, as `thermotui train softmax` makes it."""
    generator = torch.Generator(inputs.device).manual_seed(0)
    module = BatchedMLP(members, widths, generator=generator)
    optimizer = torch.optim.SGD(module.parameters(), lr=RATE)

    def step() -> None:
        indices = torch.randint(len(inputs), (members, size), generator=generator, device=inputs.device)
        picked = labels[indices]
        logits = module(inputs[indices])
        losses = F.cross_entropy(logits.flatten(0, 1), picked.flatten(), reduction="none").view_as(picked)
        fill_gradients(module, losses)
        optimizer.step()

    return step


def looped(members: int, widths: list[int], inputs: Tensor, labels: Tensor, size: int) -> Callable[[], None]:
    """One step of each of as many plain models, one after the other."""
    generator = torch.Generator(inputs.device).manual_seed(0)
    pairs = []
    for _ in range(members):
        layers: list[nn.Module] = []
        for i, o in itertools.pairwise(widths):
            layers += [nn.Linear(i, o, device=inputs.device), nn.ReLU()]
        model = nn.Sequential(*layers[:-1])
        pairs.append((model, torch.optim.SGD(model.parameters(), lr=RATE)))

    def step() -> None:
        for model, optimizer in pairs:
            indices = torch.randint(len(inputs), (size,), generator=generator, device=inputs.device)
            optimizer.zero_grad(set_to_none=True)
            F.cross_entropy(model(inputs[indices]), labels[indices]).backward()
            optimizer.step()

    return step


def steps_per_second(step: Callable[[], None], seconds: float, synchronise: Callable[[], None]) -> float:
    """Best of three stretches, after a warm-up."""
    for _ in range(3):
        step()
    best = 0.0
    for _ in range(3):
        synchronise()
        start, count = time.perf_counter(), 0
        while time.perf_counter() - start < seconds / 3:
            step()
            count += 1
        synchronise()
        best = max(best, count / (time.perf_counter() - start))
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--members", type=int, default=50)
    parser.add_argument("--widths", default="200,200,200,200")
    parser.add_argument("--seconds", type=float, default=3.0)
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    images = load_digits()
    inputs = torch.from_numpy(images.train).to(device)
    labels = torch.from_numpy(images.train_labels).to(device)
    widths = [inputs.shape[1], *map(int, options.widths.split(",")), images.classes]
    synchronise = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    table = Table(
        "|b|", "batched, steps/s", "loop, steps/s", "ratio",
        title=f"{options.members} members of {options.widths} on {device}, {torch.get_num_threads()} threads, "
        f"load {os.getloadavg()[0]:.1f}",
    )  # fmt: skip
    for size in (1, 10, 100):
        fast, slow = (
            steps_per_second(make(options.members, widths, inputs, labels, size), options.seconds, synchronise)
            for make in (batched, looped)
        )
        table.add_row(str(size), f"{fast:.1f}", f"{slow:.1f}", f"{fast / slow:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
