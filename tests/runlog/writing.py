"""A training run in a process of its own, for the tests that watch, stop, kill and resume it.

Usage: python writing.py PATH RATE — logs rows whose every value is a function of the step, RATE rows between flushes,
and says on standard output how many rows are flushed.
"""

from __future__ import annotations

import itertools
import sys
import time
from pathlib import Path

import numpy as np

from thermotui.runlog.schema import Header, Layer
from thermotui.runlog.writer import RunLogWriter


def loss_at(step: np.ndarray | int) -> np.ndarray:
    """The loss logged at a step: a value that no other step has."""
    return np.float32(1.0) + np.float32(step)


def main(path: Path, rate: int) -> None:
    layers = (Layer("first", 10), Layer("second", 20))
    header = Header("child", time.time(), "softmax", layers, ensemble=2, steps=10**9)
    with RunLogWriter.create(path, header) as writer:
        print("created", flush=True)
        for start in itertools.count(0, rate):
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
