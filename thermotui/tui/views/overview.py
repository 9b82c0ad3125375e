"""All runs at a glance: state, progress, rate, age of the last row, tiny curves of loss and heat, worst alert."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from textual.app import ComposeResult

from thermotui.analysis.format import format_duration, format_value
from thermotui.analysis.run_state import RunSummary
from thermotui.tui.views.view import Look, View
from thermotui.tui.widgets.columns import Cell, Column, Row
from thermotui.tui.widgets.run_list import age_cell, alert_cell, progress_cell, short_count, state_cell
from thermotui.tui.widgets.table import Table

BLOCKS, ASCII_BLOCKS = "▁▂▃▄▅▆▇█", "_.-=+*#@"
SPARK_WIDTH = 16
WITH_CURVES, WITH_RATES = 104, 126
"""Widths from which on there is room for the tiny curves, and for rate and family too."""


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
    """A wide table of the workspace."""

    focused_first = "#overview-table"
    DEFAULT_CSS = "OverviewView { layout: vertical; & > Table { height: 1fr; } }"

    def compose(self) -> ComposeResult:
        """One table."""
        yield Table(self._columns(0), empty="no runs", id="overview-table")

    @staticmethod
    def _columns(width: int) -> tuple[Column, ...]:
        columns = [
            Column("", 1),
            Column("run"),
            Column("state", 11),
            Column("step", 13, "right"),
            Column("", 4, "right"),
            Column("last row", 8, "right"),
            Column("alerts", 6, "right"),
        ]
        if width >= WITH_CURVES:
            columns += [Column("loss", 8, "right"), Column("", SPARK_WIDTH), Column("heat", SPARK_WIDTH)]
        if width >= WITH_RATES:
            columns += [Column("rate", 8, "right"), Column("family", 11)]
        return tuple(columns)

    def on_resize(self) -> None:
        """More columns where there is room."""
        self._fill()

    def watch_summaries(self) -> None:
        """Show what is new."""
        self._fill()

    def watch_selected(self) -> None:
        """The cursor is on the selected run."""
        self.query_one(Table).cursor = self.selected

    def watch_look(self, look: Look) -> None:
        """Draw in another way."""
        self._fill()

    def _fill(self) -> None:
        table = self.query_one(Table)
        columns = self._columns(self.size.width)
        table.show(columns, tuple(Row(summary.path, self._cells(summary)) for summary in self.summaries))
        table.cursor = self.selected

    def _cells(self, summary: RunSummary) -> tuple[Cell, ...]:
        ascii_only = self.look.mode == "ascii"
        steps = f"{short_count(summary.step)}/{short_count(summary.steps)}" if summary.steps else str(summary.step)
        why = summary.problem or summary.message
        cells = [
            state_cell(summary, ascii_only),
            Cell(f"{summary.name}: {why}" if why else summary.name),
            Cell(summary.state),
            Cell("" if summary.problem else steps),
            progress_cell(summary),
            age_cell(summary) if summary.live else Cell(format_duration(summary.age), "muted"),
            alert_cell(summary, ascii_only),
        ]
        if self.size.width >= WITH_CURVES:
            cells += [
                Cell("" if math.isnan(summary.last_loss) else format_value(summary.last_loss)),
                Cell(spark(summary.loss, ascii_only=ascii_only), "accent"),
                Cell(spark(summary.heat, ascii_only=ascii_only), "minor"),
            ]
        if self.size.width >= WITH_RATES:
            rate = "" if math.isnan(summary.rate) or not summary.live else f"{summary.rate:.3g}/s"
            cells += [Cell(rate), Cell(summary.family)]
        return tuple(cells)
