"""The dashboard's panels: which columns of the log each shows, and how a snapshot becomes what a chart draws."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from thermotui.analysis.format import printable
from thermotui.analysis.snapshot import RunSnapshot
from thermotui.detect.alert import Alert
from thermotui.detect.intervals import Interval
from thermotui.runlog.overview import Overview
from thermotui.runlog.schema import STREAMS, Header
from thermotui.tui.charts.model import ChartData, Mark, SeriesData, Shade

Floats = NDArray[np.float64]

NARROW = 50
"""Cells of width below which a panel says only what its curves are."""


@dataclass(frozen=True)
class Line:
    """A curve of a panel: a column, the words for its legend, and the column that holds its error or spread."""

    field: str
    label: str
    error: str = ""


@dataclass(frozen=True)
class Panel:
    """A panel of the dashboard: columns of one stream that share a unit."""

    name: str
    title: str
    stream: str
    lines: tuple[Line, ...]
    short: str = ""
    """The title where the panel is narrow."""

    @property
    def fields(self) -> tuple[str, ...]:
        """The columns to ask the log for."""
        names = [name for line in self.lines for name in (line.field, line.error) if name]
        return tuple(dict.fromkeys(names))


def _figures(*lines: tuple[str, str]) -> tuple[Line, ...]:
    return tuple(Line(name, label, f"{name}_se") for name, label in lines)


PANELS: tuple[Panel, ...] = (
    Panel("heat_work", "Heat and work", "thermo", _figures(("work", "W"), ("heat", "Q"))),
    Panel(
        "entropy_production",
        "Entropy production",
        "thermo",
        _figures(("ep_conditional", "Σ X|Θ"), ("ep_marginal", "Σ X"), ("ep_ignorance", "Σ ign")),
    ),
    Panel(
        "information",
        "Information",
        "thermo",
        _figures(
            ("l_info_lower", "L-info ≥"),
            ("l_info_upper", "L-info ≤"),
            ("l_info_window", "L-info (window)"),
            ("m_info", "M-info"),
        ),
    ),
    Panel("loss", "Loss", "steps", (Line("loss", "loss", "loss_spread"),)),
    Panel("accuracy", "Accuracy", "steps", (Line("accuracy", "accuracy", "accuracy_spread"),)),
    Panel("efficiency", "Learning efficiency", "thermo", _figures(("learning_efficiency", "L-info / M-info"))),
    Panel("entropy", "Entropy", "thermo", _figures(("entropy_conditional", "S X|Θ"), ("entropy_marginal", "S X"))),
    Panel("log_partition", "Log partition function", "thermo", _figures(("log_partition", "ln Z"))),
    Panel(
        "first_law",
        "First-law residual",
        "thermo",
        (Line("first_law_residual", "W + Q − ΔS", "first_law_residual_se"),),
    ),
    Panel("gradient_norm", "Gradient norm", "steps", (Line("gradient_norm", "‖g‖"),)),
    Panel("learning_rate", "Learning rate", "steps", (Line("learning_rate", "r"),)),
    Panel("mobility", "Mobility", "reservoir", (Line("mobility", "μ"),)),
)


def fields_of(panels: tuple[Panel, ...]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The columns that the panels need, per stream, as a query asks for them."""
    wanted: dict[str, dict[str, None]] = {}
    for panel in panels:
        wanted.setdefault(panel.stream, {}).update(dict.fromkeys(panel.fields))
    return tuple((stream, tuple(names)) for stream, names in wanted.items())


def series_of(
    overview: Overview, line: Line, colour_role: str, header: Header, name: str = "", x: Floats | None = None
) -> SeriesData:
    """One curve with its error band; `x` replaces the steps, for instance by times."""
    mean = np.asarray(overview.mean[line.field], dtype=np.float64)
    exact = header.figures.get(line.field) == "exact"
    band: tuple[Floats | None, Floats | None] = (None, None)
    if line.error and not exact:
        error = np.asarray(overview.mean[line.error], dtype=np.float64)
        if np.isfinite(error).any():
            band = mean - error, mean + error
    return SeriesData(
        name=printable(name or line.label),
        x=np.asarray(overview.step_first, dtype=np.float64) if x is None else x,
        low=np.asarray(overview.minimum[line.field], dtype=np.float64),
        high=np.asarray(overview.maximum[line.field], dtype=np.float64),
        mean=mean,
        se_low=band[0],
        se_high=band[1],
        colour_role=colour_role,
        exact=exact,
    )


def chart_of(panel: Panel, snapshot: RunSnapshot, width: int) -> ChartData:
    """What the panel's chart draws of one run in so many cells; where it is narrow, the curves' names need the room."""
    narrow = width < NARROW
    overview = snapshot.curves.get(panel.stream)
    series = ()
    if overview is not None:
        series = tuple(
            series_of(overview, line, f"series_{index + 1}", snapshot.header)
            for index, line in enumerate(panel.lines)
            if np.isfinite(overview.mean[line.field]).any()
        )
    return ChartData(
        title=panel.short if narrow else panel.title,
        unit="" if narrow else STREAMS[panel.stream].field(panel.lines[0].field).unit,
        series=series,
        marks=marks_of(snapshot.alerts),
        shades=shades_of(snapshot.valid_intervals),
        x_range=(0.0, float(max(snapshot.summary.step, 1))),
        growing=snapshot.summary.live,
        notes=() if narrow else notes_of(panel, snapshot.header),
    )


def notes_of(panel: Panel, header: Header) -> tuple[str, ...]:
    """What must stand beside the figures of a panel: their stride, and what kind of number they are."""
    if panel.stream != "thermo":
        return ()
    kinds = {header.figures[line.field] for line in panel.lines if line.field in header.figures}
    return (f"stride {header.stride}", *sorted(kinds - {"estimate", "none", "exact"}))


def marks_of(alerts: tuple[Alert, ...], layer: int | None = None) -> tuple[Mark, ...]:
    """A mark for each alert, of the whole run and of every layer, or of one layer only."""
    return tuple(
        Mark(float(alert.start), alert.severity, printable(alert.kind))
        for alert in alerts
        if layer is None or alert.layer in (-1, layer)
    )


def shades_of(intervals: tuple[Interval, ...], layer: int = -1) -> tuple[Shade, ...]:
    """The valid reservoir intervals of a layer, or of the run as a whole (−1)."""
    return tuple(Shade(float(i.start), float(i.end)) for i in intervals if i.layer == layer)
