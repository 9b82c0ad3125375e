"""One frame of the screen as plain text or JSON, for scripts and dumb terminals: no terminal control, no Textual."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from thermotui.analysis.balance import BalanceSheet, Figure
from thermotui.analysis.format import format_duration, format_value, printable, words_of
from thermotui.analysis.panels import PANELS, Panel, fields_of
from thermotui.analysis.run_state import RunSummary
from thermotui.analysis.snapshot import Query, RunSnapshot, Tick
from thermotui.analysis.workspace import Workspace
from thermotui.detect.alert import Alert
from thermotui.errors import InputError
from thermotui.tui.charts.raster import Mode
from thermotui.tui.charts.render import columns_of, draw, layout, value_range
from thermotui.tui.charts.scales import sticky_axis
from thermotui.tui.panels import chart_of

FRAME_PANELS = tuple(
    panel for panel in PANELS if panel.name in ("heat_work", "entropy_production", "information", "loss")
)
TEMPERATURES = (("reservoir", ("temperature", "temperature_se")),)
MOST_LAYERS = 16
"""Layers whose temperatures are printed; more would be read in a table."""
CHART_HEIGHT = 8


def read_once(paths: Sequence[Path], columns: int) -> Tick:
    """Every run under the paths, all with curves, alerts and balance. Raises InputError where none can be read."""
    with Workspace(paths) as workspace:
        first = workspace.tick(Query())
        readable = tuple(summary.path for summary in first.summaries if not summary.problem)
        if not readable:
            raise InputError(first.summaries[0].problem)
        fields = (*fields_of(FRAME_PANELS), *TEMPERATURES)
        return workspace.tick(Query(readable, fields, columns=columns, balance=True))


def plain_frame(tick: Tick, width: int, mode: Mode) -> Iterator[str]:
    """The lines of the frame: the list of runs, then each run's balance, charts and alerts."""
    for summary in tick.summaries:
        yield from _run_lines(summary)
    runs = {run.path: run for run in tick.summaries}
    for snapshot in tick.snapshots:
        run = runs[snapshot.path]
        yield ""
        yield _title(snapshot)
        if snapshot.balance:
            yield from _balance_lines(snapshot.balance, width)
        yield from _temperature_lines(snapshot, width)
        for panel in FRAME_PANELS:
            yield from _chart_lines(panel, snapshot, width, mode)
        for log in run.logs:
            rank = f"rank {log.rank}: " if run.ranks else ""
            for alert in log.flagged:
                yield printable(f"{alert.severity:8} {_span(alert)}  {rank}{words_of(alert.kind)}: {alert.message}")
        for log in run.logs:
            if log.alerts_searched_to is not None:
                yield printable(
                    f"the writer recorded no alerts; searched up to step {log.alerts_searched_to}, "
                    f"the whole run: thermotui scan {log.path}"
                )


def frame_data(tick: Tick) -> dict[str, Any]:
    """The frame as plain values with the schema's names: {"runs": [...]}; NaN as None."""
    snapshots = {snapshot.path: snapshot for snapshot in tick.snapshots}
    return {"runs": [_run_data(summary, snapshots.get(summary.path)) for summary in tick.summaries]}


def print_json(tick: Tick) -> str:
    """The frame as a JSON document."""
    return json.dumps(frame_data(tick), indent=2, allow_nan=False, ensure_ascii=True)


def _run_lines(summary: RunSummary) -> Iterator[str]:
    if summary.problem:
        yield printable(f"{'unreadable':12} {summary.name}: {summary.problem}")
        return
    steps = f"step {summary.step}" + (f" of {summary.steps}" if summary.steps else "")
    noun = "alert" if summary.alerts == 1 else "alerts"
    alerts = f"{summary.alerts} {noun}, worst {summary.worst}" if summary.alerts else "no alerts"
    age = f"last row {format_duration(summary.age)} ago" if summary.curve_rows else "no rows"
    message = f"  ({summary.message})" if summary.message else ""
    yield printable(f"{summary.state:12} {summary.name}: {steps}, {age}, {alerts}{message}")


def _title(snapshot: RunSnapshot) -> str:
    header = snapshot.header
    parts = [snapshot.summary.name, header.family, f"stride {header.stride}", f"K = {header.ensemble}"]
    if header.ensemble > 1:
        parts.append(f"ensemble varies by {header.ensemble_varies}")
    parts.append(f"marginal: {header.marginal}")
    return printable("  ".join(parts))


def _figure_text(figure: Figure) -> str:
    value = format_value(figure.value, figure.standard_error, exact=figure.kind == "exact")
    kind = "" if figure.kind in ("estimate", "exact") else f" ({figure.kind})"
    return f"{figure.name} {value}{f' {figure.unit}' if figure.unit else ''}{kind}"


