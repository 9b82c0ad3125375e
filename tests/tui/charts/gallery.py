"""An app that shows every kind of chart with fixed data, for Pilot tests and pictures."""

from __future__ import annotations

import numpy as np
from textual.app import App, ComposeResult
from textual.containers import Grid
from textual.theme import Theme

from thermotui.tui.charts.chart import Chart
from thermotui.tui.charts.layers import Heatmap, LayerSparklines
from thermotui.tui.charts.model import ChartData, Mark, Shade, raw_series
from thermotui.tui.charts.palette import PALETTES
from thermotui.tui.charts.raster import Mode
from thermotui.tui.charts.view import StepView

STEPS = 4000


def loss(steps: int = STEPS, growing: bool = True) -> ChartData:
    """A falling, noisy loss with a gap and a one-step spike downward."""
    generator = np.random.default_rng(7)
    values = 2.3 * np.exp(-np.arange(STEPS) / 900) + 0.2 + 0.03 * generator.normal(size=STEPS)
    values[1500:1700] = np.nan
    values[2600] = -1.0
    return ChartData(
        "Loss",
        "nats",
        (raw_series("loss", np.arange(steps), values[:steps]),),
        (Mark(2600, "critical"), Mark(1500, "warning")),
        (Shade(300, 1500), Shade(1700, 2600)),
        growing=growing,
    )


def heat_and_work(steps: int = STEPS) -> ChartData:
    """Running totals with error bands."""
    x = np.arange(0, steps, 20)
    error = 0.4 + x / 3000
    return ChartData(
        "Heat and work",
        "nats",
        (
            raw_series("W", x, np.sqrt(x) / 4, error, colour_role="series_1"),
            raw_series("Q", x, -np.sqrt(x) / 3, error, colour_role="series_2"),
        ),
        notes=("stride 20",),
    )


def temperatures(layers: int = 6, steps: int = STEPS) -> ChartData:
    """A temperature per layer; layer 2 has a one-step spike upward, layer 3 one downward."""
    generator = np.random.default_rng(11)
    x = np.arange(0, steps, 10)
    series = []
    for layer in range(layers):
        values = 1e-3 * (layer + 1) * (1 + 0.05 * generator.normal(size=x.size))
        if layer == 2:
            values[200] *= 6
        if layer == 3:
            values[100] = 0.0
        series.append(raw_series(f"hidden.{layer}.weight", x, values, values * 0.05))
    return ChartData("Temperature", "nats", tuple(series))


class Gallery(App[None]):
    """Two linked charts, sparklines and a heatmap."""

    CSS = "Grid { grid-size: 2 2; grid-gutter: 0 1; }"

    def __init__(self, palette: str = "dark", mode: Mode = "braille") -> None:
        super().__init__()
        self.palette_name, self.mode_shown = palette, mode
        self.steps = StepView()

    def compose(self) -> ComposeResult:
        with Grid():
            yield Chart(loss(), view=self.steps, id="loss")
            yield Chart(heat_and_work(), view=self.steps, id="heat")
            yield LayerSparklines(temperatures(), view=self.steps)
            yield Heatmap(temperatures(), view=self.steps)

    def on_mount(self) -> None:
        palette = PALETTES[self.palette_name]
        light = palette.name == "light"
        theme = Theme(
            "gallery",
            primary="#0178d4",
            background="#ffffff" if light else "#111418",
            foreground="#1f2328" if light else "#d7dae0",
            dark=not light,
            variables=palette.variables(),
        )
        self.register_theme(theme)
        self.theme = "gallery"
        for widget in self.query("Chart, LayerSparklines, Heatmap").results():
            widget.set_reactive(type(widget).mode, self.mode_shown)  # all three have it
