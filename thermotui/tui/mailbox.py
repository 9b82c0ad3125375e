"""Ticks on their way from the poller's thread to the screen."""

from __future__ import annotations

import threading
from dataclasses import replace

from thermotui.analysis.snapshot import Tick


class Mailbox:
    """What is not yet taken is merged, so that ticks coalesce while the screen is busy."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: Tick | None = None

    def put(self, tick: Tick) -> bool:
        """Add a tick; True where nothing was waiting, so that the screen must be told."""
        with self._lock:
            before = self._waiting
            if before is not None:
                merged = {snapshot.path: snapshot for snapshot in (*before.snapshots, *tick.snapshots)}
                tick = replace(tick, snapshots=tuple(merged.values()))
            self._waiting = tick
            return before is None

    def take(self) -> Tick | None:
        """All that is waiting, as one tick; None where nothing is."""
        with self._lock:
            tick, self._waiting = self._waiting, None
            return tick
