"""Steps per second of every family at a real size, with its thermodynamics and without; prints a table.

    python tests/benchmarks/families_on_device.py [--device cuda] [--mnist DIRECTORY] [--fashion DIRECTORY]

A run goes on for --seconds after its first second, log included. With: the default strides, a transition every 10 and
the reservoir every 20 steps. Without: neither is measured within the run, the rest is the same.
"""

from __future__ import annotations

import argparse
import platform
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from trainers.config import resolve
from trainers.loop import Progress, train

NEVER = 10**9


def families(mnist: Path, fashion: Path) -> dict[str, tuple[str, dict[str, Any]]]:
    """Title → family and its options."""
    on_mnist = {"data": "mnist", "data_dir": mnist}
    on_fashion = {"data": "fashion-mnist", "data_dir": fashion}
    return {
        "softmax 784-200-200-200-200-10, MNIST, |b| = 100, K = 50": (
            "softmax",
            on_mnist | {"batch_size": 100, "ensemble": 50},
        ),
        "RBM 784×500, MNIST, PCD-1, |b| = 500, K = 8": (
            "rbm",
            on_mnist | {"hidden": 500, "batch_size": 500, "learning_chains": 500, "ensemble": 8},
        ),
        "transformer, 10.7 million parameters, 128 bytes, |b| = 16, K = 8": (
            "transformer",
            {"context_length": 128, "width": 384, "depth": 6, "heads": 6, "batch_size": 16, "ensemble": 8},
        ),
        "VAE 784-512-256-32, Fashion-MNIST, |b| = 100, K = 8": (
            "vae",
            on_fashion | {"widths": "512,256", "latent": 32, "batch_size": 100, "ensemble": 8},
        ),
        "EBM 784-512-512-1, Fashion-MNIST, τ = 10, |b| = 100, K = 8": (
            "ebm",
            on_fashion | {"widths": "512,512", "batch_size": 100, "ensemble": 8},
        ),
    }


def rate(family: str, values: dict[str, Any], seconds: float) -> float:
    """Steps per second from the first second of a run on."""
    marks: list[tuple[float, int]] = []

    def report(progress: Progress) -> None:
        now = time.perf_counter()
        if marks or now - begun > 1.0:
            marks.append((now, progress.step))
        if marks and now - marks[0][0] > seconds:
            signal.raise_signal(signal.SIGTERM)

    config, options = resolve(family, {"steps": NEVER, "learning_rate": 0.01} | values)
    with tempfile.TemporaryDirectory() as directory:
        begun = time.perf_counter()
        train(family, config, options, Path(directory) / "run.h5", report)
    (first, start), (last, end) = marks[0], marks[-1]
    return (end - start) / (last - first)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--mnist", type=Path, help="directory of its IDX files; downloaded without it")
    parser.add_argument("--fashion", type=Path, help="the same of Fashion-MNIST")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--only", help="families whose titles hold this text")
    options = parser.parse_args()
    on_cuda = options.device != "cpu" and torch.cuda.is_available()
    print(torch.cuda.get_device_name() if on_cuda else platform.machine(), f"torch {torch.__version__}", flush=True)
    for title, (family, values) in families(options.mnist, options.fashion).items():
        if options.only and options.only not in title:
            continue
        values |= {"device": options.device}
        whole = rate(family, values, options.seconds)
        alone = rate(family, values | {"stride": NEVER, "reservoir_stride": NEVER}, options.seconds)
        print(f"{title:75} with {whole:8.1f} steps/s   without {alone:8.1f}   × {alone / whole:.2f}", flush=True)


if __name__ == "__main__":
    main()
