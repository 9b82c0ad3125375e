"""All runs at a glance: state, progress, rate, age of the last row, tiny curves of loss and heat, worst alert."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from textual.app import ComposeResult

from thermotui.analysis.format import format_duration, format_value
from thermotui.analysis.panels import PANELS, Panel, fields_of
from thermotui.analysis.run_state import RunSummary
from thermotui.analysis.snapshot import Query
from thermotui.tui.charts.chart import Chart
from thermotui.tui.charts.view import StepView
from thermotui.tui.panels import chart_of
from thermotui.tui.views.view import Look, View
from thermotui.tui.widgets.backdrop import PlainGrid
from thermotui.tui.widgets.columns import Cell, Column, Row
from thermotui.tui.widgets.run_list import age_cell, alert_cell, progress_cell, short_count, state_cell
from thermotui.tui.widgets.table import Table

BLOCKS, ASCII_BLOCKS = "▁▂▃▄▅▆▇█", "_.-=+*#@"
SPARK_WIDTH = 16
NAME_WIDTH = 40
PREVIEW = tuple(panel for panel in PANELS if panel.name in ("loss", "heat_work", "entropy_production", "information"))
"""Panels of the selected run below the table, the first two at least."""
PREVIEW_HEIGHT, TALL = 8, 20
"""Rows that the preview needs at least, and those from which on it has two rows of panels."""
ROOMY = 36
"""Rows from which on a list of any length leaves the preview its place."""
COLUMNS = (
    Column("", 1),
    Column("run", NAME_WIDTH, cut="middle", fit=True),
    Column("state", fit=True),
    Column("step", 0, "right", fit=True, last=2),
    Column("", 0, "right", fit=True),
    Column("last row", 0, "right", fit=True, last=1),
    Column("alerts", 0, "right", fit=True),
    Column("loss [nats]", 0, "right", fit=True, last=3),
    Column("", SPARK_WIDTH, last=4),
    Column("heat", SPARK_WIDTH, last=5),
    Column("rate", 0, "right", fit=True, last=6),
    Column("family", NAME_WIDTH // 2, fit=True, last=7),
    Column("", last=8),
)


def spark(values: NDArray[np.float64], width: int = SPARK_WIDTH, *, ascii_only: bool = False) -> str:
    """Values as one line of blocks between their smallest and largest; `?` where a value is not finite."""
    if not values.size:
        return ""
    blocks = ASCII_BLOCKS if ascii_only else BLOCKS
    groups = np.array_split(values, min(width, values.size))
    finite = values[np.isfinite(values)]
    if not finite.size:
        return "?" * len(groups)
    low, extent = float(finite.min()), float(np.ptp(finite)) or 1.0
    signs = []
    for group in groups:
        # The value furthest from the middle: a spike in either direction stays visible.
        known = group[np.isfinite(group)]
        if known.size < group.size:
            signs.append("?")
            continue
        place = (known - low) / extent
        furthest = float(place[np.argmax(np.abs(place - 0.5))])
        signs.append(blocks[min(int(furthest * len(blocks)), len(blocks) - 1)])
    return "".join(signs)


class OverviewView(View):
    """A table of the workspace, and below it, where there is room, the selected run's first panels."""

    focused_first = "#overview-table"
    DEFAULT_CSS = """
    OverviewView {
        layout: vertical;
        & > Table { height: auto; }
        & > Grid { height: 1fr; grid-gutter: 0 1; grid-size: 2 1; margin-top: 1; }
        & > Grid > Chart { height: 1fr; }
    }
    """

    def __init__(self, steps: StepView, id: str | None = None) -> None:
        super().__init__(id=id)
        self._steps = steps
        self._previewed: tuple[Panel, ...] | None = None

    def compose(self) -> ComposeResult:
        """The table, and the preview."""
        yield Table(COLUMNS, empty="no runs", id="overview-table")
        with PlainGrid():
            for panel in PREVIEW:
                yield Chart(view=self._steps, id=f"preview-{panel.name}")

    def ask(self, query: Query) -> Query:
        """The columns of the preview."""
        return replace(query, fields=fields_of(self._previewed or ()))

    def on_resize(self) -> None:
        """Share the height out anew."""
        self._arrange()

    def watch_summaries(self) -> None:
        """Show what is new."""
        self._fill()
        self._arrange()

    def watch_snapshots(self) -> None:
        """Draw what is new of the selected run."""
        self._draw()

    def watch_selected(self) -> None:
        """The cursor is on the selected run."""
        self.query_one(Table).cursor = self.selected

    def watch_look(self, look: Look) -> None:
        """Draw in another way."""
        for chart in self.query(Chart):
            chart.mode, chart.scale = look.mode, look.scale_of()
        self._fill()

    def _arrange(self) -> None:
        height, grid = self.size.height, self.query_one(PlainGrid)
        left = max(height - len(self.summaries) - 2, height * 2 // 5 if height >= ROOMY else 0)
        shown = () if left < PREVIEW_HEIGHT else PREVIEW if left >= TALL else PREVIEW[:2]
        self.query_one(Table).styles.max_height = height - left - 1 if shown else height
        if shown == self._previewed:
            return
        self._previewed = shown
        grid.display = bool(shown)
        grid.styles.grid_size_rows = max(1, len(shown) // 2)
        for panel in PREVIEW:
            self.query_one(f"#preview-{panel.name}").display = panel in shown
        self.post_message(self.Asks())
        self._draw()

    def _draw(self) -> None:
        for panel in self._previewed or ():
            chart = self.query_one(f"#preview-{panel.name}", Chart)
            chart.data = None if self.snapshot is None else chart_of(panel, self.snapshot)

    def _fill(self) -> None:
        table = self.query_one(Table)
        table.rows = tuple(Row(summary.path, self._cells(summary)) for summary in self.summaries)
        table.cursor = self.selected

    def _cells(self, summary: RunSummary) -> tuple[Cell, ...]:
        ascii_only = self.look.mode == "ascii"
        steps = f"{short_count(summary.step)}/{short_count(summary.steps)}" if summary.steps else str(summary.step)
        rate = "" if math.isnan(summary.rate) or not summary.live else f"{summary.rate:.3g}/s"
        return (
            state_cell(summary, ascii_only),
            Cell(summary.name),
            Cell(summary.state),
            Cell("" if summary.problem else steps),
            progress_cell(summary) if summary.steps else Cell(""),
            age_cell(summary) if summary.live else Cell(_age(summary), "muted"),
            alert_cell(summary, ascii_only),
            Cell("" if math.isnan(summary.last_loss) else format_value(summary.last_loss)),
            Cell(spark(summary.loss, ascii_only=ascii_only), "accent"),
            Cell(spark(summary.heat, ascii_only=ascii_only), "minor"),
            Cell(rate),
            Cell(summary.family),
            Cell(summary.problem or summary.message, "muted"),
        )


def _age(summary: RunSummary) -> str:
    return "" if math.isnan(summary.age) else format_duration(summary.age)
