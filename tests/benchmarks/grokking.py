"""Does the loss detector flag grokking? Modular addition learnt by 24 small networks, full batch, nearly without noise.

    python -m tests.benchmarks.grokking [--runs 24] [--rows 700] [--seed 8] [--save curves.npz | --load curves.npz]

A row is three optimizer steps. The transition is the row at which the validation accuracy first passes one half. A run
counts as found where `step_down` (or another alert above minor) of the validation loss begins within 60 rows of it; any
other alert above minor after row 100 is a false alarm.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from thermotui.detect.book import AlertBook
from thermotui.detect.loss import LossDetector
from thermotui.detect.settings import Settings

WITHIN = 60
FIRST_ROW = 100


def train(
    runs: int, rows: int, seed: int, *, modulus: int = 23, width: int = 96, every: int = 3
) -> dict[str, NDArray[np.float64]]:
    """Train `runs` networks side by side; validation loss and accuracy, float64 [runs, rows]."""
    generator = torch.Generator().manual_seed(seed)
    pairs = torch.cartesian_prod(torch.arange(modulus), torch.arange(modulus))
    target = pairs.sum(1) % modulus
    one_hot = torch.nn.functional.one_hot
    wanted = one_hot(target, modulus).float()
    inputs = torch.cat([one_hot(pairs[:, 0], modulus), one_hot(pairs[:, 1], modulus)], 1).float()
    order = torch.stack([torch.randperm(len(pairs), generator=generator) for _ in range(runs)])
    half = len(pairs) // 2
    learnt, held_out = order[:, :half], order[:, half:]
    first = torch.randn(runs, 2 * modulus, width, generator=generator) * 3 / (2 * modulus) ** 0.5
    second = torch.randn(runs, width, modulus, generator=generator) * 3 / width**0.5
    first.requires_grad_()
    second.requires_grad_()
    optimizer = torch.optim.AdamW([first, second], lr=2e-3, weight_decay=3.0, betas=(0.9, 0.98))

    def losses(samples: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        outputs = torch.bmm(torch.bmm(inputs[samples], first).square(), second)
        loss = (outputs - wanted[samples]).square().mean((1, 2))
        return loss, (outputs.argmax(2) == target[samples]).float().mean(1)

    curves = {name: np.empty((runs, rows)) for name in ("train_loss", "loss", "accuracy")}
    for row in range(rows):
        for _ in range(every):
            optimizer.zero_grad()
            loss, _ = losses(learnt)
            loss.sum().backward()
            optimizer.step()
        with torch.no_grad():
            validation, accuracy = losses(held_out)
        curves["train_loss"][:, row], curves["loss"][:, row] = loss.detach().numpy(), validation.numpy()
        curves["accuracy"][:, row] = accuracy.numpy()
    return curves


def judge(loss: NDArray[np.float64], transition: int) -> tuple[int | None, int]:
    """Delay of the alert that flags the transition, None where none does, and the number of false alarms."""
    book = AlertBook()
    LossDetector(Settings(), book).feed(np.arange(len(loss), dtype=np.int64), loss)
    alarms = [alert for alert in book.alerts if alert.severity != "minor" and alert.step >= FIRST_ROW]
    found = [alert for alert in alarms if abs(alert.start - transition) <= WITHIN]
    delay = min((alert.step - transition for alert in found), default=None)
    return delay, len(alarms) - len(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=24)
    parser.add_argument("--rows", type=int, default=700)
    parser.add_argument("--seed", type=int, default=8, help="0, 1, 2, 4 were looked at in tuning, 3, 5, 6, 7 scored")
    parser.add_argument("--save", type=Path)
    parser.add_argument("--load", type=Path)
    options = parser.parse_args()
    if options.load:
        with np.load(options.load) as archive:
            curves = {name: archive[name] for name in archive.files}
    else:
        torch.set_num_threads(1)
        curves = train(options.runs, options.rows, options.seed)
    if options.save:
        np.savez_compressed(options.save, **curves)
    print(f"{'run':>4} {'transition':>11} {'delay':>6} {'false alarms':>13}")
    found = learnt = worst = 0
    for run, (loss, accuracy) in enumerate(zip(curves["loss"], curves["accuracy"], strict=True)):
        passed = np.flatnonzero(accuracy > 0.5)
        if not passed.size:
            print(f"{run:>4} {'never':>11}")
            continue
        delay, false = judge(loss, int(passed[0]))
        learnt += 1
        found += delay is not None
        worst = max(worst, false)
        print(f"{run:>4} {passed[0]:>11} {'missed' if delay is None else delay:>6} {false:>13}")
    print(f"found {found} of {learnt} transitions; at most {worst} false alarms a run")


if __name__ == "__main__":
    main()
