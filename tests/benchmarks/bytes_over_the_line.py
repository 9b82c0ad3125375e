"""Bytes a second that 24 live panels send to a terminal, at 1 Hz and at 10 Hz, ours and peers', in one table.

    python tests/benchmarks/bytes_over_the_line.py [--seconds 20] [--only NAME]

Each program runs on a pseudo-terminal of 240 × 72 cells and gets 1,000 new steps a second of the same data: a noisy,
falling loss in one half of the panels, and running work and heat with error bands in the other. The run is ten minutes
old; younger ones fill a new column of every panel at every tick and outgrow their axes: 10 and 50 seconds, each as a
run that is planned to take ten minutes and as one of which that is not known, and 30 and 60 seconds as the latter.
Our panels take turns as those of `thermotui watch` do. What comes out after a warm-up is counted. Peers that are not
installed are left out, and said so. "reached" is how many ticks a second the program got done; bytes are those of a
tick times the rate it should have reached.
"""

from __future__ import annotations

import argparse
import fcntl
import importlib.util
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from abc import abstractmethod
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from textual.app import App, ComposeResult
from textual.containers import Grid
from textual.driver import Driver
from textual.widget import Widget
from textual.widgets import Sparkline, Static

from thermotui.tui.charts.chart import Chart
from thermotui.tui.charts.model import ChartData, RowValue, SeriesData
from thermotui.tui.charts.turns import Turns, update_charts
from thermotui.tui.thin_driver import CellPainter, thin_driver

PANELS, COLUMNS, ROWS = 24, 240, 72
RATE = 1000
OLD, YOUNG, NEW = 600_000, 50_000, 10_000
PLANNED = 600_000
BUCKETS = 960
"""What `thermotui watch` asks for on a terminal of that width."""
WARM_UP = 5.0


class Run:
    """A run that learns at RATE steps a second, and its overview in power-of-two buckets as the log gives it."""

    def __init__(self, length: int) -> None:
        generator = np.random.default_rng(1)
        step = np.arange(length)
        self.loss = 2.3 * np.exp(-step / 3e4) + 0.1 + 0.03 * generator.normal(size=length)
        self.work = np.cumsum(np.abs(generator.normal(1e-3, 2e-4, size=length)))
        self.heat = -self.work - np.cumsum(generator.normal(2e-4, 1e-4, size=length))
        self.error = 0.02 + 1e-4 * np.sqrt(step)

    def series(self, name: str, values: np.ndarray, count: int, role: str, error: np.ndarray | None) -> SeriesData:
        width = 2 ** int(np.ceil(np.log2(max(count / BUCKETS, 1))))
        starts = np.arange(0, count, width)
        low, high = (extreme.reduceat(values[:count], starts) for extreme in (np.minimum, np.maximum))
        mean = np.add.reduceat(values[:count], starts) / np.diff(np.append(starts, count))
        band = None if error is None else error[starts]
        return SeriesData(
            name,
            starts.astype(float),
            low,
            high,
            mean,
            None if band is None else mean - band,
            None if band is None else mean + band,
            role,
            row=RowValue(float(values[count - 1]), None if error is None else float(error[count - 1])),
        )

    def chart(self, panel: int, count: int) -> ChartData:
        return replace(self._content(panel % 2 == 1, count), title=f"panel {panel}")

    @lru_cache(4)  # noqa: B019 — one run lives as long as its process
    def _content(self, losses: bool, count: int) -> ChartData:
        """Panels share their data, so that the clock measures drawing and not the making of data."""
        if losses:
            return ChartData("", "nats", (self.series("loss", self.loss, count, "series_1", None),))
        return ChartData(
            "",
            "nats",
            (
                self.series("work", self.work, count, "series_1", self.error),
                self.series("heat", self.heat, count, "series_2", self.error),
            ),
            totals=True,
        )


@dataclass(frozen=True)
class Program:
    """What runs: the app, on our driver or Textual's, on a run that lives or not, and the module that it needs."""

    app: type[Panels]
    thin: bool = True
    live: bool = True
    age: int = OLD
    planned: int | None = None
    module: str = ""


class Panels(App[None]):
    """24 panels and a clock that ticks `hz` times a second."""

    CSS = "Grid { grid-size: 4 6; grid-gutter: 0 1; }"

    def __init__(self, hz: float, program: Program, ticks: Path) -> None:
        self.program, self.hz, self.ticks = program, hz, ticks
        if program.thin:
            self.painter = CellPainter()
            self.turns = Turns(self.painter)
        super().__init__()
        self.count = program.age
        self.run_data = Run(self.count + RATE * 400)
        self.panels: list[Widget] = []

    def get_driver_class(self) -> type[Driver]:
        base = super().get_driver_class()
        return thin_driver(base, lambda: self.size, self.painter) if self.program.thin else base

    def compose(self) -> ComposeResult:
        self.panels = [self.panel(index) for index in range(PANELS)]
        with Grid():
            yield from self.panels

    def on_mount(self) -> None:
        self.tick()
        self.set_interval(1 / self.hz, self.tick)

    def tick(self) -> None:
        if self.program.live:
            self.count += int(RATE / self.hz)
        self.update()
        with self.ticks.open("a") as file:
            file.write(".")

    def panel(self, index: int) -> Widget:
        return Chart()

    def update(self) -> None:
        charts = [panel for panel in self.panels if isinstance(panel, Chart)]
        planned, least = self.program.planned, 60.0 * RATE
        data = [replace(self.run_data.chart(i, self.count), planned=planned, least=least) for i in range(len(charts))]
        update_charts(zip(charts, data, strict=True), goes_on=True)


