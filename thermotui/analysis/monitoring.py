"""The alerts of a run, followed live: those that its writer recorded, or else found here from its rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from thermotui.detect.alert import KINDS, OF_STATE, Alert, Severity, alert_of_row
from thermotui.detect.intervals import Interval, valid_intervals
from thermotui.detect.settings import Settings
from thermotui.runlog.reader import RunLogReader, RunState
from thermotui.runlog.schema import STREAMS, Header

if TYPE_CHECKING:
    from thermotui.detect.monitor import RunMonitor

MONITORED = ("steps", "thermo", "reservoir", "autocorrelation")
ROWS_A_TICK = 20_000
"""Rows of a stream examined in one call: a long finished run is searched over several ticks; none waits for it."""
LAYERS_A_TICK = 5 * ROWS_A_TICK
"""The same for rows that have values of every layer, counted layer by layer."""


class AlertFollower:
    """The alerts of one run, from a log that grows. Call `follow` after each refresh of the reader."""

    def __init__(self, header: Header) -> None:
        self.recorded = bool(header.detectors)
        """Whether the writer ran the detectors; if not, they run here."""
        self.searched_to: int | None = None
        """The step up to which the rows of every stream were searched; None once all are, or where none need be."""
        self._alerts: dict[tuple[str, int, int], Alert] = {}
        self._read = dict.fromkeys((*MONITORED, "alerts"), 0)
        self._layers = len(header.layers)
        self._state_alert: Alert | None = None
        self._minimum = int(header.detectors.get("interval", Settings().interval))
        self._header = header
        self._monitor: RunMonitor | None = None

    def one_call_does(self, log: RunLogReader) -> bool:
        """Whether `follow`, called once, takes up all rows of the log as it is now."""
        return self.recorded or all(log.length(stream) <= self._rows_a_tick(stream) for stream in MONITORED)

    def _rows_a_tick(self, stream: str) -> int:
        layered = any("layer" in field.axes for field in STREAMS[stream].fields)
        return min(ROWS_A_TICK, max(1, LAYERS_A_TICK // max(1, self._layers))) if layered else ROWS_A_TICK

    @property
    def alerts(self) -> tuple[Alert, ...]:
        """The newest version of every alert that was not withdrawn, by step; last the state of the run if it is one."""
        standing = (alert for alert in self._alerts.values() if not alert.withdrawn)
        found = sorted(standing, key=lambda alert: (alert.step, alert.start))
        return (*found, self._state_alert) if self._state_alert else tuple(found)

    def follow(self, log: RunLogReader, state: RunState) -> bool:
        """Take up the rows that came since the last call; True when all are taken up, False when some are left.

        Raises RunLogError where the file cannot be read.
        """
        self._state_alert = alert_of_state(state)
        if self.recorded:
            self._take_recorded(log)
            return True
        if self._monitor is None:
            self._monitor = monitor_of(self._header)
        ends = []
        for stream in MONITORED:
            start, end = self._read[stream], log.length(stream)
            stop = min(end, start + self._rows_a_tick(stream))
            if stop > start:
                rows = log.read(stream, start=start, stop=stop)
                for alert in self._monitor.feed(stream, rows):
                    self._alerts[alert.key] = alert
                self._read[stream] = stop
                if stop < end:
                    ends.append(int(rows["step"][-1]))
        self.searched_to = min(ends, default=None)
        return not ends

    def _take_recorded(self, log: RunLogReader) -> None:
        start, stop = self._read["alerts"], log.length("alerts")
        if stop > start:
            for row in log.read("alerts", start=start, stop=stop):
                alert = alert_of_row(row)
                self._alerts[alert.key] = alert
            self._read["alerts"] = stop

    def valid_intervals(self, last_step: int) -> tuple[Interval, ...]:
        """Where the reservoir assumption holds, for the run as a whole (layer −1) and for each layer."""
        breaking = [alert for alert in self._alerts.values() if alert.kind in KINDS]
        layers = (None, *range(self._layers))
        return tuple(
            interval
            for layer in layers
            for interval in valid_intervals(breaking, last_step, layer, minimum=self._minimum)
        )


def monitor_of(header: Header, settings: Settings | None = None) -> RunMonitor:
    """The detectors for a run with that header, at the default settings unless others are given."""
    # Most runs record their own alerts, and the screen is up sooner without this import.
    from thermotui.detect.monitor import RunMonitor

    batches = header.dataset_size / header.batch_size if header.batch_size and not header.replacement else None
    gaps = header.config.get("gaps") if "imported_from" in header.config else None
    return RunMonitor(
        [layer.name for layer in header.layers],
        ensemble=header.ensemble,
        batches_per_epoch=batches or None,
        settings=settings,
        gaps=isinstance(gaps, list) and "loss" in gaps,
    )


def alert_of_state(state: RunState) -> Alert | None:
    """A crashed or stalled run is an alert of its own, which no writer can record."""
    if state.state not in OF_STATE:
        return None
    severity: Severity = "critical" if state.state == "crashed" else "warning"
    message = f"{KINDS[state.state].description}; last sign of life {state.age:.0f} s ago at step {state.step}"
    return Alert(state.state, -1, state.step, None, state.step, severity, float("nan"), message)
