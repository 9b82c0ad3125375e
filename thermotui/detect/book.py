"""The book of alerts: one entry a key, and what changed since it was last asked."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from typing import Any

from thermotui.detect.alert import Alert, Severity


class AlertBook:
    """Keeps the latest version of every alert and collects the changes. Detectors write, the monitor reads."""

    def __init__(self) -> None:
        self._alerts: dict[tuple[str, int, int], Alert] = {}
        self._last: dict[tuple[str, int], Alert] = {}
        self._changed: dict[tuple[str, int, int], Alert] = {}

    @property
    def alerts(self) -> tuple[Alert, ...]:
        """The latest version of each alert that was not withdrawn, by the step at which it was raised."""
        return tuple(sorted((a for a in self._alerts.values() if not a.withdrawn), key=lambda a: (a.step, a.start)))

    def latest(self, kind: str, layer: int = -1) -> Alert | None:
        """The alert of that kind and layer that was written last."""
        return self._last.get((kind, layer))

    def open(
        self,
        kind: str,
        start: int,
        step: int,
        severity: Severity,
        message: str,
        *,
        layer: int = -1,
        end: int | None = None,
        p_value: float = math.nan,
        merge_from: int | None = None,
    ) -> Alert:
        """Raise an alert; one of the same kind and layer that lasts, or ended at `merge_from` or later, goes on."""
        before = self.latest(kind, layer)
        if before is not None and not before.withdrawn:
            lasting = before.end is None
            near = before.end is not None and before.end >= (start if merge_from is None else merge_from)
            if lasting or near or before.start == start:
                return self._write(replace(before, end=end, severity=_graver(before.severity, severity)))
        return self._write(Alert(kind, layer, start, end, step, severity, p_value, message))

    def close(self, alert: Alert, end: int, *, message: str | None = None, severity: Severity | None = None) -> Alert:
        """End an alert at `end` (the first step after it)."""
        return self._write(
            replace(
                alert,
                end=max(end, alert.start + 1),
                message=alert.message if message is None else message,
                severity=alert.severity if severity is None else severity,
            )
        )

    def withdraw(self, alert: Alert, message: str) -> None:
        """Take an alert back, saying why."""
        self._write(replace(alert, end=alert.start, message=message))

    def take_changes(self) -> list[Alert]:
        """What was raised, ended or withdrawn since the last call, each once, in its latest version."""
        changed = list(self._changed.values())
        self._changed.clear()
        return changed

    def _write(self, alert: Alert) -> Alert:
        self._alerts[alert.key] = alert
        self._last[alert.kind, alert.layer] = alert
        self._changed[alert.key] = alert
        return alert

    def state_dict(self) -> dict[str, Any]:
        """JSON-able: the alerts in the order in which they were last written."""
        return {"alerts": [asdict(alert) for alert in self._alerts.values()]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        for known in (self._alerts, self._last):
            known.clear()
        for values in state["alerts"]:
            self._write(Alert(**values))
        self._changed.clear()


def _graver(one: Severity, other: Severity) -> Severity:
    order: tuple[Severity, ...] = ("minor", "warning", "critical")
    return max(one, other, key=order.index)
