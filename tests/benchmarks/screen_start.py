"""From the command to the screen and to its curves: seconds, and processor time of the screen and of the reader.

    python -m tests.benchmarks.screen_start [PATH] [--starts 9] [--columns 160] [--lines 48]

Each start is a process of its own in a pseudo-terminal, on a finished log (sample_runs' by default), with byte code on
the disk as an installation has it. Times are those at which the bytes arrived; an emulator is fed with them afterwards,
so that its own time is not counted.
"""

from __future__ import annotations

import argparse
import os
import select
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.tui.terminal import Terminal, watching

SAMPLE = Path(__file__).parents[2] / "sample_runs" / "softmax-batch-10.h5"
SILENCE = 0.5
BYTE_CODE = {"PYTHONDONTWRITEBYTECODE": ""}
"""Without it on the disk, as where that variable is set, every start would compile all of our modules."""


@dataclass(frozen=True)
class Start:
    """Seconds from the command: to the status line, to the first curve; processor seconds until all was drawn."""

    screen: float
    curves: float
    screen_processor: float
    reader_processor: float


def has_curves(text: str) -> bool:
    return any("⠀" < character <= "⣿" for character in text)


def processor_seconds(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def arrivals(terminal: Terminal, began: float) -> list[tuple[float, bytes]]:
    """What came until silence after something had come, each piece with the seconds since `began`."""
    pieces: list[tuple[float, bytes]] = []
    while select.select([terminal.descriptor], [], [], SILENCE if pieces else 10)[0]:
        data = os.read(terminal.descriptor, 1 << 20)
        pieces.append((time.perf_counter() - began, data))
    return pieces


def first_seen(terminal: Terminal, pieces: list[tuple[float, bytes]], *seen: Callable[[str], bool]) -> list[float]:
    """For each condition the arrival of the piece after which it holds for what stands on the screen."""
    found: list[float | None] = [None] * len(seen)
    for at, data in pieces:
        terminal.feed(data)
        text = terminal.text
        found = [at if when is None and holds(text) else when for when, holds in zip(found, seen, strict=True)]
    missing = [when for when in found if when is not None]
    assert len(missing) == len(seen), f"never on the screen:\n{terminal.text}"
    return missing


def start(path: Path, columns: int, lines: int) -> Start:
    """One start of the screen on a log."""
    began = time.perf_counter()
    with watching(str(path), "--fresh", columns=columns, lines=lines, **BYTE_CODE) as terminal:
        pieces = arrivals(terminal, began)
        readers = psutil.Process(terminal.pid).children()
        used = processor_seconds(terminal.pid), sum(processor_seconds(reader.pid) for reader in readers)
        screen, curves = first_seen(terminal, pieces, lambda text: "dashboard" in text, has_curves)
        terminal.press("q")
        terminal.wait_for_end()
    return Start(screen, curves, *used)


def row(name: str, values: list[float]) -> str:
    return f"{name:32}{statistics.median(values):10.3f} s{min(values):10.3f} s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path", nargs="?", type=Path, default=SAMPLE)
    parser.add_argument("--starts", type=int, default=9)
    parser.add_argument("--columns", type=int, default=160)
    parser.add_argument("--lines", type=int, default=48)
    options = parser.parse_args()
    start(options.path, options.columns, options.lines)  # the first after a change compiles what changed
    starts = [start(options.path, options.columns, options.lines) for _ in range(options.starts)]
    print(f"processors {os.cpu_count()}, load {os.getloadavg()[0]:.1f}; {options.starts} starts on {options.path.name}")
    print(f"{'':32}{'median':>12}{'fastest':>12}")
    print(row("screen up", [each.screen for each in starts]))
    print(row("curves", [each.curves for each in starts]))
    print(row("processor time of the screen", [each.screen_processor for each in starts]))
    print(row("processor time of the reader", [each.reader_processor for each in starts]))


if __name__ == "__main__":
    main()
