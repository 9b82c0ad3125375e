"""Layer by step: a heatmap of one quantity, and one layer in detail with the autocorrelation of its noise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from textual.app import ComposeResult
from textual.reactive import reactive

from thermotui.analysis.snapshot import Query, RunSnapshot
from thermotui.runlog.schema import RESERVOIR
from thermotui.tui.charts.chart import Chart
from thermotui.tui.charts.layers import Heatmap, LayerRows
from thermotui.tui.charts.linked import draw_ahead
from thermotui.tui.charts.model import ChartData, Scale, raw_series
from thermotui.tui.charts.view import StepView
from thermotui.tui.made import MadeOnce
from thermotui.tui.panels import marks_of, shades_of
from thermotui.tui.views.view import Look, View
from thermotui.tui.widgets.backdrop import PlainHorizontal
from thermotui.tui.widgets.layer_panel import TEMPERATURE_SCALE, TEMPERATURES, layers_data
from thermotui.tui.widgets.lines import Line


@dataclass(frozen=True)
class Quantity:
    """A quantity of the layers: its title and the columns that serve it, the first with a value first."""

    title: str
    fields: tuple[str, ...]
    scale: Scale = "linear"
    """Its own scale."""

    @property
    def asked(self) -> tuple[str, ...]:
        """The columns with those of their errors."""
        names = {field.name for field in RESERVOIR.fields}
        errors = tuple(f"{name}_se" for name in self.fields if f"{name}_se" in names)
        return (*self.fields, *errors)


QUANTITIES = (
    Quantity("Temperature k_B T", TEMPERATURES, TEMPERATURE_SCALE),
    Quantity("Force ‖∇U_B‖", ("force",)),
    Quantity("Signal to noise ‖∇U‖²/tr C", ("signal_to_noise",)),
    Quantity("Reversibility gap", ("reversibility_gap",)),
    Quantity("Fluctuation–dissipation ratio", ("fluctuation_dissipation",)),
    Quantity("Noise skewness", ("noise_skew",)),
    Quantity("Noise kurtosis", ("noise_kurtosis",)),
    Quantity("Drift ‖θ − θ_0‖/‖θ_0‖", ("drift",)),
)


class LayersView(View):
    """The heatmap above; below the selected layer's curve and the autocorrelation of its noise."""

    DEFAULT_CSS = """
    LayersView {
        layout: vertical;
        & > Line { text-style: bold; }
        & > Heatmap { height: 1fr; }
        & > #detail { height: 1fr; max-height: 16; min-height: 6; }
    }
    """

    moves = True
    quantity: reactive[int] = reactive(0, init=False)
    """Index into QUANTITIES."""

    def __init__(self, view: StepView, id: str | None = None) -> None:
        super().__init__(id=id)
        self._view = view
        self._made, self._curves = MadeOnce(layers_data), MadeOnce(curve_data)
        self._lags = StepView()
        # The first lag says most; the last one, which a chart without a cursor reads out, nothing.
        self._lags.point(1.0)

    def compose(self) -> ComposeResult:
        """Title, heatmap, detail."""
        yield Line()
        yield Heatmap(view=self._view)
        with PlainHorizontal(id="detail"):
            yield Chart(view=self._view, id="curve")
            yield Chart(view=self._lags, id="autocorrelation")

    def ask(self, query: Query) -> Query:
        """One quantity of the reservoir, and the autocorrelation."""
        fields = (("reservoir", QUANTITIES[self.quantity].asked),)
        return replace(query, fields=fields, autocorrelation=True)

    def watch_quantity(self) -> None:
        """Ask for the other quantity."""
        self.post_message(self.Asks())

    def next_quantity(self) -> None:
        """The next quantity."""
        self.quantity = (self.quantity + 1) % len(QUANTITIES)

    def watch_snapshots(self) -> None:
        """Draw what is new."""
        self._update()

    def on_layer_rows_layer_selected(self, message: LayerRows.LayerSelected) -> None:
        """Another layer in detail."""
        self._detail()

    def watch_look(self, look: Look) -> None:
        """Draw in another way."""
        self.query_one(Heatmap).mode = look.mode
        for chart in self.query(Chart):
            chart.mode = look.mode
        self._update()

    def _update(self) -> None:
        quantity, snapshot = QUANTITIES[self.quantity], self.snapshot
        line, heatmap = self.query_one(Line), self.query_one(Heatmap)
        scale = self.look.scale_of(quantity.scale)
        heatmap.logarithmic, self.query_one("#curve", Chart).scale = scale == "log", scale
        if snapshot is None:
            line.parts, heatmap.data = (quantity.title,), None
        elif snapshot.lengths["reservoir"] == 0:
            line.parts, heatmap.data = (quantity.title, "not measured in this run"), None
        else:
            heatmap.data = self._made.of(snapshot, quantity.fields, quantity.title)
            unit = RESERVOIR.field(quantity.fields[0]).unit
            every = snapshot.header.reservoir_stride
            line.parts = (
                f"{quantity.title}{f' [{unit}]' if unit else ''}",
                f"{len(snapshot.header.layers)} layers",
                f"every {every} steps" if every > 1 else "every step",
                "v: next quantity",
                "[ ]: layer",
            )
        self._detail()
        self._made.clear()
        self._curves.clear()

    def draw_ahead(self, snapshot: RunSnapshot, steps: tuple[float, float] | None) -> Iterator[None]:
        """Draw the heatmap and the curve."""
        quantity, heatmap, curve = QUANTITIES[self.quantity], self.query_one(Heatmap), self.query_one("#curve", Chart)
        if snapshot.lengths["reservoir"] == 0:
            return
        data = self._made.of(snapshot, quantity.fields, quantity.title)
        if data.series:
            shown = self._curves.of(snapshot, data, heatmap.selected, curve.scale)
            draw_ahead([(heatmap, data)], self._view, steps)
            yield
            draw_ahead([(curve, shown)], self._view, steps)

    def forget_ahead(self) -> None:
        super().forget_ahead()
        self._made.clear()
        self._curves.clear()

    def _detail(self) -> None:
        curve, lags = self.query_one("#curve", Chart), self.query_one("#autocorrelation", Chart)
        data, snapshot = self.query_one(Heatmap).data, self.snapshot
        if snapshot is None or data is None or not data.series:
            curve.data = lags.data = None
            return
        selected = self.query_one(Heatmap).selected
        curve.data = self._curves.of(snapshot, data, selected, curve.scale)
        lags.data = autocorrelation_data(snapshot, min(selected, len(data.series) - 1))


