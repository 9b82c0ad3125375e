"""Which alerts still ask for attention: those neither acknowledged nor snoozed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

from thermotui.analysis.run_state import RunSummary
from thermotui.detect.alert import SEVERITIES, Alert

SNOOZE_MINUTES = 30


class Snooze(NamedTuple):
    """An alert hidden until the time `until` (seconds since 1970), or until a later one of its kind in that run.

    latest: step at which the newest alert of the kind had been raised when this one was snoozed.
    """

    path: str
    key: str
    kind: str
    until: float
    latest: int


def alert_key(alert: Alert) -> str:
    """A row key made of what the beginning and end of an alert share."""
    return f"{alert.kind}/{alert.layer}/{alert.start}"


def acknowledgement(path: str, alert: Alert) -> str:
    """What is remembered of an acknowledged alert."""
    return f"{path}\t{alert_key(alert)}"


def snooze(path: str, alert: Alert, alerts: Iterable[Alert], now: float) -> Snooze:
    """Snooze one of the `alerts` of the run at `path`."""
    latest = max(each.step for each in (alert, *alerts) if each.kind == alert.kind)
    return Snooze(path, alert_key(alert), alert.kind, now + 60 * SNOOZE_MINUTES, latest)


def still_snoozed(snoozed: tuple[Snooze, ...], runs: Iterable[RunSummary], now: float) -> tuple[Snooze, ...]:
    """Those whose time is not over and that no later alert of their kind has ended."""
    if not snoozed:
        return snoozed
    flagged = {run.path: run.flagged for run in runs}
    return tuple(
        each
        for each in snoozed
        if now < each.until
        and not any(alert.kind == each.kind and alert.step > each.latest for alert in flagged.get(each.path, ()))
    )


def needing_attention(
    runs: Iterable[RunSummary], acknowledged: frozenset[str], snoozed: tuple[Snooze, ...]
) -> tuple[RunSummary, ...]:
    """The runs with the worst and the number of those alerts alone that are neither acknowledged nor snoozed."""
    quiet: dict[str, set[str]] = {}
    for path, key in (*(each.rsplit("\t", 1) for each in acknowledged), *((each.path, each.key) for each in snoozed)):
        quiet.setdefault(path, set()).add(key)
    return tuple(_without(run, quiet[run.path]) if run.path in quiet else run for run in runs)


def _without(run: RunSummary, quiet: set[str]) -> RunSummary:
    left = tuple(alert for alert in run.flagged if alert_key(alert) not in quiet)
    return replace(
        run,
        worst=max((alert.severity for alert in left), key=SEVERITIES.index, default=None),
        open_alerts=sum(alert.end is None for alert in left),
        alerts=len(left),
    )