def _filled(start: str, texts: Iterable[str], width: int) -> Iterator[str]:
    """Lines of texts, as many in each as there is room for."""
    line = start
    for text in texts:
        if len(line) + 2 + len(text) > width:
            yield line
            line = " "
        line = f"{line}  {text}"
    yield line


def _temperatures(snapshot: RunSnapshot) -> tuple[int, list[tuple[str, float, float]]]:
    """The step of the newest measurement, and name, k_B T in nats and its standard error by layer, where there are."""
    found = snapshot.rows_at.get("reservoir")
    if found is None:
        return 0, []
    row = found[0]
    names = [layer.name for layer in snapshot.header.layers]
    return int(row["step"]), list(zip(names, row["temperature"].tolist(), row["temperature_se"].tolist(), strict=True))


def _temperature_lines(snapshot: RunSnapshot, width: int) -> Iterator[str]:
    step, layers = _temperatures(snapshot)
    if layers:
        texts = [printable(f"{name} {format_value(value, error)}") for name, value, error in layers[:MOST_LAYERS]]
        if len(layers) > MOST_LAYERS:
            texts.append(f"and {len(layers) - MOST_LAYERS} more layers: thermotui inspect")
        yield from _filled(f"step {step}:  temperature k_B T [nats] ", texts, width)


def _balance_lines(balance: BalanceSheet, width: int) -> Iterator[str]:
    yield from _filled(f"step {balance.step}:", map(_figure_text, balance.figures), width)
    failed = [check for check in balance.checks if not check.holds]
    for check in failed:
        yield f"does not hold: {check.statement} (residual {format_value(check.residual)} nats)"
    if balance.checks and not failed:
        yield f"the balance adds up ({len(balance.checks)} checks)"


def _chart_lines(panel: Panel, snapshot: RunSnapshot, width: int, mode: Mode) -> list[str]:
    data = chart_of(panel, snapshot)
    if not data.series:
        return []
    place = layout(width, CHART_HEIGHT)
    first, last = data.extent()
    x_range = first, last + 1
    columns = columns_of(data, x_range, place.cells, mode)
    low, high, smallest = value_range(columns)
    axis = sticky_axis(None, low, high, "linear", smallest)
    return draw(data, columns, place, axis, x_range, mode).text()


def _span(alert: Alert) -> str:
    return f"{alert.start}–{'' if alert.end is None else alert.end}"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _run_data(summary: RunSummary, snapshot: RunSnapshot | None) -> dict[str, Any]:
    data: dict[str, Any] = {
        "file": summary.path,
        "state": summary.state,
        "step": summary.step,
        "steps": summary.steps,
        "age": _finite(summary.age),
        "rate": _finite(summary.rate),
        "problem": summary.problem or None,
        "message": summary.message,
    }
    if summary.ranks:
        data["ranks"] = [
            {
                "rank": rank.rank,
                "file": rank.path,
                "state": rank.state,
                "step": rank.step,
                "age": _finite(rank.age),
                "loss": _finite(rank.last_loss),
            }
            for rank in summary.ranks
        ]
    if snapshot is None:
        return data
    header = snapshot.header
    data |= {
        "family": header.family,
        "stride": header.stride,
        "ensemble": header.ensemble,
        "ensemble_varies": header.ensemble_varies,
        "marginal": header.marginal,
        "alerts": [
            ({"rank": log.rank} if summary.ranks else {})
            | {
                "kind": alert.kind,
                "layer": alert.layer,
                "start": alert.start,
                "end": alert.end,
                "step": alert.step,
                "severity": alert.severity,
                "p_value": _finite(alert.p_value),
                "message": alert.message,
            }
            for log in summary.logs
            for alert in log.flagged
        ],
        "alerts_searched_to": summary.alerts_searched_to,
        "valid_intervals": [
            {"layer": interval.layer, "start": interval.start, "end": interval.end}
            for interval in snapshot.valid_intervals
        ],
    }
    step, layers = _temperatures(snapshot)
    if layers:
        data["temperatures"] = {
            "step": step,
            "unit": "nats",
            "layers": [
                {"layer": name, "value": _finite(value), "standard_error": _finite(error)}
                for name, value, error in layers
            ],
        }
    if snapshot.balance:
        data["figures"] = {
            figure.name: {
                "value": _finite(figure.value),
                "standard_error": _finite(figure.standard_error),
                "unit": figure.unit,
                "kind": figure.kind,
            }
            for figure in snapshot.balance.figures
        }
        data["adds_up"] = snapshot.balance.adds_up
    return data
