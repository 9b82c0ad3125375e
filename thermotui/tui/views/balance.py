"""The thermodynamic balance: does it add up, and what each valid interval contributed."""

from __future__ import annotations

from dataclasses import replace

from textual.app import ComposeResult

from thermotui.analysis.balance import BalanceSheet, Figure
from thermotui.analysis.format import format_value
from thermotui.analysis.panels import LABELS
from thermotui.analysis.snapshot import Query
from thermotui.tui.charts.numbers import format_compact
from thermotui.tui.views.view import View
from thermotui.tui.widgets.columns import Cell, Column, Row
from thermotui.tui.widgets.lines import Line
from thermotui.tui.widgets.table import Table

INTERVAL_FIGURES = ("work", "heat", "ep_marginal", "ep_ignorance", "learning_efficiency", "m_info")
"""By how soon they get a place."""


ROOMY = 30
"""Rows from which on the tables stand apart."""


class BalanceView(View):
    """Figures with their errors, the identities with their residuals, and a row for each valid interval."""

    DEFAULT_CSS = """
    BalanceView {
        layout: vertical;
        & > Line { text-style: bold; }
        & > #figures { height: auto; max-height: 60%; }
        & > #checks { height: auto; max-height: 30%; }
        & > #intervals { height: 1fr; min-height: 3; }
        &.-roomy > #checks, &.-roomy > #intervals { margin-top: 1; }
    }
    """

    def compose(self) -> ComposeResult:
        """Verdict, figures, checks, intervals."""
        yield Line()
        yield Table(
            (
                Column("figure", fit=True),
                Column("value ± standard error", 0, "right", fit=True),
                Column("unit", fit=True),
                Column("meaning", last=1),
            ),
            id="figures",
            empty="no physics in this log yet",
        )
        yield Table(
            (
                Column("", 3),
                Column("residual [nats]", 0, "right", fit=True),
                Column("allowed", 0, "right", fit=True),
                Column("identity"),
            ),
            id="checks",
        )
        columns = tuple(
            Column(LABELS[name], 0, "right", fit=True, last=order) for order, name in enumerate(INTERVAL_FIGURES)
        )
        yield Table(
            (Column("valid interval", fit=True), *columns),
            id="intervals",
            empty="no valid interval of the whole run yet",
        )

    def on_resize(self) -> None:
        """Blank lines between the tables where there is room."""
        self.set_class(self.size.height >= ROOMY, "-roomy")

    def ask(self, query: Query) -> Query:
        """The balance sheet."""
        return replace(query, balance=True)

    def watch_snapshots(self) -> None:
        """Show the newest balance."""
        sheet = self.snapshot.balance if self.snapshot else None
        figures, checks, intervals = (self.query_one(f"#{name}", Table) for name in ("figures", "checks", "intervals"))
        if self.snapshot is None or sheet is None:
            self.query_one(Line).parts = ("Balance",)
            figures.rows = checks.rows = intervals.rows = ()
            return
        self.query_one(Line).parts = self._verdict(sheet)
        figures.rows = tuple(Row(figure.name, _figure_cells(figure)) for figure in sheet.figures)
        checks.rows = tuple(
            Row(
                check.name,
                (
                    Cell("ok", "good") if check.holds else Cell("NO", "critical"),
                    Cell(_small(check.residual)),
                    Cell(_small(check.allowed), "muted"),
                    Cell(check.statement),
                ),
            )
            for check in sheet.checks
        )
        intervals.rows = tuple(
            Row(f"{interval.start}", (Cell(f"{interval.start}–{interval.end}"), *_gains(balance)))
            for interval, balance in self.snapshot.interval_balances
        )

    @staticmethod
    def _verdict(sheet: BalanceSheet) -> tuple[str, ...]:
        failed = sum(not check.holds for check in sheet.checks)
        verdict = "the balance adds up" if sheet.adds_up else f"{failed} of {len(sheet.checks)} checks do not hold"
        return (f"Balance at step {sheet.step}", f"stride {sheet.stride}", verdict)


def _figure_cells(figure: Figure) -> tuple[Cell, ...]:
    kind = "" if figure.kind in ("estimate", "exact") else figure.kind
    return (
        Cell(LABELS[figure.name]),
        Cell(format_value(figure.value, figure.standard_error, exact=figure.kind == "exact"), "accent"),
        Cell(figure.unit, "muted"),
        Cell(f"{kind}: {figure.description}" if kind else figure.description, "muted"),
    )


def _small(value: float) -> str:
    """A residual: two digits say all there is to say of it."""
    return format_compact(float(f"{value:.1e}"))


def _gains(balance: BalanceSheet) -> tuple[Cell, ...]:
    figures = {figure.name: figure for figure in balance.figures}
    cells = []
    for name in INTERVAL_FIGURES:
        figure = figures.get(name)
        cells.append(Cell("—" if figure is None else format_compact(figure.value, figure.standard_error)))
    return tuple(cells)
