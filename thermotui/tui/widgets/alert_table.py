"""The alerts of a run: what, where, from when to when, and the evidence."""

from __future__ import annotations

import math

from textual.reactive import reactive

from thermotui.analysis.format import words_of
from thermotui.analysis.snapshot import RunSnapshot
from thermotui.detect.alert import Alert
from thermotui.runlog.schema import Header
from thermotui.tui.attention import alert_key
from thermotui.tui.widgets.columns import Cell, Column, Row
from thermotui.tui.widgets.table import Table

NONE_YET = "no alerts"
NARROW = 40
"""Cells from which on kinds and usual names of layers stand in full."""


def layer_name(header: Header, layer: int) -> str:
    """The layer's name; the whole run for −1."""
    if layer < 0:
        return "run"
    return header.layers[layer].name if layer < len(header.layers) else f"layer {layer}"


def span_text(alert: Alert) -> str:
    """`120–480`, or `120–` while it lasts."""
    return f"{alert.start}–{'' if alert.end is None else alert.end}"


def evidence(alert: Alert) -> str:
    """The evidence in words, with its p-value where the rule is a test."""
    told = math.isnan(alert.p_value) or "p = " in alert.message
    return alert.message if told else f"{alert.message} (p = {alert.p_value:.2g})"


def alert_row(alert: Alert, header: Header) -> Row:
    """The row of an alert in the short table."""
    return Row(
        alert_key(alert),
        (
            Cell(words_of(alert.kind), alert.severity),
            Cell(layer_name(header, alert.layer)),
            Cell(span_text(alert)),
            Cell(evidence(alert), "muted"),
        ),
    )


def _columns(width: int) -> tuple[Column, ...]:
    return (
        Column("Alerts", 18 if width >= NARROW else 10, cut="middle", fit=True),
        Column("layer", 16 if width >= NARROW else 8, cut="middle", fit=True),
        Column("steps", 15, fit=True, last=1),
        Column("evidence", last=2),
    )


class AlertTable(Table):
    """The newest alerts first: kind, layer, interval and, where there is room, the evidence."""

    snapshot: reactive[RunSnapshot | None] = reactive(None, repaint=False, always_update=True)
    snoozed: reactive[frozenset[str]] = reactive(frozenset(), repaint=False)
    """Keys of the alerts of this run that are not shown."""

    def __init__(self, id: str | None = None) -> None:
        super().__init__(_columns(NARROW), empty=NONE_YET, id=id)

    def on_resize(self) -> None:
        """Kinds are cut where nothing else would have room."""
        self.show(_columns(self.size.width), self.rows)

    def watch_snapshot(self, snapshot: RunSnapshot | None) -> None:
        """Show the alerts of a run."""
        if snapshot is None:
            self.rows = ()
        else:
            shown = (alert for alert in reversed(snapshot.alerts) if alert_key(alert) not in self.snoozed)
            self.rows = tuple(alert_row(alert, snapshot.header) for alert in shown)

    def watch_snoozed(self) -> None:
        """Show others."""
        self.watch_snapshot(self.snapshot)
