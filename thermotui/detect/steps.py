"""Steps of the loss too small for the spike rule: differences of window means against the noise of such means."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thermotui.detect.prefix import PrefixSums
from thermotui.detect.settings import Settings

WINDOWS = (8, 16, 32, 64, 128, 256, 512)
_MEAN_ABSOLUTE = 1.2533  # standard deviation over mean absolute value of a normal variable
_SIZE = 1.2  # smallest step, in standard deviations of the noise


@dataclass(frozen=True)
class Step:
    """A step of the level between samples; `start`, `end` are steps [start, end), `size` in units of y."""

    kind: str
    start: int
    end: int
    size: float
    score: float


class StepTest:
    """M1, M2, M3 are the means of the last three windows of w samples, A the noise, V its long-run variance factor.

    A step down is M1 − 2M2 + M3 < −z √6 A √(V/w), with that and M1 − M2 both below −1.2 A: a convex decay cannot
    trigger it. A step up is M1 − M2 > z √2 A √(V/w), above 1.2 A and above `spike_floor`.
    """

    def __init__(self, settings: Settings, *, relative: bool) -> None:
        self._settings = settings
        self._relative = relative
        self._sums = PrefixSums((5,), 3 * WINDOWS[-1] + 8)
        self._previous = 0.0
        self._origin = 0
        self._locked = 0

    def restart(self) -> None:
        """The level was set anew: windows may not reach back beyond this sample."""
        self._origin = -(-self._sums.count // 8) * 8

    def feed(
        self,
        clean: NDArray[np.float64],
        surprise: NDArray[np.float64],
        calm: NDArray[np.bool_],
        steps: NDArray[np.int64],
    ) -> list[Step]:
        """Look at n more samples, each array [n]; the steps found."""
        if not len(clean):
            return []
        before = np.concatenate([[self._previous], surprise[:-1]])
        self._previous = float(surprise[-1])
        columns = np.stack([clean, np.abs(surprise), surprise * before, surprise**2, calm.astype(float)], axis=1)
        grid = self._sums.feed(columns, steps)
        if not grid.size:
            return []
        found: list[tuple[int, int, float, float]] = []
        for w in WINDOWS:
            ends = grid[(grid % max(8, w // 4) == 0) & (grid - 3 * w >= self._origin)]
            if ends.size:
                found.extend(self._look(ends, w))
        result = []
        for end, w, size, score in sorted(found):
            if end < self._locked or end - 3 * w < self._origin:
                continue
            self._locked = end + 3 * w
            kind = "step_up" if size > 0 else "step_down"
            start = self._sums.boundary(end - w)
            result.append(Step(kind, start, self._sums.boundary(end), size, score))
        return result

    def _look(self, ends: NDArray[np.int64], w: int) -> list[tuple[int, int, float, float]]:
        s = self._settings
        p0, p1, p2, p3 = (self._sums.at(ends - k * w) for k in range(4))
        m1, m2, m3 = ((a[:, 0] - b[:, 0]) / w for a, b in ((p0, p1), (p1, p2), (p2, p3)))
        noise = p0 - p3
        samples = np.maximum(noise[:, 4], 1.0)
        absolute = _MEAN_ABSOLUTE * noise[:, 1] / samples
        colour = np.clip(noise[:, 2] / np.maximum(noise[:, 3], 1e-300), 0.0, 0.95)
        factor = np.sqrt((1 + colour) / (1 - colour) / w)
        bend, rise = m1 - 2 * m2 + m3, m1 - m2
        unit = np.maximum(absolute * factor, 1e-300)
        down = (bend < -s.step * math.sqrt(6) * unit) & (bend < -_SIZE * absolute) & (rise < -_SIZE * absolute)
        up = (rise > s.step * math.sqrt(2) * unit) & (rise > _SIZE * absolute)
        if self._relative:
            up &= rise > s.spike_floor
        enough = noise[:, 4] >= 1.5 * w
        return [
            (int(ends[i]), w, float(rise[i]), float(abs(rise[i]) / (math.sqrt(2) * unit[i])))
            for i in np.flatnonzero((down | up) & enough)
        ]

    def state_dict(self) -> dict[str, Any]:
        """Arrays and numbers."""
        return {
            "sums": self._sums.state_dict(),
            "previous": self._previous,
            "origin": self._origin,
            "locked": self._locked,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        self._sums.load_state_dict(state["sums"])
        self._previous, self._origin, self._locked = state["previous"], state["origin"], state["locked"]
