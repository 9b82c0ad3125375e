"""The temperature of every layer: a sparkline each, all with the charts' x axis."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from textual.app import ComposeResult
from textual.reactive import reactive

from thermotui.analysis.format import printable
from thermotui.analysis.snapshot import RunSnapshot
from thermotui.runlog.schema import RESERVOIR
from thermotui.tui.charts.layers import LayerSparklines
from thermotui.tui.charts.linked import draw_ahead
from thermotui.tui.charts.model import ChartData, Floats, Scale, SeriesData
from thermotui.tui.charts.view import StepView
from thermotui.tui.made import MadeOnce
from thermotui.tui.panels import marks_of, row_values, shades_of
from thermotui.tui.views.view import Look
from thermotui.tui.widgets.backdrop import Backdrop
from thermotui.tui.widgets.lines import Line

if TYPE_CHECKING:
    from thermotui.runlog.overview import Overview

TEMPERATURES = ("temperature", "temperature_full")
"""The estimators of a layer's temperature, the one that serves a layer more often first."""
TEMPERATURE_SCALE: Scale = "log"
"""Temperatures fall by decades while a run goes on: a linear scale would hide every disturbance but the greatest."""


def layer_series(snapshot: RunSnapshot, names: tuple[str, ...]) -> tuple[SeriesData, ...]:
    """A curve for each layer: of the first of the columns `names` that has a finite value there."""
    overview = snapshot.curves.get("reservoir")
    if overview is None or names[0] not in overview.mean:
        return ()
    smoothed = snapshot.smooths("reservoir")
    # One array for all layers: they are then reduced to columns together.
    x = overview.step_first.astype(np.float64)
    served = np.array([np.isfinite(overview.mean[name]).any(axis=0) for name in names]).argmax(axis=0)
    chosen = set(served.tolist())
    tables = {index: _LayerTable.of(overview, names[index], errors=not smoothed) for index in chosen}
    rows = {
        index: () if smoothed else row_values(snapshot, "reservoir", names[index], f"{names[index]}_se")
        for index in chosen
    }
    series = []
    for index, (layer, choice) in enumerate(zip(snapshot.header.layers, served.tolist(), strict=True)):
        table, row = tables[choice], rows[choice]
        series.append(
            SeriesData(
                printable(layer.name),
                x,
                table.low[index],
                table.high[index],
                table.mean[index],
                None if table.se_low is None else table.se_low[index],
                None if table.se_high is None else table.se_high[index],
                f"series_{index % 8 + 1}",
                row=row[index] if row else None,
            )
        )
    return tuple(series)


class _LayerTable(NamedTuple):
    """One column of the log for all layers, [L, B] each, those of a layer one after the other."""

    low: Floats
    high: Floats
    mean: Floats
    se_low: Floats | None
    se_high: Floats | None

    @classmethod
    def of(cls, overview: Overview, name: str, *, errors: bool) -> _LayerTable:
        low, high, mean = (_by_layer(table[name]) for table in (overview.minimum, overview.maximum, overview.mean))
        if not errors or f"{name}_se" not in overview.mean:
            return cls(low, high, mean, None, None)
        error = _by_layer(overview.mean[f"{name}_se"])
        return cls(low, high, mean, mean - error, mean + error)


def _by_layer(values: NDArray[np.floating]) -> Floats:
    return np.ascontiguousarray(values.T, dtype=np.float64)


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

    snapshot: reactive[RunSnapshot | None] = reactive(None, repaint=False, always_update=True)
    look: reactive[Look] = reactive(Look(), repaint=False)

    def __init__(self, view: StepView, id: str | None = None) -> None:
        super().__init__(id=id)
        self._view = view
        self._made = MadeOnce(layers_data)

    def compose(self) -> ComposeResult:
        """Title and rows."""
        yield Line()
        yield LayerSparklines(view=self._view)

    def watch_snapshot(self, snapshot: RunSnapshot | None) -> None:
        """Draw what is new."""
        line, rows = self.query_one(Line), self.query_one(LayerSparklines)
        if snapshot is None:
            line.parts, rows.data = ("Temperature",), None
            self._made.clear()
            return
        stride = snapshot.header.reservoir_stride
        scale = "" if rows.scale == "linear" else f" {rows.scale}"
        line.parts = (f"Temperature k_B T [nats]{scale}", f"every {stride} steps" if stride > 1 else "every step")
        rows.data = self._made.of(snapshot, TEMPERATURES, "Temperature")
        self._made.clear()

    def draw_ahead(self, snapshot: RunSnapshot, steps: tuple[float, float] | None) -> None:
        """Draw the rows as they would be of that run at these steps."""
        draw_ahead(
            [(self.query_one(LayerSparklines), self._made.of(snapshot, TEMPERATURES, "Temperature"))], self._view, steps
        )

    def forget_ahead(self) -> None:
        """Let go of what was made of the runs that may be next."""
        self._made.clear()

    def put_away(self) -> None:
        """Let go of the run shown: the panel is out of sight, and told anew before it is back."""
        self.set_reactive(LayerPanel.snapshot, None)
        self.forget_ahead()
        for rows in self.query(LayerSparklines):
            rows.forget_frame()

    def watch_look(self, look: Look) -> None:
        """Draw in another way."""
        rows = self.query_one(LayerSparklines)
        rows.mode, rows.scale = look.mode, look.scale_of(TEMPERATURE_SCALE)
        self.watch_snapshot(self.snapshot)
