"""What logging a step costs the training thread and the machine, beside TensorBoard, JSON lines and W&B offline.

Usage: python tests/benchmarks/runlog_appending.py [--steps 20000] [--directory DIRECTORY]
A step is 20 scalars and 6 × 50 values of layers, the same numbers for each, after about 0.3 ms of matrix work that lets
other threads run, as training does. Peers that are not installed are left out; the slow ones are given fewer steps. The
run log keeps figures of its ledger as float64, their errors and values of layers as float32, 1,336 bytes with the two
tables' steps, and has no columns for what this run does not measure.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

# Threads of the matrix work would count as the log's.
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np

from thermotui.runlog.schema import STREAMS, Header, Layer
from thermotui.runlog.writer import RunLogWriter

LAYERS = 50
SCALARS = tuple(
    f"{name}{suffix}"
    for name in (
        "work",
        "heat",
        "entropy_conditional",
        "entropy_marginal",
        "ep_conditional",
        "ep_marginal",
        "ep_ignorance",
        "l_info_lower",
        "l_info_upper",
        "m_info",
    )
    for suffix in ("", "_se")
)
FIELDS = ("temperature", "temperature_se", "force", "noise_skew", "drift", "reversibility_gap")
Values = tuple[dict[str, float], dict[str, np.ndarray]]
Log = Callable[[int, dict[str, float], dict[str, np.ndarray]], None]


def to_run_log(directory: Path) -> tuple[Log, Callable[[], None]]:
    """The scalars go to `thermo`, the layers to `reservoir`, each without the columns that stay empty."""
    header = Header("benchmark", time.time(), "softmax", tuple(Layer(str(index), 1) for index in range(LAYERS)))
    measured = {"thermo": SCALARS, "reservoir": FIELDS}
    unmeasured = {
        name: [field.name for field in STREAMS[name].fields if field.name not in ("step", *fields)]
        for name, fields in measured.items()
    }
    writer = RunLogWriter.create(directory / "run.h5", header, unmeasured=unmeasured)

    def log(step: int, scalars: dict[str, float], arrays: dict[str, np.ndarray]) -> None:
        writer.append_row("thermo", step, scalars)
        writer.append_row("reservoir", step, arrays)

    return log, writer.close


def to_json_lines(directory: Path) -> tuple[Log, Callable[[], None]]:
    file = (directory / "run.jsonl").open("w")

    def log(step: int, scalars: dict[str, float], arrays: dict[str, np.ndarray]) -> None:
        lists = {name: values.tolist() for name, values in arrays.items()}
        file.write(json.dumps({"step": step, **scalars, **lists}) + "\n")

    return log, file.close


def to_tensorboard(directory: Path) -> tuple[Log, Callable[[], None]]:
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(directory))

    def log(step: int, scalars: dict[str, float], arrays: dict[str, np.ndarray]) -> None:
        for name, value in scalars.items():
            writer.add_scalar(name, value, step)
        for name, values in arrays.items():
            for layer in range(LAYERS):
                writer.add_scalar(f"{name}/{layer}", values[layer], step)

    return log, writer.close


def to_wandb(directory: Path) -> tuple[Log, Callable[[], None]]:
    os.environ["WANDB_SILENT"] = "true"
    import wandb

    run = wandb.init(mode="offline", dir=str(directory))

    def log(step: int, scalars: dict[str, float], arrays: dict[str, np.ndarray]) -> None:
        flat = {f"{name}/{layer}": float(values[layer]) for name, values in arrays.items() for layer in range(LAYERS)}
        run.log({**scalars, **flat}, step=step)

    return log, run.finish


PEERS = {
    "run log": (to_run_log, None, 1.0),
    "JSON lines": (to_json_lines, None, 0.1),
    "W&B offline": (to_wandb, "wandb", 0.02),
    "SummaryWriter": (to_tensorboard, "tensorboard", 0.01),
}
"""How each logs, what it needs, and the part of the steps it is given: the slow ones would take all day."""


def measure(begin: Callable[[Path], tuple[Log, Callable[[], None]]], directory: Path, steps: int) -> list[float]:
    """Median, p99, p99.9 of a step on the calling thread, processor time all in, in µs a step; bytes a step.

    All in: the median on the calling thread, all that other threads of the process use meanwhile, and the end.
    """
    generator = np.random.default_rng(0)
    values: list[Values] = []
    for _ in range(100):
        scalars = dict(zip(SCALARS, generator.normal(size=len(SCALARS)).tolist(), strict=True))
        values.append((scalars, {name: generator.normal(size=LAYERS).astype("f4") for name in FIELDS}))
    matrix = generator.normal(size=(160, 160))
    log, end = begin(directory)
    taken = np.empty(steps)
    others = time.process_time() - time.thread_time()
    for step in range(steps):
        matrix @ matrix
        scalars, arrays = values[step % len(values)]
        start = time.perf_counter_ns()
        log(step, scalars, arrays)
        taken[step] = time.perf_counter_ns() - start
    others = time.process_time() - time.thread_time() - others
    ending = time.process_time()
    end()
    ending = time.process_time() - ending
    size = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
    median, p99, p999 = np.percentile(taken, (50, 99, 99.9)) / 1000
    return [median, p99, p999, median + 1e6 * (others + ending) / steps, size / steps]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--directory", type=Path)
    arguments = parser.parse_args()
    print(f"processors {os.cpu_count()}, load {os.getloadavg()[0]:.1f}")
    print(
        "log           | median µs |    p99 |  p99.9 | processor µs a step | bytes a step | × the run log's",
        flush=True,
    )
    base = None
    for name, (begin, module, part) in PEERS.items():
        if module is not None and importlib.util.find_spec(module) is None:
            print(f"{name:13} | not installed")
            continue
        with tempfile.TemporaryDirectory(dir=arguments.directory) as directory:
            median, p99, p999, processor, size = measure(begin, Path(directory), max(100, int(part * arguments.steps)))
        base = base or median
        print(
            f"{name:13} | {median:9.1f} | {p99:6.0f} | {p999:6.0f} | {processor:19.1f} | {size:12.0f} | "
            f"{median / base:8.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