def curve_data(snapshot: RunSnapshot, data: ChartData, selected: int, scale: Scale) -> ChartData:
    """One of the layers in `data` in detail."""
    layer = min(selected, len(data.series) - 1)
    series = replace(data.series[layer], colour_role="series_1")
    return replace(
        data,
        title=series.name,
        series=(series,),
        marks=marks_of(snapshot.alerts, layer),
        shades=shades_of(snapshot.valid_intervals, layer),
        notes=() if scale == "linear" else (scale,),
    )


def autocorrelation_data(snapshot: RunSnapshot, layer: int) -> ChartData | None:
    """C(lag)/C(0) of one layer with the 95 % bounds of white noise around what sampling alone gives."""
    window = snapshot.autocorrelation
    if window is None or not np.isfinite(window.values[layer]).any():
        return None
    lags = np.arange(window.values.shape[1])[1:]
    echo = window.expected_echo[1:].astype(np.float64)
    return ChartData(
        title=f"Autocorrelation of η at {window.step}",
        series=(
            replace(
                raw_series("white ± 95 %", lags, echo, np.full(lags.size, window.bound), colour_role="series_8"),
                short="white",
            ),
            raw_series("C", lags, window.values[layer][1:].astype(np.float64)),
        ),
        x_range=(1.0, float(max(lags[-1], 2))),
        x_label="lag",
        short=f"C at {window.step}",
        growing=False,
    )
