"""A long run of 24 series in W&B's LEET and here: until all is on the screen, zoom and pan, memory.

    python -m tests.benchmarks.peers_at_scale [--python PEERS/bin/python] [--steps 1e5] [--ours 1e7] [--frames 100]

Each in a terminal of 240 × 72 cells that shows all series at once, on a finished run: LEET on an offline run of
`--steps` steps that W&B itself writes (`--python`: an environment with wandb), `thermotui watch` on a log of as many
and on one of `--ours`, each of 24 layers with the other panels beside them. "first curves" is the first frame with any,
"all loaded" the last byte before silence; both from the command. A key's time is that to its first byte and to its last
before silence, as in `screen_scale`. What LEET has: the mouse wheel zooms the chart under it, and that one alone; arrow
keys move the focus from chart to chart; it cannot pan.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import psutil

from tests.benchmarks.peers_over_the_line import COLUMNS, LINES, SERIES, leet, processor_seconds
from tests.benchmarks.screen_scale import KEYS, frame, spread, write_log
from tests.benchmarks.screen_start import BYTE_CODE, first_seen, has_curves
from tests.tui.terminal import Terminal, running

LOADED_SILENCE = 3.0
"""Seconds without a byte after which all is taken to be loaded: LEET shows a long run piece by piece."""
PATIENCE = 300.0
WHEEL = {True: "\x1b[<64;30;5M", False: "\x1b[<65;30;5M"}
"""The mouse wheel over the first chart, up and down, as a terminal reports it."""
ARROWS = ("\x1b[C", "\x1b[D")


def make_run(python: Path, folder: Path, steps: int) -> None:
    """An offline run of W&B with so many steps, finished."""
    script = str(Path(__file__).with_name("peer_loggers.py"))
    options = ["--series", str(SERIES), "--history", str(steps), "--rate", "0"]
    environment = os.environ | {"WANDB_SILENT": "true", "PYTHONPATH": ""}
    subprocess.run(
        [str(python), script, "leet", str(folder), *options], check=True, env=environment, stdout=subprocess.DEVNULL
    )


def memory(pid: int) -> float:
    """Resident MB of a process and its children."""
    process = psutil.Process(pid)
    return sum(each.memory_info().rss for each in (process, *process.children(recursive=True))) / 1e6


def loading(terminal: Terminal, began: float) -> list[tuple[float, bytes]]:
    """What comes until silence, each piece with the seconds since `began`; not through the emulator."""
    pieces: list[tuple[float, bytes]] = []
    while select.select([terminal.descriptor], [], [], LOADED_SILENCE if pieces else PATIENCE)[0]:
        pieces.append((time.perf_counter() - began, os.read(terminal.descriptor, 1 << 20)))
        assert pieces[-1][0] < PATIENCE, "never silent"
    return pieces


def watched(
    name: str, command: list[str], moves: dict[str, Callable[[], str]], frames: int, environment: dict[str, str]
) -> Iterable[str]:
    """The lines of the table about one watcher. moves: what each kind of key sends."""
    began = time.perf_counter()
    with running(command, columns=COLUMNS, lines=LINES, **environment) as terminal:
        pieces = loading(terminal, began)
        used, loaded = processor_seconds(terminal.pid), memory(terminal.pid)
        (first,) = first_seen(terminal, pieces, has_curves)
        yield f"{name}: first curves {first:.2f} s, all loaded {pieces[-1][0]:.2f} s, {used:.1f} s of processor"
        yield f"  {loaded:.0f} MB"
        for move, key in moves.items():
            found = [frame(terminal, key()) for _ in range(frames)]
            drawn = [each for each in found if each is not None]
            yield f"  {move}: {len(drawn)} of {frames} changed something"
            if drawn:
                yield f"    first byte: {spread([echo for echo, _ in drawn])}"
                yield f"    last byte:  {spread([settled for _, settled in drawn])}"
        yield f"  afterwards {memory(terminal.pid):.0f} MB"


def ours(path: Path, frames: int) -> Iterable[str]:
    chance = random.Random(0)
    command = [sys.executable, "-m", "thermotui", "watch", str(path), "--fresh"]
    return watched("ours", command, {"zoom and pan, all charts": lambda: chance.choice(KEYS)}, frames, BYTE_CODE)


def theirs(python: Path, folder: Path, frames: int) -> Iterable[str]:
    """A few notches of the wheel in, and out again."""
    wheel = itertools.cycle([WHEEL[True]] * 4 + [WHEEL[False]] * 4)
    arrows = itertools.cycle(ARROWS)
    moves = {"zoom, one chart": lambda: next(wheel), "focus to the next chart": lambda: next(arrows)}
    environment = {"COLORTERM": "truecolor", "WANDB_CONFIG_DIR": str(folder), "HOME": str(folder), "PYTHONPATH": ""}
    return watched("LEET", leet(python, folder, 1.0), moves, frames, environment)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", type=Path, default=Path(sys.executable))
    parser.add_argument("--steps", type=float, default=1e5)
    parser.add_argument("--ours", type=float, default=1e7)
    parser.add_argument("--frames", type=int, default=100)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
        folder = Path(place)
        logs = {steps: folder / f"{steps:.0e}.h5" for steps in dict.fromkeys((int(options.steps), int(options.ours)))}
        for steps, path in logs.items():
            write_log(path, steps)
        has_leet = options.python.with_name("wandb").exists()
        if has_leet:
            make_run(options.python, folder, int(options.steps))
        print(f"processors {os.cpu_count()}, load {os.getloadavg()[0]:.1f}")
        for steps, path in logs.items():
            print(f"{steps:.0e} steps", *ours(path, options.frames), sep="\n", flush=True)
        if has_leet:
            print(f"{options.steps:.0e} steps", *theirs(options.python, folder, options.frames), sep="\n", flush=True)
        else:
            print("LEET: not installed")


if __name__ == "__main__":
    main()
