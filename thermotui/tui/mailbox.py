"""Ticks on their way from the poller's thread to the screen."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

from thermotui.analysis.snapshot import Tick


class Mailbox:
    """What is not yet taken is merged, so that ticks coalesce while the screen is busy. For two threads."""

    def __init__(self) -> None:
        self._arrived = threading.Condition()
        self._waiting: Tick | None = None
        self._tell: Callable[[], None] | None = None
        self.failure = ""
        """Why no more ticks will come; empty while they may."""

    def put(self, tick: Tick) -> None:
        """Add a tick; the listener is told where nothing was waiting."""
        with self._arrived:
            before = self._waiting
            if before is not None:
                merged = {snapshot.path: snapshot for snapshot in (*before.snapshots, *tick.snapshots)}
                tick = replace(tick, snapshots=tuple(merged.values()))
            self._waiting = tick
            self._arrived.notify_all()
        if before is None and self._tell is not None:
            self._tell()

    def fail(self, reason: str) -> None:
        """No more ticks will come; the listener is told."""
        with self._arrived:
            self.failure = reason
            self._arrived.notify_all()
        if self._tell is not None:
            self._tell()

    def take(self) -> Tick | None:
        """All that is waiting, as one tick; None where nothing is."""
        with self._arrived:
            tick, self._waiting = self._waiting, None
            return tick

    def knock(self) -> None:
        """Tell the listener though nothing is waiting: what may be asked next was answered."""
        if self._tell is not None:
            self._tell()

    def look(self, seconds: float) -> Tick | None:
        """What is waiting, left where it is, after at most so many seconds; None where nothing came or comes."""
        with self._arrived:
            self._arrived.wait_for(lambda: self._waiting is not None or bool(self.failure), seconds)
            return self._waiting

    def listen(self, tell: Callable[[], None]) -> None:
        """Have `tell` called, in the poller's thread, when something comes; at once where something is waiting."""
        with self._arrived:
            self._tell = tell
            waiting = self._waiting is not None or bool(self.failure)
        if waiting:
            tell()
