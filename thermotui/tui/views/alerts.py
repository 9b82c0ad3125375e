"""Every alert of a run: what, where, from when to when, and the evidence in words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

from textual.app import ComposeResult
from textual.reactive import reactive
from textual.widgets import Static

from thermotui.analysis.format import printable, words_of
from thermotui.analysis.panels import PANELS, fields_of
from thermotui.analysis.snapshot import Query
from thermotui.detect.alert import KINDS, Alert
from thermotui.detect.intervals import breaks_interval
from thermotui.tui.attention import acknowledgement, alert_key
from thermotui.tui.charts.chart import Chart
from thermotui.tui.charts.view import StepView
from thermotui.tui.panels import chart_of
from thermotui.tui.views.view import Look, View
from thermotui.tui.widgets.alert_table import evidence, layer_name, span_text
from thermotui.tui.widgets.columns import Cell, Column, Row
from thermotui.tui.widgets.lines import Line
from thermotui.tui.widgets.table import Table

Choice = Literal["all", "open", "critical", "unacknowledged", "kind", "layer", "snoozed"]
CHOICES: tuple[Choice, ...] = ("all", "open", "critical", "unacknowledged", "kind", "layer", "snoozed")
LOSS = next(panel for panel in PANELS if panel.name == "loss")


class AlertsView(View):
    """The alerts with their evidence, and the loss with their marks above them."""

    DEFAULT_CSS = """
    AlertsView {
        layout: vertical;
        & > Chart { height: 30%; min-height: 5; max-height: 12; }
        & > Line { color: $text-muted; }
        & > #alerts { height: 1fr; min-height: 3; }
        & > #evidence { height: auto; max-height: 50%; border-top: solid $panel; }
    }
    """
    focused_first = "#alerts"
    CAPTION = "enter: jump to the interval · a: acknowledge · z: snooze · e: filter"

    choice: reactive[Choice] = reactive("all", init=False)

    def __init__(self, view: StepView, id: str | None = None) -> None:
        super().__init__(id=id)
        self._view = view
        self._example: Alert | None = None

    def compose(self) -> ComposeResult:
        """Chart, caption, table, evidence of the alert under the cursor."""
        yield Chart(view=self._view)
        yield Line()
        columns = (
            Column("", 1),
            Column("severity", fit=True),
            Column("kind", 24, fit=True),
            Column("layer", 24, cut="middle", fit=True),
            Column("steps", fit=True),
            Column("evidence", last=1),
        )
        yield Table(columns, empty="no alerts", id="alerts")
        yield Static(id="evidence", markup=False)

    def ask(self, query: Query) -> Query:
        """The loss; alerts come with every answer."""
        return replace(query, fields=fields_of((LOSS,)))

    def shown(self) -> tuple[Alert, ...]:
        """The alerts that the filter lets through, newest first; the snoozed ones only where it asks for them."""
        if self.snapshot is None:
            return ()
        snoozed, example = self.look.snoozed_in(self.snapshot.path), self._example
        tests: dict[Choice, Callable[[Alert], bool]] = {
            "all": lambda alert: True,
            "open": lambda alert: alert.end is None,
            "critical": lambda alert: alert.severity == "critical",
            "unacknowledged": lambda alert: not self.acknowledged(alert),
            "kind": lambda alert: example is not None and alert.kind == example.kind,
            "layer": lambda alert: example is not None and alert.layer == example.layer,
            "snoozed": lambda alert: True,
        }
        return tuple(
            alert
            for alert in reversed(self.snapshot.alerts)
            if tests[self.choice](alert) and (alert_key(alert) in snoozed) == (self.choice == "snoozed")
        )

    def current(self) -> Alert | None:
        """The alert under the cursor."""
        cursor = self.query_one("#alerts", Table).cursor
        alerts = self.snapshot.alerts if self.snapshot else ()
        return next((alert for alert in alerts if alert_key(alert) == cursor), None)

    def acknowledged(self, alert: Alert) -> bool:
        """Whether an alert of the shown run was acknowledged."""
        return self.snapshot is not None and acknowledgement(self.snapshot.path, alert) in self.look.acknowledged

    def next_choice(self) -> None:
        """The next filter; by kind and by layer take those of the alert under the cursor."""
        self._example = self.current() or self._example
        self.choice = CHOICES[(CHOICES.index(self.choice) + 1) % len(CHOICES)]

    def _filter_name(self) -> str:
        if self.snapshot is None or self._example is None or self.choice not in ("kind", "layer"):
            return self.choice
        if self.choice == "kind":
            return f"kind {words_of(self._example.kind)}"
        return f"layer {layer_name(self.snapshot.header, self._example.layer)}"

    def watch_snapshots(self) -> None:
        """Show what is new."""
        chart = self.query_one(Chart)
        chart.data = None if self.snapshot is None else chart_of(LOSS, self.snapshot)
        self._fill()

    def watch_choice(self) -> None:
        """Show others."""
        self._fill()

    def watch_look(self, look: Look) -> None:
        """Draw in another way."""
        chart = self.query_one(Chart)
        chart.mode, chart.scale = look.mode, look.scale_of()
        self._fill()

    def _fill(self) -> None:
        snapshot = self.snapshot
        shown = self.shown()
        if snapshot is not None:
            source = "recorded by the run" if snapshot.alerts_recorded else "found here, at the default settings"
            count = f"{len(shown)} of {len(snapshot.alerts)} alerts"
            self.query_one(Line).parts = (count, f"filter: {self._filter_name()}", source, self.CAPTION)
        self.query_one("#alerts", Table).rows = tuple(self._row(alert) for alert in shown)
        self._explain()

    def _row(self, alert: Alert) -> Row:
        assert self.snapshot is not None
        key = alert_key(alert)
        seen = self.acknowledged(alert)
        return Row(
            key,
            (
                Cell("x" if seen else "", "muted"),
                Cell(alert.severity, "muted" if seen else alert.severity),
                Cell(words_of(alert.kind), "muted" if seen else "plain"),
                Cell(layer_name(self.snapshot.header, alert.layer)),
                Cell(span_text(alert)),
                Cell(evidence(alert), "muted"),
            ),
        )

    def on_table_moved(self) -> None:
        """Tell all about the alert under the cursor."""
        self._explain()

    def _explain(self) -> None:
        alert = self.current()
        text = ""
        if alert is not None and self.snapshot is not None:
            known = KINDS.get(alert.kind)
            meaning = known.description if known else "of a kind that this version does not know"
            breaks = "; the reservoir assumption does not hold here" if known and breaks_interval(alert) else ""
            where = layer_name(self.snapshot.header, alert.layer)
            # The evidence first: it is what differs between two alerts of a kind.
            text = f"{where}, steps {span_text(alert)}: {evidence(alert)}\n{meaning}{breaks}."
        self.query_one("#evidence", Static).update("\n".join(printable(line) for line in text.split("\n")))
