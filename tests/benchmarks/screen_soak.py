"""The screen over twenty live runs under random keys, clicks and sizes: memory, faults, latency from flush to screen.

    python -m tests.benchmarks.screen_soak --minutes 60

One process writes all runs, another is `watch` in a pseudo-terminal; memory is the resident set of the screen and of
the process that reads for it. A tour through every view and every dialog in every size comes first, so that what grows
after five minutes is nothing that is shown for the first time. The latency is that of the run in the header: from a
flush until its last step stands there, while the header is in sight and the screen is not paused.

`--pace 12` presses as much in ten minutes as is pressed in an hour at one a second, with a rest now and then, in which
what waits for a quiet moment is done.
"""

from __future__ import annotations

import argparse
import fcntl
import math
import multiprocessing as mp
import os
import random
import re
import statistics
import struct
import tempfile
import termios
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from pathlib import Path

import psutil

from tests.tui import scripted
from tests.tui.terminal import Terminal, watching
from thermotui.tui.actions import ACTIONS, BY_NAME, SYMBOLS, VIEWS

SETTLED_MINUTES = 5.0
STEPS_A_FLUSH = 2
"""In an hour fewer than 10,000 steps, which the header still tells in full."""
SIZES = [(80, 24), (160, 48), (10, 3), (300, 100), (41, 11), (120, 36), (160, 48)]
REST_EVERY, REST_SECONDS = 60, 5.0
"""Keys between two rests, and how long they are, where keys come faster than one a second."""
SEQUENCES = {
    "up": "\x1b[A", "down": "\x1b[B", "right": "\x1b[C", "left": "\x1b[D", "tab": "\t", "shift+tab": "\x1b[Z",
    "escape": "\x1b", "space": " ", "f1": "\x1bOP",
}  # fmt: skip
DIALOGS = ("help", "commands", "choose_panels", "filter_runs")
KEYS = [key for action in ACTIONS for key in action.keys if action.name not in ("quit", "commands")]
RUN_IN_HEADER = re.compile(r"^ ?(live-\d\d)\b.*\brunning ([\d,]+)")
FAULTS = ("Traceback", "unreadable", "took too long", "ended with status")


def write_runs(folder: Path, runs: int, stop: Event, flushed: Connection) -> None:
    """Twenty runs that flush about once a second, and now and then raise or end an alert."""
    writers = [scripted.live_log(folder / f"live-{index:02d}.h5", rows=200, steps=100_000) for index in range(runs)]
    steps, turn = [200] * runs, 0
    flushed.send(("", 0, 0.0))
    began = time.time()
    while not stop.is_set():
        index = turn % runs
        writer, step = writers[index], steps[index]
        scripted.write_rows(writer, step, step + STEPS_A_FLUSH, start_time=time.time() - step * 0.01)
        if step % 3000 < STEPS_A_FLUSH:
            scripted.write_alert(writer, "loss_spike", -1, step, step + 5)
        steps[index] += STEPS_A_FLUSH
        writer.heartbeat(steps[index] - 1)
        writer.flush()
        flushed.send((f"live-{index:02d}", steps[index] - 1, time.time()))
        turn += 1
        stop.wait(max(0.0, began + turn / runs - time.time()))
    for writer in writers:
        writer.close()


@dataclass
class Latencies:
    """Flushes of the run in the header that are not yet seen, and how long the others took, in seconds."""

    run: str = ""
    step: int = -1
    waiting: list[tuple[int, float]] = field(default_factory=list)
    taken: list[float] = field(default_factory=list)

    def flush(self, run: str, step: int, when: float) -> None:
        if run == self.run:
            self.waiting.append((step, when))

    def look(self, text: str) -> None:
        lines = text.split("\n")
        found = RUN_IN_HEADER.match(lines[0])
        if found is None or "paused" in lines[-1]:
            self.run, self.waiting = "", []
            return
        run, self.step = found[1], int(found[2].replace(",", ""))
        if run != self.run:
            self.run, self.waiting = run, []
        now = time.time()
        self.taken += [now - when for step, when in self.waiting if step <= self.step]
        self.waiting = [(step, when) for step, when in self.waiting if step > self.step]


