"""What is made of a snapshot before it is shown, for those that the next key may show."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from thermotui.analysis.snapshot import RunSnapshot
from thermotui.tui.charts.linked import FRAMES_AHEAD

Made = TypeVar("Made")


class MadeOnce(Generic[Made]):
    """Makes something of a snapshot and of other things once, as long as it is one of the last few."""

    def __init__(self, make: Callable[..., Made]) -> None:
        self._make = make
        self._made: dict[tuple[Hashable, ...], Made] = {}

    def of(self, snapshot: RunSnapshot, *others: Hashable) -> Made:
        """What `make` gives for these."""
        asked = snapshot, *others
        if asked not in self._made:
            if len(self._made) >= FRAMES_AHEAD:
                del self._made[next(iter(self._made))]
            self._made[asked] = self._make(*asked)
        return self._made[asked]

    def clear(self) -> None:
        """Let go of the snapshots: something else is shown."""
        self._made.clear()
