"""How a snapshot becomes what a chart draws: series with their error bands, marks, shades and notes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from thermotui.analysis.format import printable
from thermotui.analysis.panels import Line, Panel
from thermotui.analysis.snapshot import RunSnapshot
from thermotui.detect.alert import Alert
from thermotui.detect.intervals import Interval
from thermotui.runlog.schema import STREAMS
from thermotui.tui.charts.model import ChartData, Mark, RowValue, SeriesData, Shade

Floats = NDArray[np.float64]


def series_of(
    snapshot: RunSnapshot,
    stream: str,
    line: Line,
    colour_role: str,
    name: str = "",
    x: Floats | None = None,
    *,
    by_step: bool = True,
) -> SeriesData:
    """One curve with its error band. A smoothed curve has no error.

    x: in place of the steps, for instance times; by_step: whether the cursor is at a step.
    """
    overview = snapshot.curves[stream]
    smoothed = snapshot.smooths(stream)
    mean = np.asarray(overview.mean[line.field], dtype=np.float64)
    exact = snapshot.header.figures.get(line.field) == "exact" and not smoothed
    band: tuple[Floats | None, Floats | None] = (None, None)
    if line.error in overview.mean and not exact and not smoothed:
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
        short="" if name else line.short,
        row=None if smoothed else row_value(snapshot, stream, line.field, "" if exact else line.error, by_step=by_step),
    )


def row_value(
    snapshot: RunSnapshot, stream: str, field: str, error: str = "", *, by_step: bool = True
) -> RowValue | None:
    """What the row at the cursor, or the newest one, holds in a column; None where there is no such row.

    by_step: whether the x axis is that of steps; in other coordinates the cursor is at no row that was asked for.
    """
    found = row_values(snapshot, stream, field, error) if by_step or snapshot.at is None else ()
    return found[0] if found else None


def row_values(snapshot: RunSnapshot, stream: str, field: str, error: str = "") -> tuple[RowValue, ...]:
    """What that row holds in a column of one value a layer, layer by layer; empty where there is no such row."""
    rows = snapshot.rows_at.get(stream)
    if rows is None:
        return ()
    values = rows[field][0].reshape(-1).tolist()
    known = error and error in (rows.dtype.names or ())
    errors = rows[error][0].reshape(-1).tolist() if known else [math.nan] * len(values)
    return tuple(
        RowValue(float(value), deviation if math.isfinite(deviation) else None, snapshot.at)
        for value, deviation in zip(values, errors, strict=True)
    )


def charts_of(panels: Sequence[Panel], snapshot: RunSnapshot) -> list[ChartData]:
    """What the charts of the panels draw of one run: those of one stream share their steps, in one array."""
    steps = {stream: np.asarray(each.step_first, dtype=np.float64) for stream, each in snapshot.curves.items()}
    return [chart_of(panel, snapshot, steps.get(panel.stream)) for panel in panels]


def chart_of(panel: Panel, snapshot: RunSnapshot, steps: Floats | None = None) -> ChartData:
    """What the panel's chart draws of one run. steps: the first steps of its stream's buckets, where at hand."""
    overview = snapshot.curves.get(panel.stream)
    series: tuple[SeriesData, ...] = ()
    if overview is not None:
        # One array for all lines: they are then reduced to columns together.
        x = np.asarray(overview.step_first, dtype=np.float64) if steps is None else steps
        series = tuple(
            series_of(snapshot, panel.stream, line, f"series_{index + 1}", x=x)
            for index, line in enumerate(panel.lines)
            if line.field in overview.mean and np.isfinite(overview.mean[line.field]).any()
        )
    return ChartData(
        title=panel.title,
        unit=STREAMS[panel.stream].field(panel.lines[0].field).unit,
        series=series,
        marks=marks_of(snapshot.alerts),
        shades=shades_of(snapshot.valid_intervals),
        x_range=(0.0, float(max(snapshot.summary.step, 1))),
        growing=snapshot.summary.live,
        planned=snapshot.summary.steps or None,
        least=snapshot.summary.first_minute,
        totals=panel.totals,
        notes=notes_of(panel, snapshot),
        short=panel.short,
    )


def notes_of(panel: Panel, snapshot: RunSnapshot) -> tuple[str, ...]:
    """What must stand beside the figures of a panel: their stride, what kind of number they are, smoothing."""
    header = snapshot.header
    notes = ("smoothed",) if snapshot.smooths(panel.stream) else ()
    if panel.stream != "thermo":
        spread = any(line.error.endswith("_spread") for line in panel.lines) and not notes
        return (*notes, f"± spread of {header.ensemble} members") if spread and header.ensemble > 1 else notes
    kinds = {header.figures[line.field] for line in panel.lines if line.field in header.figures}
    return (*notes, f"stride {header.stride}", *sorted(kinds - {"estimate", "none", "exact"}))


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
