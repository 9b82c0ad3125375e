"""Pictures of a run for papers and mails, drawn by matplotlib (the extra `plot`) from the same panels as the screen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from thermotui.analysis.monitoring import AlertFollower
from thermotui.analysis.panels import PANELS, Panel
from thermotui.detect.alert import KINDS, Alert
from thermotui.detect.intervals import Interval, breaks_interval
from thermotui.errors import InputError
from thermotui.runlog.exchange.selection import new_output
from thermotui.runlog.reader import RunLogReader
from thermotui.runlog.schema import STREAMS, Header

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FORMATS = ("png", "svg", "pdf")
TEMPERATURE = "temperature"
"""The name of the panel of temperatures by layer, beside those of `PANELS`."""
BUCKETS = 1200
"""Buckets a curve is drawn from: more than a picture has pixels across a panel."""


def panel_names() -> tuple[str, ...]:
    """The panels that can be drawn."""
    return (*(panel.name for panel in PANELS), TEMPERATURE)


def draw_run(
    log: RunLogReader, names: Sequence[str], steps: tuple[int, int] | None, output: Path, *, force: bool = False
) -> None:
    """Draw the panels `names` of one run (empty: all that hold data) to `output`.

    steps: the range [first, last] of optimizer steps, None for all. Raises InputError for an unknown panel or format,
    for panels without data, where matplotlib is not installed, where `output` exists and `force` is not set, and where
    it cannot be written; nothing is written then.
    """
    kind = output.suffix.removeprefix(".").lower()
    if kind not in FORMATS:
        raise InputError(f"{output}: a picture's name ends in {', '.join('.' + name for name in FORMATS)}")
    unknown = [name for name in names if name not in panel_names()]
    if unknown:
        raise InputError(f"--panel {unknown[0]} is no panel; the panels are {', '.join(panel_names())}")
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InputError("plot needs matplotlib: install it with `pip install matplotlib`") from error

    chosen = list(names) or [name for name in panel_names() if _has_data(log, name)]
    if not chosen:
        raise InputError(f"{log.path} holds no rows to draw yet")
    state = log.state()
    follower = AlertFollower(log.header)
    while not follower.follow(log, state):
        pass
    columns = 1 if len(chosen) == 1 else 2
    lines = -(-len(chosen) // columns)
    figure = Figure(figsize=(6.4 * columns, 3.0 * lines), layout="constrained")
    FigureCanvasAgg(figure)
    panels = {panel.name: panel for panel in PANELS}
    for index, name in enumerate(chosen):
        axes = figure.add_subplot(lines, columns, index + 1)
        if name == TEMPERATURE:
            _draw_temperature(axes, log, steps)
        else:
            _draw_panel(axes, log, panels[name], steps)
        _draw_intervals(axes, follower.valid_intervals(state.step), follower.alerts)
        axes.set_xlabel("step")
        if steps:
            axes.set_xlim(*steps)
    figure.suptitle(_title(log.header))
    with new_output(output, force) as temporary:
        figure.savefig(temporary, dpi=150, format=kind)


def _title(header: Header) -> str:
    mixture = f", p̄ over the {header.marginal}" if header.marginal != "none" else ""
    return f"{header.family} {header.run_id[:8]}: K = {header.ensemble}, stride {header.stride}{mixture}"


def _has_data(log: RunLogReader, name: str) -> bool:
    panel = next((panel for panel in PANELS if panel.name == name), None)
    stream, field = (panel.stream, panel.lines[0].field) if panel else ("reservoir", "temperature")
    rows = log.length(stream)
    return rows > 0 and bool(np.isfinite(log.overview(stream, [field], 0, rows, 64).mean[field]).any())


def _overview(log: RunLogReader, stream: str, fields: Sequence[str], steps: tuple[int, int] | None) -> Any:
    start, stop = (0, log.length(stream)) if steps is None else log.row_range(stream, *steps)
    if stop <= start:
        raise InputError(f"{log.path}: no rows of {stream} in steps {steps}")
    return log.overview(stream, fields, start, stop, BUCKETS)


def _draw_panel(axes: Axes, log: RunLogReader, panel: Panel, steps: tuple[int, int] | None) -> None:
    overview = _overview(log, panel.stream, panel.fields, steps)
    for line in panel.lines:
        mean = np.asarray(overview.mean[line.field], dtype=float)
        if not np.isfinite(mean).any():
            continue
        (curve,) = axes.plot(overview.step_first, mean, label=line.label, linewidth=1.2)
        if line.error:
            error = np.nan_to_num(np.asarray(overview.mean[line.error], dtype=float))
            axes.fill_between(overview.step_first, mean - error, mean + error, alpha=0.25, color=curve.get_color())
        # The extremes within a bucket: a spike of one step stays visible however far the picture is zoomed out.
        low, high = (np.asarray(side[line.field], dtype=float) for side in (overview.minimum, overview.maximum))
        axes.fill_between(overview.step_first, low, high, alpha=0.25, color=curve.get_color(), linewidth=0)
    unit = STREAMS[panel.stream].field(panel.lines[0].field).unit
    stride = f", stride {log.header.stride}" if panel.stream == "thermo" else ""
    axes.set_title(f"{panel.title}{stride}", fontsize="medium")
    axes.set_ylabel(unit)
    axes.legend(fontsize="small", frameon=False)


def _draw_temperature(axes: Axes, log: RunLogReader, steps: tuple[int, int] | None) -> None:
    overview = _overview(log, "reservoir", ["temperature", "temperature_se"], steps)
    for index, layer in enumerate(log.header.layers):
        mean, error = (
            np.asarray(overview.mean[name][:, index], dtype=float) for name in ("temperature", "temperature_se")
        )
        (curve,) = axes.plot(overview.step_first, mean, label=layer.name, linewidth=1.2)
        axes.fill_between(overview.step_first, mean - error, mean + error, alpha=0.2, color=curve.get_color())
    axes.set_yscale("log")
    axes.set_title("Reservoir temperature k_B T by layer", fontsize="medium")
    axes.set_ylabel("nats")
    axes.legend(fontsize="small", frameon=False, ncols=2)


def _draw_intervals(axes: Axes, valid: Sequence[Interval], alerts: Sequence[Alert]) -> None:
    """Valid reservoir intervals as a line along the bottom, alerts that break one as ticks above it."""
    foot = axes.get_xaxis_transform()
    for interval in valid:
        if interval.layer == -1:
            axes.plot([interval.start, interval.end], [0, 0], transform=foot, color="tab:green", linewidth=4)
    starts = [alert.start for alert in alerts if alert.kind in KINDS and breaks_interval(alert)]
    axes.plot(starts, [0.02] * len(starts), "^", transform=foot, color="tab:red", markersize=4)
