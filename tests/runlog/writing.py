"""A training run in a process of its own, for the tests that watch, stop, kill and resume it.

Usage: python writing.py PATH RATE — logs rows whose every value is a function of the step, RATE rows between flushes,
and says on standard output how many rows are flushed. Continues the log at PATH, two thirds of its steps kept, where
there is one.
"""

from __future__ import annotations

import itertools
import sys
import time
from pathlib import Path

import numpy as np

from thermotui.runlog.reader import RunLogReader
from thermotui.runlog.schema import Header, Layer
from thermotui.runlog.writer import RunLogWriter


def loss_at(step: np.ndarray | int) -> np.ndarray:
    """The loss logged at a step: a value that no other step has."""
    return np.float32(1.0) + np.float32(step)


def begin(path: Path) -> tuple[RunLogWriter, int]:
    """A writer and the step that comes next."""
    if not path.exists():
        layers = (Layer("first", 10), Layer("second", 20))
        header = Header("child", time.time(), "softmax", layers, ensemble=2, steps=10**9)
        return RunLogWriter.create(path, header), 0
    with RunLogReader(path) as reader:
        step = 2 * reader.length("steps") // 3
    return RunLogWriter.resume(path, step - 1), step


def main(path: Path, rate: int) -> None:
    writer, first = begin(path)
    with writer:
        print("created", flush=True)
        for start in itertools.count(first, rate):
            for step in range(start, start + rate):
                writer.append("steps", step=step, time=time.time(), loss=loss_at(step), accuracy=-loss_at(step))
                if step % 8 == 0:
                    writer.append("reservoir", step=step, temperature=np.float32([step, -step]))
            writer.heartbeat(step)
            writer.flush()
            print(start + rate, flush=True)
            time.sleep(0.002)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
