"""Time to draw: one chart of 10^4 to 10^7 raw points, ours and peers'; and a pan of 24 linked panels on a terminal.

    python tests/benchmarks/chart_rendering.py

Points become a picture of 120 × 20 cells; peers that are not installed are left out, and said so. The pan is measured
in a process of its own on a pseudo-terminal of 240 × 72 cells: processor time from the key to the last byte written.
"""

from __future__ import annotations

import argparse
import fcntl
import importlib.util
import os
import pty
import select
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from textual.app import App, ComposeResult
from textual.containers import Grid
from textual.driver import Driver
from textual.renderables.sparkline import Sparkline

from thermotui.tui.charts.chart import Chart
from thermotui.tui.charts.model import ChartData, SeriesData, raw_series
from thermotui.tui.charts.render import columns_of, draw, layout, value_range
from thermotui.tui.charts.scales import sticky_axis
from thermotui.tui.charts.view import StepView
from thermotui.tui.thin_driver import thin_driver

WIDTH, HEIGHT = 120, 20
PANELS, PANS = 24, 150


def ours(series: SeriesData) -> None:
    data, place = ChartData("loss", "nats", (series,)), layout(WIDTH, HEIGHT)
    x_range = 0.0, float(series.x.size)
    columns = columns_of(data, x_range, place.cells, "braille")
    low, high, smallest = value_range(columns)
    draw(data, columns, place, sticky_axis(None, low, high, "linear", smallest), x_range)


def textual_sparkline(values: list[float]) -> None:
    console = Console(width=WIDTH)
    console.render_lines(Sparkline(values, width=WIDTH), console.options.update_width(WIDTH))


def plotext(values: list[float]) -> None:
    import plotext as module

    module.clear_figure()
    module.plot_size(WIDTH, HEIGHT)
    module.plot(values, marker="braille")
    module.build()


def milliseconds(function: Callable[[Any], None], points: Any, repeats: int) -> float:
    """The median of a few runs; the points are there before, in the form that each takes them."""
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        function(points)
        times.append(time.perf_counter() - begin)
    return statistics.median(times) * 1e3


def noise(size: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=size)


class Panning(App[None]):
    """24 linked panels of 512 overview points, panned PANS times; the processor time of each goes to a file."""

    CSS = "Grid { grid-size: 4 6; grid-gutter: 0 1; }"

    def __init__(self, target: Path) -> None:
        super().__init__()
        self.target, self.steps = target, StepView()
        self.times: list[float] = []
        generator = np.random.default_rng(0)
        x = np.arange(0, 10_000_000, 16384.0)
        mean = np.cumsum(generator.normal(size=x.size))
        self.series = SeriesData("loss", x, mean - 1, mean + 1, mean, mean - 0.3, mean + 0.3)

    def get_driver_class(self) -> type[Driver]:
        return thin_driver(super().get_driver_class(), lambda: self.size)

    def compose(self) -> ComposeResult:
        with Grid():
            for index in range(PANELS):
                yield Chart(ChartData(f"loss {index}", "nats", (self.series,)), view=self.steps)

    def on_mount(self) -> None:
        self.set_timer(2.0, lambda: self.set_interval(0.1, self.pan))

    def pan(self) -> None:
        now = time.process_time()
        self.times.append(now)
        if len(self.times) > PANS:
            self.target.write_text(" ".join(str(after - before) for before, after in pairwise(self.times)))
            self.exit()
            return
        start = 2e6 + 2e4 * len(self.times)
        self.steps.show((start, start + 3e6))


def pan_times(scratch: Path) -> list[float]:
    """Processor seconds of each pan."""
    primary, secondary = pty.openpty()
    fcntl.ioctl(secondary, termios.TIOCSWINSZ, struct.pack("HHHH", 72, 240, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", "COLUMNS": "", "LINES": ""}
    command = [sys.executable, str(Path(__file__).resolve()), "--child", str(scratch)]
    child = subprocess.Popen(
        command, stdin=secondary, stdout=secondary, stderr=secondary, env=environment, start_new_session=True
    )
    os.close(secondary)
    end = time.monotonic() + 90
    try:
        while child.poll() is None and time.monotonic() < end:
            if select.select([primary], [], [], 0.5)[0]:
                os.read(primary, 1 << 16)
    except OSError:
        pass  # the terminal closes with the child
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        os.close(primary)
    return [float(text) for text in scratch.read_text().split()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--child", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        Panning(Path(options.child)).run()
        return
    sizes = (10_000, 100_000, 1_000_000, 10_000_000)
    print(f"{'milliseconds to draw':24}" + "".join(f"{size:>14,}" for size in sizes))
    times = [milliseconds(ours, raw_series("loss", np.arange(size), noise(size)), 15) for size in sizes]
    print(f"{'ours':24}" + "".join(f"{value:14.2f}" for value in times))
    for name, function, module in (
        ("Textual Sparkline", textual_sparkline, "textual"),
        ("plotext", plotext, "plotext"),
    ):
        if importlib.util.find_spec(module) is None:
            print(f"{name:24}{'not installed':>14}")
            continue
        row = "".join(f"{milliseconds(function, noise(size).tolist(), 1):14.1f}" for size in sizes[:3])
        print(f"{name:24}{row}{'—':>14}")
    with tempfile.TemporaryDirectory() as folder:
        pans = sorted(1e3 * seconds for seconds in pan_times(Path(folder) / "times"))
    print(
        f"pan of {PANELS} panels, processor ms: median {statistics.median(pans):.1f}, "
        f"99th percentile {pans[int(0.99 * len(pans))]:.1f}"
    )


if __name__ == "__main__":
    main()
