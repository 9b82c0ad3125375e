"""Whole watchers, each following 24 live series in a file of its own format: bytes a second to the terminal, processor.

    python -m tests.benchmarks.peers_over_the_line [--python PEERS/bin/python] [--seconds 30] [--only NAME]

The peers are those of `--python`, an environment with terminalboard (which needs plotext below 6), tlog-ml, wandb and
tensorboard; those that it lacks are left out, and said so. Every watcher has a terminal of 240 × 72 cells that shows
all series at once. The file holds 2,000 steps and gets 20 more a second, every series a value at each. The watchers are
told to look once or ten times a second; LEET looks whenever the file changes and has no such setting. What comes out
after a warm-up is counted, and the processor time of the watcher with its children.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing as mp
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.synchronize import Event
from pathlib import Path

import psutil

from tests.benchmarks.bytes_over_the_line import drain
from tests.benchmarks.peer_loggers import LOGGERS
from tests.tui import scripted
from tests.tui.terminal import running
from thermotui.analysis.panels import PANELS

SERIES, COLUMNS, LINES = 24, 240, 72
HISTORY, RATE = 2000, 20.0
WARM_UP = 15.0
CURVES = sum(len(panel.lines) for panel in PANELS)
"""Curves of the dashboard beside the temperatures, of which there is one a layer."""


def ours(_python: Path, folder: Path, hz: float) -> list[str]:
    return [sys.executable, "-m", "thermotui", "watch", str(folder), "--fresh", "--interval", str(1 / hz)]


def terminalboard(python: Path, folder: Path, hz: float) -> list[str]:
    return [str(python.with_name("terminalboard")), str(folder), "--grid", "6x4", "--interval", str(1 / hz)]


def tlog(python: Path, folder: Path, hz: float) -> list[str]:
    return [str(python.with_name("tlog")), "watch", "--dir", str(folder), "--interval", str(1 / hz), "--cols", "4"]


def leet(python: Path, folder: Path, hz: float) -> list[str]:
    """Six by four charts and nothing beside them, so that it shows as many as the others."""
    settings = {
        "metrics_grid": {"rows": 6, "cols": 4},
        "left_sidebar_visible": False,
        "right_sidebar_visible": False,
        "heartbeat_interval_seconds": 1,
    }
    (folder / "wandb-leet.json").write_text(json.dumps(settings), encoding="utf-8")
    (run,) = folder.glob("wandb/offline-run-*/")
    return [str(python.with_name("wandb")), "leet", "run", str(run)]


WATCHERS: dict[str, Callable[[Path, Path, float], list[str]]] = {
    "ours": ours,
    "terminalboard": terminalboard,
    "tlog": tlog,
    "leet": leet,
}


COMMANDS = {"terminalboard": "terminalboard", "tlog": "tlog", "leet": "wandb"}


def write_ours(folder: Path, ready: Event) -> None:
    """The same rate of steps; every stream of a run, in as many layers as make up the number of series."""
    layers = max(1, SERIES - CURVES)
    writer = scripted.live_log(folder / "live.h5", rows=HISTORY, layers=layers, steps=100_000)
    ready.set()
    began, step = time.monotonic(), HISTORY
    while True:
        scripted.write_rows(writer, step, step + 1, start_time=time.time() - step * 0.01)
        writer.heartbeat(step)
        step += 1
        time.sleep(max(0.0, began + (step - HISTORY) / RATE - time.monotonic()))


@contextmanager
def written(name: str, python: Path, folder: Path) -> Iterator[None]:
    """A live file in `folder`, its history written."""
    if name == "ours":
        context = mp.get_context("spawn")
        ready = context.Event()
        writer = context.Process(target=write_ours, args=(folder, ready))
        writer.start()
        ready.wait()
        try:
            yield
        finally:
            writer.kill()
            writer.join()
        return
    script = str(Path(__file__).with_name("peer_loggers.py"))
    options = ["--series", str(SERIES), "--history", str(HISTORY), "--rate", str(RATE)]
    environment = os.environ | {"WANDB_SILENT": "true", "PYTHONPATH": ""}
    with subprocess.Popen(
        [str(python), script, name, str(folder), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
        text=True,
        start_new_session=True,
    ) as logger:
        assert logger.stdout is not None
        for line in logger.stdout:
            if line.strip() == "ready":
                break
        try:
            yield
        finally:
            os.killpg(logger.pid, signal.SIGKILL)


def processor_seconds(pid: int) -> float:
    """Of a process and its living children."""
    process = psutil.Process(pid)
    times = [each.cpu_times() for each in (process, *process.children(recursive=True))]
    return sum(each.user + each.system for each in times)


def measure(name: str, python: Path, hz: float, seconds: float) -> tuple[float, float]:
    """Bytes a second, and the share of one processor."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
        folder = Path(place)
        environment = {"COLORTERM": "truecolor", "WANDB_CONFIG_DIR": place, "XDG_STATE_HOME": place, "HOME": place}
        with (
            written(name, python, folder),
            running(WATCHERS[name](python, folder, hz), columns=COLUMNS, lines=LINES, **environment) as terminal,
        ):
            drain(terminal.descriptor, WARM_UP)
            before, began = processor_seconds(terminal.pid), time.monotonic()
            count = drain(terminal.descriptor, seconds)
            passed = time.monotonic() - began
            return count / passed, (processor_seconds(terminal.pid) - before) / passed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", type=Path, default=Path(sys.executable))
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--only", choices=WATCHERS, default=None)
    options = parser.parse_args()
    print(f"processors {os.cpu_count()}, load {os.getloadavg()[0]:.1f}")
    print(f"{SERIES} live series on {COLUMNS} × {LINES} cells, {RATE:.0f} steps a second, {options.seconds:.0f} s")
    print(f"{'watcher':16}{'1 Hz':>12}{'processor':>12}{'10 Hz':>12}{'processor':>12}")
    for name in WATCHERS if options.only is None else [options.only]:
        if name in LOGGERS and not options.python.with_name(COMMANDS[name]).exists():
            print(f"{name:16}{'not installed':>24}")
            continue
        rates = (1.0,) if name == "leet" else (1.0, 10.0)
        cells = [measure(name, options.python, hz, options.seconds) for hz in rates]
        print(f"{name:16}" + "".join(f"{sent:12,.0f}{share:12.1%}" for sent, share in cells), flush=True)


if __name__ == "__main__":
    main()
