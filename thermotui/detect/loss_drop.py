"""A sudden fall of the loss, sample by sample."""

from __future__ import annotations

from typing import Any

import numpy as np

from thermotui.detect.excursion import Excursion
from thermotui.detect.settings import Settings


class DropWatch:
    """Deficits below what the level expects accumulate; a fall that then lasts asks for a new level.

    Everything is measured in the scale at the onset: a fall that gathers speed widens the scale as fast as it goes, and
    would hide behind it.
    """

    def __init__(self, settings: Settings, *, relative: bool) -> None:
        self._settings = settings
        self._floor = settings.spike_floor if relative else 0.0
        self._deficit = 0.0
        self._values: list[float] = []
        self._onset = 0
        self._slope = self._start = self._scale = self._base = 0.0
        self._told: tuple[int, int, float] | None = None
        """Start, end and level before of the last step down."""

    @property
    def under_way(self) -> bool:
        """Whether a fall may have begun."""
        return self._deficit > 0.0 or bool(self._values)

    def clear(self) -> None:
        """Forget a fall that may have begun."""
        self._deficit, self._values = 0.0, []

    def lasts(self, y: float, expected: float, slope: float, spread: float, at: int, *, settling: bool) -> bool:
        """Look at the sample y at `at`; whether it shows that a sudden fall lasts."""
        s = self._settings
        if self._values:
            self._values.append(y)
            if len(self._values) < s.drop_confirm:
                return False
            below = sum(value < self._base for value in self._values)
            if below < 0.8 * len(self._values):
                self.clear()
                return False
            return True
        error = y - expected
        if not self._deficit:
            self._onset, self._slope, self._start, self._scale = at, slope, expected, spread
        self._deficit = max(0.0, self._deficit - error / self._scale - 2.5)
        if self._deficit > s.drop and not settling and -error > self._floor:
            self._values = [y]
            fall = max(-self._slope, 0.0) * (at + s.drop_confirm - self._onset)
            self._base = min(expected - 2.5 * spread, self._start - fall)
        return False

    def step_down(self, at: int) -> Excursion | None:
        """The fall that lasted until `at`; None where the slope at its onset had promised half of it or more.

        The level is sought anew after a drop, while no other can be seen: what comes right after is the same one.
        """
        after = float(np.median(self._values[-8:]))
        # The base lies one such fall below already.
        usual = max(-self._slope, 0.0) * (at - self._onset - 4)
        if self._base - after <= usual:
            return None
        start, before = self._onset, self._base
        if self._told is not None and start - self._told[1] <= self._settings.settle:
            start, _, before = self._told
        self._told = start, at + 1, before
        return Excursion("step_down", start, at + 1, at, before, after, self._deficit)

    def state_dict(self) -> dict[str, Any]:
        """JSON-able state between two samples."""
        return {name: value for name, value in vars(self).items() if name not in ("_settings", "_floor")} | {
            "_values": self._values.copy()
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        for name, value in state.items():
            setattr(self, name, value)
        self._values = self._values.copy()
        self._told = None if self._told is None else (self._told[0], self._told[1], self._told[2])
