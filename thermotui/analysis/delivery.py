"""Alerts that are raised while runs are watched, delivered in a thread of their own: the screen never waits."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from thermotui.analysis.actions import Actions, payload_of
from thermotui.detect.alert import OF_STATE

if TYPE_CHECKING:
    from thermotui.analysis.run_state import RunSummary
    from thermotui.analysis.snapshot import Query, Reading, Tick
    from thermotui.detect.alert import Alert

GRACE = 5.0
"""Seconds that deliveries under way may take once nobody watches any more."""
MAXIMUM_WAITING = 1000
"""Alerts that wait for their delivery; where more come, they are said to be lost."""


@dataclass
class _Watched:
    """What is known of one log. after: alerts raised at later steps are new, unless `old` has their key.

    state: in which it has been since it was first seen; empty once it was in another. step: at the last look.
    old: by key, the step at which each alert above minor was raised that was seen.
    """

    after: int
    state: str
    step: int
    old: dict[tuple[str, int, int], int] = field(default_factory=dict)

    def look(self, run: RunSummary) -> list[Alert]:
        """What is new in a summary of it."""
        if run.step < self.step:
            # Resumed from a checkpoint that nothing here tells the step of: what the log had before and still may have
            # is old, all else is new.
            self.after = -1
            self.old = {key: step for key, step in self.old.items() if step <= run.step}
        self.step = run.step
        if run.state != self.state:
            self.state = ""
        flagged = [alert for alert in run.flagged if alert.severity != "minor"]
        found = [alert for alert in flagged if alert.key not in self.old and self._is_new(alert, run.state)]
        # An alert of a state that lasts is not remembered: it is news once the run was in another state meanwhile.
        self.old |= {alert.key: alert.step for alert in flagged if alert in found or alert.kind not in OF_STATE}
        return found

    def _is_new(self, alert: Alert, state: str) -> bool:
        if alert.kind in OF_STATE:
            # The alerts of a summary may be older than its state.
            return alert.kind == state != self.state
        return alert.step > self.after


class NewAlerts:
    """Tells the alerts above minor that were raised since the watching began, each once, rank by rank.

    New is what was raised after the step at which its log was first seen, and all of a run that began afterwards, also
    under the name of another; where a run goes back to an earlier step, what its log did not have before. That a run
    stalled or crashed is new where it had not when it was first seen, or has run since.
    """

    def __init__(self, began: float) -> None:
        self._began = began
        self._watched: dict[tuple[str, float], _Watched] = {}

    def take(self, runs: tuple[RunSummary, ...]) -> list[dict[str, Any]]:
        """The payloads of what is new in the summaries of one tick."""
        found = []
        for log in (log for run in runs for log in run.logs if not log.problem):
            later = log.created >= self._began
            first = _Watched(-1, "", log.step) if later else _Watched(log.step, log.state, log.step)
            watched = self._watched.setdefault((log.path, log.created), first)
            found += [payload_of(log.path, alert) for alert in watched.look(log)]
        return found


class Delivery:
    """Stands between the screen and who reads for it, and delivers what is new in every answer.

    `tell` gets a sentence for each new kind of failure, in the delivering thread or in that which asks; it must neither
    wait nor raise. `failures` keeps them, in order.
    """

    def __init__(self, reading: Reading, actions: Actions) -> None:
        self._reading, self._actions = reading, actions
        self._new = NewAlerts(time.time())
        self._waiting: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._failures: dict[str, None] = {}
        self.tell: Callable[[str], None] = lambda sentence: None
        self._thread = threading.Thread(target=self._deliver, name="thermotui-delivery", daemon=True)
        self._thread.start()

    @property
    def failures(self) -> tuple[str, ...]:
        """What failed, each thing once."""
        return tuple(self._failures)

    def ask(self, query: Query) -> Tick | None:
        """The answer of the reading, after its new alerts were handed to the delivering thread."""
        tick = self._reading.ask(query)
        for payload in self._new.take(tick.summaries) if tick else ():
            if self._waiting.qsize() < MAXIMUM_WAITING:
                self._waiting.put(payload)
            else:
                self._fail(f"more than {MAXIMUM_WAITING} alerts wait for their delivery: some are lost")
        return tick

    def close(self) -> None:
        """End the thread; deliveries under way and waiting get GRACE seconds, and `failures` says what is left."""
        self._waiting.put(None)
        self._thread.join(GRACE)
        left = self._take_back()
        if self._thread.is_alive():
            self._waiting.put(None)
            self._failures[f"delivery was not over after {GRACE:.0f} s; {left} more alerts were waiting"] = None
        elif left:
            self._failures[f"{left} more alerts were waiting when the delivery ended"] = None

    def _take_back(self) -> int:
        """Empty the queue; the number of alerts in it."""
        left = 0
        with suppress(queue.Empty):
            while True:
                left += self._waiting.get_nowait() is not None
        return left

    def _deliver(self) -> None:
        while (payload := self._waiting.get()) is not None:
            for failure in self._actions.deliver(payload):
                self._fail(failure)

    def _fail(self, failure: str) -> None:
        if failure not in self._failures:
            self._failures[failure] = None
            self.tell(failure)
