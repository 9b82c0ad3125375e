"""Does the gradient noise go as 1/|b| at one θ? Batches of each size against the side batch behind Figure 3.

    python tests/benchmarks/noise_by_batch_size.py [--data mnist --data-dir MNIST] [--steps 2000]

"direct" is the mean square of η = ∇U − ∇φ(b), per parameter, over fresh batches of that size; "side batch" is the
sample variance from 256 other samples divided by |b|, as `thermotui reproduce figure3` logs it. The first says
something of the noise, the second goes as 1/|b| by construction. Both at θ_0 and after some steps at |b| = 10.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from trainers.batched import BatchedLinear
from trainers.data.images import load_images
from trainers.families.softmax import Softmax, parse_widths
from trainers.figure3 import SIDE_BATCH, WIDTHS
from trainers.figure3_step import sgd_step
from trainers.setup import Setup

RATE = 0.01
TRAINING_BATCH = 10


def draw(family: Softmax, size: int, generator: torch.Generator) -> Tensor:
    return torch.randint(family.dataset_size, (family.ensemble, size), generator=generator)


def direct(family: Softmax, size: int, repeats: int, generator: torch.Generator) -> Tensor:
    """‖η‖² per parameter of each batch, [repeats * K]."""
    full = family.full_gradient()
    dimension = sum(layer.size for layer in family.layers)
    squares = []
    for _ in range(repeats):
        family.gradient(draw(family, size, generator), measure_noise=False)
        etas = [full[name] - p.grad for name, p in family.module.named_parameters() if p.grad is not None]
        squares.append(torch.stack([eta.square().flatten(1).sum(1) for eta in etas]).sum(0) / dimension)
    return torch.cat(squares).double()


def side(family: Softmax, repeats: int, generator: torch.Generator) -> float:
    """The variance of one sample's gradient per parameter, from `repeats` side batches."""
    dimension = sum(layer.size for layer in family.layers)
    noises = [family.gradient(draw(family, SIDE_BATCH, generator), measure_noise=True).noise for _ in range(repeats)]
    return float(torch.stack([noise.sum(1).mean() for noise in noises if noise is not None]).mean()) / dimension


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits", choices=("digits", "mnist", "fashion-mnist"))
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--members", type=int, default=4)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=100)
    options = parser.parse_args()
    images = load_images(options.data, options.data_dir)
    setup = Setup(options.members, "seed", "bootstrap", 1, 0, torch.device("cpu"))
    family = Softmax(images, parse_widths(WIDTHS), setup)
    generator = setup.generator("batches")
    inputs, labels = torch.from_numpy(images.train), torch.from_numpy(images.train_labels)
    table = Table("θ", "|b|", "direct", "± s.e.", "side batch", "direct × |b|", title=options.data)
    layers = [layer for layer in family.module.layers if isinstance(layer, BatchedLinear)]
    for steps in (0, options.steps):
        for _ in range(steps):
            indices = draw(family, TRAINING_BATCH, generator)
            sgd_step(layers, inputs[indices], labels[indices], RATE)
        sample = side(family, max(options.repeats // 10, 1), generator)
        for size in (1, 10, 100):
            # Rare large gradients carry much of the variance of single samples: more of those are drawn.
            squares = direct(family, size, options.repeats * (10 if size == 1 else 1), generator)
            error = float(squares.std()) / len(squares) ** 0.5
            row = (f"{squares.mean():.3e}", f"{error:.1e}", f"{sample / size:.3e}", f"{squares.mean() * size:.3e}")
            table.add_row(f"step {steps}", str(size), *row)
    Console().print(table)


if __name__ == "__main__":
    main()
