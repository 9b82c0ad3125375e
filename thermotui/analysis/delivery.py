"""Alerts that are raised while runs are watched, delivered in a thread of their own: the screen never waits."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from thermotui.analysis.actions import Actions, payload_of

if TYPE_CHECKING:
    from thermotui.analysis.run_state import RunSummary
    from thermotui.analysis.snapshot import Query, Tick

GRACE = 5.0
"""Seconds that deliveries under way may take once nobody watches any more."""
MAXIMUM_WAITING = 1000
"""Alerts that wait for their delivery; where more come, they are said to be lost."""
_OF_STATE = ("stalled", "crashed")


class Reading(Protocol):
    """Whoever answers queries."""

    def ask(self, query: Query) -> Tick | None:
        """The answer; None where there is none this time."""


class NewAlerts:
    """Tells the alerts above minor that were raised since the watching began, each once.

    New is what was raised after the step at which its run was first seen, and all of a run that began afterwards; that
    a run stalled or crashed is new where it had not when it was first seen.
    """

    def __init__(self, began: float) -> None:
        self._began = began
        self._first: dict[str, tuple[int, str]] = {}
        self._told: set[tuple[str, str, int, int]] = set()

    def take(self, runs: tuple[RunSummary, ...]) -> list[dict[str, Any]]:
        """The payloads of what is new in the summaries of one tick."""
        found = []
        for run in runs:
            if run.problem:
                continue
            seen = (-1, "") if run.created >= self._began else (run.step, run.state)
            step, state = self._first.setdefault(run.path, seen)
            for alert in run.flagged:
                key = (run.path, *alert.key)
                new = alert.kind != state if alert.kind in _OF_STATE else alert.step > step
                if new and alert.severity != "minor" and key not in self._told:
                    self._told.add(key)
                    found.append(payload_of(run.path, alert))
        return found


class Delivery:
    """Stands between the screen and who reads for it, and delivers what is new in every answer.

    `tell` gets a sentence for each new kind of failure, in the delivering thread; `failures` keeps them, in order.
    """

    def __init__(self, reading: Reading, actions: Actions) -> None:
        self._reading, self._actions = reading, actions
        self._new = NewAlerts(time.time())
        self._waiting: queue.Queue[dict[str, Any] | None] = queue.Queue(MAXIMUM_WAITING)
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
            try:
                self._waiting.put_nowait(payload)
            except queue.Full:
                self._fail(f"more than {MAXIMUM_WAITING} alerts wait for their delivery: some are lost")
        return tick

    def close(self) -> None:
        """End the thread; deliveries under way and waiting get GRACE seconds."""
        with contextlib.suppress(queue.Full):
            self._waiting.put(None, timeout=GRACE)
        self._thread.join(GRACE)
        left = self._waiting.qsize()
        if self._thread.is_alive():
            self._failures[f"delivery was not over after {GRACE:.0f} s; {left} more alerts were waiting"] = None

    def _deliver(self) -> None:
        while (payload := self._waiting.get()) is not None:
            for failure in self._actions.deliver(payload):
                self._fail(failure)

    def _fail(self, failure: str) -> None:
        if failure not in self._failures:
            self._failures[failure] = None
            self.tell(failure)
