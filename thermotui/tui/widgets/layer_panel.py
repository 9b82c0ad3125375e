"""The temperature of every layer: a sparkline each, all with the charts' x axis."""

from __future__ import annotations

import numpy as np
from textual.app import ComposeResult
from textual.reactive import reactive

from thermotui.analysis.format import printable
from thermotui.analysis.snapshot import RunSnapshot
from thermotui.runlog.schema import RESERVOIR
from thermotui.tui.charts.layers import LayerSparklines
from thermotui.tui.charts.model import ChartData, Scale, SeriesData
from thermotui.tui.charts.view import StepView
from thermotui.tui.panels import marks_of, row_value, shades_of
from thermotui.tui.views.view import Look
from thermotui.tui.widgets.backdrop import Backdrop
from thermotui.tui.widgets.lines import Line

TEMPERATURES = ("temperature", "temperature_full")
"""The estimators of a layer's temperature, the one that serves a layer more often first."""
TEMPERATURE_SCALE: Scale = "log"
"""Temperatures fall by decades while a run goes on: a linear scale would hide every disturbance but the greatest."""


def layer_series(snapshot: RunSnapshot, names: tuple[str, ...]) -> tuple[SeriesData, ...]:
    """A curve for each layer: of the first of the columns `names` that has a finite value there."""
    overview = snapshot.curves.get("reservoir")
    if overview is None or names[0] not in overview.mean:
        return ()
    series, smoothed = [], snapshot.smooths("reservoir")
    # One array for all layers: they are then reduced to columns together.
    x = overview.step_first.astype(np.float64)
    for index, layer in enumerate(snapshot.header.layers):
        served = [name for name in names if np.isfinite(overview.mean[name][:, index]).any()]
        name = served[0] if served else names[0]
        mean = overview.mean[name][:, index].astype(np.float64)
        low = high = None
        if f"{name}_se" in overview.mean and not smoothed:
            error = overview.mean[f"{name}_se"][:, index].astype(np.float64)
            low, high = mean - error, mean + error
        series.append(
            SeriesData(
                printable(layer.name),
                x,
                overview.minimum[name][:, index].astype(np.float64),
                overview.maximum[name][:, index].astype(np.float64),
                mean,
                low,
                high,
                f"series_{index % 8 + 1}",
                row=None if smoothed else row_value(snapshot, "reservoir", name, f"{name}_se", layer=index),
            )
        )
    return tuple(series)


def layers_data(snapshot: RunSnapshot, names: tuple[str, ...], title: str) -> ChartData:
    """All layers of a run, for sparklines or a heatmap."""
    return ChartData(
        title=title,
        unit=RESERVOIR.field(names[0]).unit,
        series=layer_series(snapshot, names),
        marks=marks_of(snapshot.alerts),
        shades=shades_of(snapshot.valid_intervals),
        x_range=(0.0, float(max(snapshot.summary.step, 1))),
        growing=snapshot.summary.live,
        planned=snapshot.summary.steps or None,
        least=snapshot.summary.first_minute,
    )


class LayerPanel(Backdrop):
    """A title and a sparkline for each layer."""

    DEFAULT_CSS = "LayerPanel { layout: vertical; & > Line { text-style: bold; } }"
    FIELDS = (("reservoir", tuple(part for name in TEMPERATURES for part in (name, f"{name}_se"))),)

    snapshot: reactive[RunSnapshot | None] = reactive(None, repaint=False)
    look: reactive[Look] = reactive(Look(), repaint=False)

    def __init__(self, view: StepView, id: str | None = None) -> None:
        super().__init__(id=id)
        self._view = view

    def compose(self) -> ComposeResult:
        """Title and rows."""
        yield Line()
        yield LayerSparklines(view=self._view)

    def watch_snapshot(self, snapshot: RunSnapshot | None) -> None:
        """Draw what is new."""
        line, rows = self.query_one(Line), self.query_one(LayerSparklines)
        if snapshot is None:
            line.parts, rows.data = ("Temperature",), None
            return
        stride = snapshot.header.reservoir_stride
        scale = "" if rows.scale == "linear" else f" {rows.scale}"
        line.parts = (f"Temperature k_B T [nats]{scale}", f"every {stride} steps" if stride > 1 else "every step")
        rows.data = layers_data(snapshot, TEMPERATURES, "Temperature")

    def watch_look(self, look: Look) -> None:
        """Draw in another way."""
        rows = self.query_one(LayerSparklines)
        rows.mode, rows.scale = look.mode, look.scale_of(TEMPERATURE_SCALE)
        self.watch_snapshot(self.snapshot)
