"""The runs at the left: how each is, how far, how long since its last row, and the worst that happened to it."""

from __future__ import annotations

import math

from thermotui.analysis.format import format_duration
from thermotui.analysis.run_state import RunSummary
from thermotui.tui.widgets.columns import Cell, Column, Role, Row
from thermotui.tui.widgets.table import Table

STATE_SIGNS: dict[str, tuple[str, Role]] = {
    "empty": ("·", "muted"),
    "starting": ("◦", "accent"),
    "running": ("●", "good"),
    "finished": ("✓", "plain"),
    "failed": ("✗", "critical"),
    "interrupted": ("■", "warning"),
    "stalled": ("◌", "warning"),
    "crashed": ("✗", "critical"),
    "deleted": ("⌫", "muted"),
    "unreadable": ("?", "critical"),
}
ASCII_SIGNS = dict(zip(STATE_SIGNS, ".o*=XI~XD?", strict=True))
SEVERITY_SIGNS: dict[str | None, str] = {None: "", "minor": "·", "warning": "!", "critical": "‼"}


def state_cell(summary: RunSummary, ascii_only: bool = False) -> Cell:
    """The sign of a run's state, coloured; one cell wide."""
    sign, role = STATE_SIGNS[summary.state]
    return Cell(ASCII_SIGNS[summary.state] if ascii_only else sign, role)


def progress_cell(summary: RunSummary) -> Cell:
    """Progress in percent, or the step where the plan is unknown."""
    if summary.problem:
        return Cell("")
    if math.isnan(summary.progress):
        return Cell(short_count(summary.step))
    return Cell(f"{100 * summary.progress:.0f}%")


def age_cell(summary: RunSummary) -> Cell:
    """Time since the last sign of life of a run that should be alive; nothing to say about one that has ended."""
    if summary.problem or summary.state in ("finished", "failed", "interrupted"):
        return Cell("")
    if not summary.age >= 5:
        return Cell("now", "muted")
    return Cell(format_duration(summary.age), "warning" if summary.state == "stalled" else "muted")


def alert_cell(summary: RunSummary, ascii_only: bool = False) -> Cell:
    """The worst alert, with the number of alerts up to 99."""
    if summary.worst is None:
        return Cell("")
    sign = SEVERITY_SIGNS[summary.worst]
    if ascii_only:
        sign = {"·": "-", "!": "!", "‼": "!!"}[sign]
    return Cell(f"{sign}{min(summary.alerts, 99)}", summary.worst)


def short_count(count: int) -> str:
    """`999`, `12.3k`, `4.56M`: at most five cells."""
    for limit, suffix in ((10**9, "G"), (10**6, "M"), (10**4, "k")):
        if count >= limit:
            scaled = count / (1000 if suffix == "k" else limit)
            return f"{scaled:.3g}{suffix}"
    return str(count)


def _blank(count: int) -> tuple[Cell, ...]:
    return (Cell(""),) * count


class RunList(Table, can_focus=False):
    """The list of runs, narrow. `summaries` are shown in the order given."""

    DEFAULT_CSS = """
    RunList {
        height: 1fr; border-right: vkey $panel;
        & > .table--cursor { color: $block-cursor-foreground; background: $block-cursor-background; }
    }
    """

    def __init__(self, id: str | None = None) -> None:
        columns = (
            Column("", 1),
            Column("run", cut="middle"),
            Column("", 5, "right", fit=True),
            Column("", 3, "right", fit=True),
        )
        super().__init__(columns, empty="no runs", id=id)

    def show_runs(self, arranged: tuple[tuple[str, RunSummary], ...], marked: frozenset[str], ascii_only: bool) -> None:
        """Show these runs in this order, each group below its heading."""
        rows, before = [], ""
        for heading, summary in arranged:
            if heading != before:
                rows.append(Row(f"group {heading}", (*_blank(1), Cell(heading, "accent"), *_blank(2)), heading=True))
                before = heading
            name = Cell(("+" if summary.path in marked else "") + summary.name)
            cells = (state_cell(summary, ascii_only), name, self._how_far(summary), alert_cell(summary, ascii_only))
            rows.append(Row(summary.path, cells))
        self.rows = tuple(rows)

    @staticmethod
    def _how_far(summary: RunSummary) -> Cell:
        """Progress while rows come, and how long they have not come once that is what matters."""
        age = age_cell(summary)
        return progress_cell(summary) if age.text in ("", "now") else Cell(age.text.replace(" ", ""), age.role)