def resize(terminal: Terminal, columns: int, lines: int) -> None:
    fcntl.ioctl(terminal.descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    terminal.columns, terminal.lines = columns, lines
    terminal.emulator.resize(lines, columns)


def tour() -> Iterator[tuple[int, int] | str]:
    """Every size, and in each the key of every view, and of every dialog with the escape out of it."""
    for size in sorted(set(SIZES)):
        yield size
        yield from (BY_NAME[f"view_{view}"].keys[0] for view in VIEWS)
        for name in DIALOGS:
            key = BY_NAME[name].keys[0]
            yield SYMBOLS.get(key, key)
            yield SEQUENCES["escape"]


def something(chance: random.Random, terminal: Terminal) -> None:
    """One random thing that somebody at the terminal may do."""
    kind = chance.random()
    if kind < 0.04:
        resize(terminal, *chance.choice(SIZES))
    elif kind < 0.12:
        x, y = chance.randint(1, terminal.columns), chance.randint(1, terminal.lines)
        to_x, to_y = chance.randint(1, terminal.columns), chance.randint(1, terminal.lines)
        terminal.press(
            chance.choice(
                [
                    f"\x1b[<0;{x};{y}M\x1b[<0;{x};{y}m",
                    f"\x1b[<0;{x};{y}M\x1b[<32;{to_x};{to_y}M\x1b[<0;{to_x};{to_y}m",
                    f"\x1b[<64;{x};{y}M",
                    f"\x1b[<65;{x};{y}M",
                ]
            )
        )
    elif kind < 0.14:
        terminal.press(":")
        terminal.read(0.5)
        terminal.press("heat")
        terminal.read(0.3)
        terminal.press("\x1b")
    elif kind < 0.16:
        terminal.press("\r")
    else:
        key = chance.choice(KEYS)
        terminal.press(SEQUENCES.get(key, SYMBOLS.get(key, key)))


def memory(terminal: Terminal) -> tuple[float, float]:
    """Resident sets of the screen and of its reading process, in MB."""
    screen = psutil.Process(terminal.pid)
    readers = [child.memory_info().rss for child in screen.children(recursive=True)]
    return screen.memory_info().rss / 1e6, sum(readers) / 1e6


def soak(folder: Path, minutes: float, interval: float, pace: float, seed: int, flushed: Connection) -> None:
    chance = random.Random(seed)
    latencies, faults, measured = Latencies(), set[str](), list[tuple[float, float]]()
    with watching(str(folder), "--fresh", "--interval", str(interval), columns=160, lines=48) as terminal:
        terminal.wait_for("running", seconds=60)
        began, presses, told, next_press = time.time(), 0, 0.0, 0.0
        settled: tuple[float, float] | None = None
        stations = tour()
        while (passed := time.time() - began) < 60 * minutes:
            if passed >= next_press:
                station = next(stations, None)
                if station is None:
                    something(chance, terminal)
                elif isinstance(station, str):
                    terminal.press(station)
                else:
                    resize(terminal, *station)
                presses += 1
                rests = pace > 1.0 and presses % REST_EVERY == 0
                next_press = passed + (REST_SECONDS if rests else chance.expovariate(pace) if station is None else 1.0)
            terminal.read(0.05)
            terminal.raw.clear()
            while flushed.poll():
                latencies.flush(*flushed.recv())
            text = terminal.text
            latencies.look(text)
            faults |= {line.strip() for line in text.split("\n") if any(fault in line for fault in FAULTS)}
            if passed >= told:
                told += 60
                measured.append(memory(terminal))
                processor = psutil.Process(terminal.pid).cpu_times()
                print(
                    f"{passed / 60:5.1f} min  screen {measured[-1][0]:6.1f} MB  reader {measured[-1][1]:6.1f} MB  "
                    f"{presses:5d} keys  screen's processor {(processor.user + processor.system) / (passed + 1):6.1%}  "
                    f"faults {len(faults)}",
                    flush=True,
                )
            if settled is None and passed >= 60 * SETTLED_MINUTES:
                settled = memory(terminal)
        end = memory(terminal)
        for keys in ("\x1b", "\x1b", "\x1b", "\x1b", "q"):
            terminal.press(keys)
            terminal.read(0.5)
        status = terminal.wait_for_end()
    taken = sorted(latencies.taken)
    for name, number in (("screen", 0), ("reader", 1)):
        start = (settled or measured[0])[number]
        print(f"{name}: {start:.2f} MB after {min(SETTLED_MINUTES, minutes):.0f} min, {end[number]:.2f} MB at the end, "
              f"growth {end[number] - start:+.2f} MB")  # fmt: skip
    print(f"keys, clicks, sizes: {presses}; exit status {status}; faults: {len(faults)}")
    for fault in sorted(faults):
        print(f"    {fault}")
    if taken:
        late = taken[math.ceil(0.95 * len(taken)) - 1]
        print(f"flush to screen, a look every {interval} s: median {statistics.median(taken):.3f} s, "
              f"95 % within {late:.3f} s, longest {taken[-1]:.3f} s ({len(taken)} flushes)")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--interval", type=float, default=1.0, help="seconds between two looks at the logs")
    parser.add_argument("--pace", type=float, default=1.0, help="keys, clicks and sizes a second after the tour")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    context = mp.get_context("spawn")
    stop, (receiving, sending) = context.Event(), context.Pipe(duplex=False)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "runs"
        folder.mkdir()
        os.environ["XDG_STATE_HOME"], os.environ["XDG_CONFIG_HOME"] = f"{name}/state", f"{name}/config"
        writing = context.Process(target=write_runs, args=(folder, arguments.runs, stop, sending))
        writing.start()
        try:
            receiving.recv()
            print(
                f"processors: {os.cpu_count()}, load: {os.getloadavg()[0]:.1f}, {arguments.runs} live runs", flush=True
            )
            # What `s` saves lies beside the runs, and goes with them.
            os.chdir(name)
            soak(folder, arguments.minutes, arguments.interval, arguments.pace, arguments.seed, receiving)
        finally:
            stop.set()
            writing.join(30)


if __name__ == "__main__":
    main()
