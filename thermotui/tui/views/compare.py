"""Up to eight runs over each other, aligned by step or by time; entropy productions only at one stride."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from rich.text import Text
from textual.app import ComposeResult
from textual.widgets import Static

from thermotui.analysis.format import printable
from thermotui.analysis.panels import Line, Panel
from thermotui.analysis.snapshot import Query, RunSnapshot
from thermotui.runlog.schema import STREAMS
from thermotui.tui.charts.cells import palette_of
from thermotui.tui.charts.chart import Chart
from thermotui.tui.charts.model import ChartData, SeriesData
from thermotui.tui.charts.view import StepView
from thermotui.tui.panels import series_of
from thermotui.tui.views.view import Align, Look, View
from thermotui.tui.widgets.backdrop import PlainGrid

MAXIMUM_RUNS = 8
STRIDE_BOUND = ("work", "heat", "ep_conditional", "ep_marginal", "m_info", "learning_efficiency")
"""Figures that change with the stride: those of different strides are figures of different processes."""


def _compared(name: str, title: str, stream: str, field: str, error: str = "") -> Panel:
    return Panel(name, title, stream, (Line(field, title, error),))


COMPARED: tuple[Panel, ...] = (
    _compared("loss", "Loss", "steps", "loss", "loss_spread"),
    _compared("accuracy", "Accuracy", "steps", "accuracy", "accuracy_spread"),
    _compared("heat", "Heat Q", "thermo", "heat", "heat_se"),
    _compared("ep_conditional", "Conditional EP Σ X|Θ", "thermo", "ep_conditional", "ep_conditional_se"),
    _compared("ep_marginal", "Marginal EP Σ X", "thermo", "ep_marginal", "ep_marginal_se"),
    _compared("l_info_lower", "L-info, lower bound", "thermo", "l_info_lower", "l_info_lower_se"),
)


HEAT = next(panel for panel in COMPARED if panel.name == "heat")


def comparable(panel: Panel, snapshots: Sequence[RunSnapshot]) -> tuple[list[RunSnapshot], str]:
    """The runs that may share a chart, and why the others are left out; empty where none is.

    Figures that depend on the stride are drawn only of runs with the stride of the first.
    """
    if panel.lines[0].field not in STRIDE_BOUND:
        return list(snapshots), ""
    stride = snapshots[0].header.stride
    left_out = [f"{snapshot.summary.name} ({snapshot.header.stride})" for snapshot in snapshots[1:]
                if snapshot.header.stride != stride]  # fmt: skip
    kept = [snapshot for snapshot in snapshots if snapshot.header.stride == stride]
    return kept, f"not shown, other stride: {', '.join(left_out)}" if left_out else ""


def overlay(panel: Panel, snapshots: Sequence[RunSnapshot], roles: dict[str, str], align: Align) -> ChartData:
    """The panel with a curve for each run."""
    kept, _ = comparable(panel, snapshots)
    series = []
    for snapshot in kept:
        overview = snapshot.curves.get(panel.stream)
        line = panel.lines[0]
        if overview is None or line.field not in overview.mean or not np.isfinite(overview.mean[line.field]).any():
            continue
        x = None
        if align == "time":
            if "time" not in overview.mean:
                continue
            x = np.asarray(overview.minimum["time"], dtype=np.float64) - snapshot.header.created
        name, by_step = snapshot.summary.name, align == "step"
        curve = series_of(snapshot, panel.stream, line, roles[snapshot.path], name, x, by_step=by_step)
        series.append(curve)
    notes = [f"stride {kept[0].header.stride}"] if panel.lines[0].field in STRIDE_BOUND else []
    return ChartData(
        title=panel.title,
        unit=STREAMS[panel.stream].field(panel.lines[0].field).unit,
        series=tuple(series),
        x_range=_extent(series),
        x_label="step" if align == "step" else "second",
        growing=any(snapshot.summary.live for snapshot in kept),
        totals=panel.totals,
        notes=tuple(notes),
    )


def _extent(series: Sequence[SeriesData]) -> tuple[float, float] | None:
    ends = [(float(each.x[0]), float(each.x[-1])) for each in series if each.x.size]
    return (min(0.0, *(first for first, _ in ends)), max(last for _, last in ends)) if ends else None


class CompareView(View):
    """Charts that overlay the selected run and the marked ones, with one legend of stable colours."""

    DEFAULT_CSS = """
    CompareView {
        layout: vertical;
        & > #legend { height: auto; max-height: 3; }
        & > Grid { grid-gutter: 0 1; height: 1fr; }
        & > Grid > Chart { height: 1fr; }
    }
    """

    def __init__(self, steps: StepView, id: str | None = None) -> None:
        super().__init__(id=id)
        self._steps = steps
        self._seconds = StepView()
        self._roles: dict[str, str] = {}

    def compose(self) -> ComposeResult:
        """Legend and charts."""
        yield Static(id="legend")
        with PlainGrid():
            for panel in COMPARED:
                yield Chart(view=self._steps, id=f"compare-{panel.name}")

    several = True

    def on_resize(self) -> None:
        """Columns by width."""
        grid = self.query_one(PlainGrid)
        columns = 1 if self.size.width < 60 else 2
        grid.styles.grid_size_columns = columns
        rows = max(1, min(len(COMPARED) // columns, self.size.height // 6))
        grid.styles.grid_size_rows = rows
        for index, panel in enumerate(COMPARED):
            self.query_one(f"#compare-{panel.name}").display = index < rows * columns

    def ask(self, query: Query) -> Query:
        """All compared columns, with the time of each row for alignment by time."""
        fields: dict[str, list[str]] = {}
        for panel in COMPARED:
            fields.setdefault(panel.stream, ["time"]).extend(panel.fields)
        steps = query.steps if self.look.align == "step" else None
        return replace(query, fields=tuple((stream, tuple(names)) for stream, names in fields.items()), steps=steps)

    def watch_snapshots(self) -> None:
        """Draw what is new."""
        self._update()

    def watch_look(self, old: Look, look: Look) -> None:
        """Draw in another way; by time, the x axis is another one."""
        for chart in self.query(Chart):
            chart.mode, chart.scale = look.mode, look.scale_of()
            if old.align != look.align:
                chart.link(self._steps if look.align == "step" else self._seconds)
        if old.align != look.align:
            self._update()
            self.post_message(self.Asks())

    def _role(self, path: str) -> str:
        """A run keeps its colour while it is compared."""
        if path not in self._roles:
            taken = set(self._roles.values())
            free = (f"series_{index}" for index in range(1, MAXIMUM_RUNS + 1))
            self._roles[path] = next((role for role in free if role not in taken), "series_8")
        return self._roles[path]

    def _show_legend(self, runs: tuple[RunSnapshot, ...], roles: dict[str, str], align: Align) -> None:
        colours = palette_of(self.app).colours
        mark = "-" if self.look.mode == "ascii" else "━━"
        legend = Text(f"by {align}", "dim")
        for snapshot in runs:
            legend.append(f"  {mark} ", colours[roles[snapshot.path]])
            legend.append(printable(snapshot.summary.name))
        if len(runs) < 2:
            legend.append("  mark other runs with m to compare them")
        _, remark = comparable(HEAT, runs) if runs else ([], "")
        if remark:
            legend.append(f"\nWork, heat and entropy productions: {printable(remark)}", "bold")
        self.query_one("#legend", Static).update(legend)

    def _update(self) -> None:
        runs = self.snapshots[:MAXIMUM_RUNS]
        shown = {snapshot.path for snapshot in runs}
        self._roles = {path: role for path, role in self._roles.items() if path in shown}
        roles = {snapshot.path: self._role(snapshot.path) for snapshot in runs}
        align = self.look.align
        self._show_legend(runs, roles, align)
        for panel in COMPARED:
            chart = self.query_one(f"#compare-{panel.name}", Chart)
            chart.data = overlay(panel, runs, roles, align) if runs else None
