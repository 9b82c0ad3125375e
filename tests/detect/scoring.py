"""Scores of detectors on labelled curves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from tests.detect.curves import Curve, Label
from thermotui.detect.alert import Alert

BEFORE = {"temperature_drift": 150, "temperature_jump": 40}
BEFORE_OTHERS = 20
AFTER = {"temperature_drift": 300, "coloured_noise": 300, "temperature_jump": 200}
AFTER_OTHERS = 80


def window(label: Label) -> tuple[int, int]:
    """Where an alert that names this label's disturbance may begin."""
    return label.start - BEFORE.get(label.kind, BEFORE_OTHERS), label.end + AFTER.get(label.kind, AFTER_OTHERS)


@dataclass
class Score:
    """Counts of hits, misses and false alarms, and the delays of the first alarms, by the kind of disturbance."""

    hits: dict[str, int] = field(default_factory=dict)
    misses: dict[str, int] = field(default_factory=dict)
    false: dict[str, int] = field(default_factory=dict)
    delays: dict[str, list[int]] = field(default_factory=dict)

    def f1(self, kinds: Iterable[str] | None = None) -> float:
        """F1 over those kinds (all by default)."""
        chosen = set(self.hits) | set(self.misses) | set(self.false) if kinds is None else set(kinds)
        hits, misses, false = (
            sum(counts.get(kind, 0) for kind in chosen) for counts in (self.hits, self.misses, self.false)
        )
        return 2 * hits / max(2 * hits + misses + false, 1)


def add(score: Score, curve: Curve, alerts: Sequence[Alert], *, kind_aware: bool) -> None:
    """Count one curve. Minor alerts are neither hits nor false alarms. Steps are sample indices."""
    alarms = [alert for alert in alerts if alert.severity != "minor"]
    used: set[tuple[str, int, int]] = set()
    for label in curve.labels:
        first, last = window(label)
        found = [
            alert
            for alert in alarms
            if first <= alert.start <= last and alert.step >= first
            and (not kind_aware or alert.kind == label.kind)
        ]  # fmt: skip
        used |= {alert.key for alert in found}
        counts = score.hits if found else score.misses
        counts[label.kind] = counts.get(label.kind, 0) + 1
        if found:
            score.delays.setdefault(label.kind, []).append(min(max(a.step - label.start, 0) for a in found))
    for alert in alarms:
        if alert.key not in used:
            score.false[alert.kind] = score.false.get(alert.kind, 0) + 1


def median_delay(score: Score, kind: str) -> float:
    """Median delay in samples of the first alarm of that kind of disturbance."""
    return float(np.median(score.delays[kind])) if score.delays.get(kind) else float("nan")