class PeerPanels(Panels):
    """Panels of others, each updated by itself."""

    def update(self) -> None:
        for index, panel in enumerate(self.panels):
            self.update_one(panel, index)

    @abstractmethod
    def update_one(self, panel: Widget, index: int) -> None:
        """Give a panel what is new."""


class SparklinePanels(PeerPanels):
    """Textual's own Sparkline, which gets the latest BUCKETS means."""

    def panel(self, index: int) -> Widget:
        return Sparkline()

    def update_one(self, panel: Widget, index: int) -> None:
        assert isinstance(panel, Sparkline)
        data = self.run_data.chart(index, self.count)
        panel.data = data.series[0].mean.tolist()


class PlotextPanels(PeerPanels):
    """plotext, drawn into a Static."""

    def panel(self, index: int) -> Widget:
        return Static()

    def update_one(self, panel: Widget, index: int) -> None:
        import plotext
        from rich.text import Text

        assert isinstance(panel, Static)
        data = self.run_data.chart(index, self.count)
        plotext.clear_figure()
        plotext.plot_size(max(panel.size.width, 20), max(panel.size.height, 8))
        plotext.title(data.title)
        for series in data.series:
            plotext.plot(series.x.tolist(), series.mean.tolist(), marker="braille")
        panel.update(Text.from_ansi(plotext.build()))


class TextualPlotPanels(PeerPanels):
    """textual-plot's PlotWidget."""

    def panel(self, index: int) -> Widget:
        from textual_plot import PlotWidget

        widget: Widget = PlotWidget()
        return widget

    def update_one(self, panel: Widget, index: int) -> None:
        from textual_plot import HiResMode, PlotWidget

        assert isinstance(panel, PlotWidget)
        data = self.run_data.chart(index, self.count)
        panel.clear()
        for series in data.series:
            panel.plot(series.x, series.mean, hires_mode=HiResMode.BRAILLE)


PROGRAMS: dict[str, Program] = {
    "ours": Program(Panels),
    "ours, 50 s old": Program(Panels, age=YOUNG),
    "ours, 50 s of 10 min": Program(Panels, age=YOUNG, planned=PLANNED),
    "ours, 10 s old": Program(Panels, age=NEW),
    "ours, 30 s old": Program(Panels, age=30_000),
    "ours, 60 s old": Program(Panels, age=60_000),
    "ours, 10 s of 10 min": Program(Panels, age=NEW, planned=PLANNED),
    "ours, nothing new": Program(Panels, live=False),
    "ours, Textual's driver": Program(Panels, thin=False),
    "Textual Sparkline": Program(SparklinePanels, thin=False),
    "Textual Sparkline, our driver": Program(SparklinePanels),
    "plotext": Program(PlotextPanels, thin=False, module="plotext"),
    "textual-plot": Program(TextualPlotPanels, thin=False, module="textual_plot"),
}


def bytes_per_second(name: str, hz: float, seconds: float) -> tuple[float, float]:
    """Run a program on a pseudo-terminal; bytes a second at the full rate after the warm-up, and the rate reached."""
    primary, secondary = pty.openpty()
    fcntl.ioctl(secondary, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", "COLUMNS": "", "LINES": ""}
    with tempfile.TemporaryDirectory() as folder:
        ticks = Path(folder) / "ticks"
        ticks.touch()
        command = [sys.executable, str(Path(__file__).resolve()), "--child", name, "--hz", str(hz), "--ticks", ticks]
        child = subprocess.Popen(
            command, stdin=secondary, stdout=secondary, stderr=secondary, env=environment, start_new_session=True
        )
        os.close(secondary)
        try:
            # The warm-up begins with the first picture: programs differ in how long they take to start.
            select.select([primary], [], [], 30)
            drain(primary, WARM_UP)
            begin, before = time.monotonic(), ticks.stat().st_size
            count = drain(primary, seconds)
            done = ticks.stat().st_size - before
            return count / max(done, 1) * hz, done / (time.monotonic() - begin)
        finally:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            os.close(primary)


def drain(descriptor: int, seconds: float) -> int:
    """Bytes read in so many seconds."""
    end, count = time.monotonic() + seconds, 0
    while (left := end - time.monotonic()) > 0:
        if select.select([descriptor], [], [], left)[0]:
            count += len(os.read(descriptor, 1 << 16))
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--only", default="")
    parser.add_argument("--child", default="", help=argparse.SUPPRESS)
    parser.add_argument("--hz", type=float, default=1.0, help=argparse.SUPPRESS)
    parser.add_argument("--ticks", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        program = PROGRAMS[options.child]
        program.app(options.hz, program, options.ticks).run()
        return
    print(f"{PANELS} panels on {COLUMNS} × {ROWS} cells, bytes a second over {options.seconds:.0f} s")
    print(f"{'program':32}{'1 Hz':>10}{'reached':>10}{'10 Hz':>10}{'reached':>10}")
    for name, program in PROGRAMS.items():
        if options.only and options.only != name:
            continue
        if program.module and importlib.util.find_spec(program.module) is None:
            print(f"{name:32}{'not installed':>24}")
            continue
        measured = [bytes_per_second(name, hz, options.seconds) for hz in (1.0, 10.0)]
        print(f"{name:32}" + "".join(f"{sent:10,.0f}{rate:10.1f}" for sent, rate in measured), flush=True)


if __name__ == "__main__":
    main()
