"""The screen on a run of 10^7 steps and 24 layers: first frame, pan and zoom frames, memory of both processes.

    python -m tests.benchmarks.screen_scale [--steps 1e7] [--starts 7] [--frames 200]

In a pseudo-terminal of 240×72 cells, so that the dashboard shows every panel that the run has, and a sparkline for
each of the layers. Times are wall-clock, as somebody before the screen sees them; the first frame is the first with
curves. A frame of pan and zoom follows one key: "echo" is the time to its first byte (the axes moved, drawn from
what is known), "settled" to the last byte before 0.15 s of silence (the finer points have been read and drawn).
After each frame a loop of nothing but arithmetic runs, that takes as long as such a frame at its best when nobody
disturbs it: its spread is what the machine alone does to 11 ms of work, and no frame can have less.
"""

from __future__ import annotations

import argparse
import os
import random
import select
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

from tests.benchmarks.screen_start import BYTE_CODE, start
from tests.tui import scripted
from tests.tui.terminal import Terminal, watching
from thermotui.runlog.schema import STREAMS, row_dtype
from thermotui.runlog.writer import RunLogWriter

LAYERS, COLUMNS, LINES = 24, 240, 72
BLOCK = 1 << 14
STRIDES = {"steps": 1, "thermo": 100, "reservoir": 100}
SILENCE = 0.15
ALONE = 11e-3
"""Seconds of work of a frame on this project's machine, undisturbed."""
KEYS = "hhhllll++--"


def write_log(path: Path, steps: int) -> float:
    """A finished log of so many steps; returns seconds."""
    began = time.perf_counter()
    head = scripted.header("scale", layers=LAYERS, steps=steps, stride=100, reservoir_stride=100)
    generator = np.random.default_rng(0)
    with RunLogWriter.create(path, head) as writer:
        for stream, stride in STRIDES.items():
            for first in range(0, steps, BLOCK * stride):
                at = np.arange(first, min(first + BLOCK * stride, steps), stride)
                rows = np.zeros(at.size, row_dtype(STREAMS[stream], head))
                for field in rows.dtype.names or ():
                    if rows.dtype[field].base.kind == "f":
                        rows[field] = 1 + 0.1 * generator.standard_normal(rows[field].shape)
                rows["step"], rows["time"] = at, scripted.CREATED + at * 0.001
                writer.append_rows(stream, rows)
                # A training never waits for the disk: its rows are dropped once too many wait. This does wait.
                writer.flush()
        writer.heartbeat(steps - 1)
        assert writer.failure is None, writer.failure
    return time.perf_counter() - began


def frame(terminal: Terminal, key: str) -> tuple[float, float] | None:
    """Milliseconds from a key to the first byte and to the last before silence; None where nothing came."""
    began = time.perf_counter()
    terminal.press(key)
    first = last = None
    while select.select([terminal.descriptor], [], [], SILENCE)[0]:
        # Not through the emulator, whose own time would be counted.
        os.read(terminal.descriptor, 1 << 20)
        last = time.perf_counter()
        first = first or last
    return None if first is None or last is None else (1e3 * (first - began), 1e3 * (last - began))


def seconds_of(rounds: int) -> float:
    """Wall-clock seconds that so many rounds of arithmetic take."""
    began, total = time.perf_counter(), 0
    for value in range(rounds):
        total += value * value % 7
    return time.perf_counter() - began


def spread(values: list[float]) -> str:
    ordered = sorted(values)
    return f"median {statistics.median(ordered):6.1f} ms, 99th percentile {ordered[int(0.99 * len(ordered))]:6.1f} ms"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=float, default=1e7)
    parser.add_argument("--starts", type=int, default=7)
    parser.add_argument("--frames", type=int, default=200)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scale.h5"
        seconds = write_log(path, int(options.steps))
        print(f"processors {os.cpu_count()}, load {os.getloadavg()[0]:.1f}")
        print(f"log: {options.steps:.0e} steps, {LAYERS} layers, {path.stat().st_size / 1e6:.0f} MB in {seconds:.0f} s")
        start(path, COLUMNS, LINES)  # the first after a change compiles what changed
        starts = [start(path, COLUMNS, LINES).curves for _ in range(options.starts)]
        print(f"first frame: median {statistics.median(starts):.2f} s, fastest {min(starts):.2f} s")
        with watching(str(path), "--fresh", columns=COLUMNS, lines=LINES, **BYTE_CODE) as terminal:
            terminal.wait_for("dashboard")
            terminal.read(3)
            chance = random.Random(0)
            rounds = int(100_000 * ALONE / min(seconds_of(100_000) for _ in range(100)))
            frames, loops = [], []
            for _ in range(options.frames):
                frames.append(frame(terminal, chance.choice(KEYS)))
                loops.append(1e3 * seconds_of(rounds))
            drawn = [each for each in frames if each is not None]
            screen = psutil.Process(terminal.pid)
            memory = [screen.memory_info().rss / 1e6, *(each.memory_info().rss / 1e6 for each in screen.children())]
            terminal.press("q")
            terminal.wait_for_end()
        print(f"pan and zoom, {len(drawn)} of {len(frames)} keys changed something")
        print(f"  echo:    {spread([echo for echo, _ in drawn])}")
        print(f"  settled: {spread([settled for _, settled in drawn])}")
        print(f"  a loop of {1e3 * ALONE:.0f} ms: {spread(loops)}")
        print(f"memory: screen {memory[0]:.0f} MB, reader {sum(memory[1:]):.0f} MB")


if __name__ == "__main__":
    main()
