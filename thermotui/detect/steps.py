"""Steps of the loss too small for the spike rule: differences of window means against the noise of such means."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thermotui.detect.prefix import GRID, PrefixSums
from thermotui.detect.settings import Settings

WINDOWS = (8, 16, 32, 64, 128, 256, 512)
_MEAN_ABSOLUTE = 1.2533  # standard deviation over mean absolute value of a normal variable
_ABRUPT = 0.5
_SIZE = 1.2  # smallest step, in standard deviations of the noise


@dataclass(frozen=True)
class Step:
    """A step of the level, steps [start, end), seen at `seen`; `size` in units of y.

    `kind` is step_up, step_down, divergence (it still rises at `seen`) or settled (a divergence is over).
    """

    kind: str
    start: int
    end: int
    seen: int
    size: float
    score: float


class StepTest:
    """M1 … M4 are the means of the last four windows of w samples, A the noise, V its long-run variance factor.

    A step down is M1 − M2 − min(M2 − M3, M3 − M4) < −z √6 A √(V/w), with that and M1 − M2 both below −1.2 A: neither a
    convex decay nor the end of a bump can trigger it. A step up is M1 − M2 > z √2 A √(V/w), above 1.2 A and above
    `spike_floor`, once its last window is flat; a divergence is the same with M2 − M3 more than half as large.
    """

    def __init__(self, settings: Settings, *, relative: bool) -> None:
        self._settings = settings
        self._relative = relative
        self._sums = PrefixSums((5,), 4 * WINDOWS[-1] + 8)
        self._previous = 0.0
        self._origin = 0
        self._locked = 0
        self._rising = 0

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
        found: list[tuple[int, int, str, float, float, int]] = []
        for w in WINDOWS:
            ends = grid[(grid % max(8, w // 4) == 0) & (grid - 4 * w >= self._origin)]
            if ends.size:
                found.extend(self._look(ends, w))
        result = []
        for end, w, kind, size, score, split in sorted(found):
            if end - 4 * w < self._origin:
                continue
            if kind == "settled":
                if w == self._rising:
                    at = self._sums.boundary(end)
                    result.append(Step(kind, at, at, at, size, score))
                    self._rising = 0
                continue
            if end < self._locked or (kind == "divergence" and self._rising):
                continue
            if kind == "divergence":
                self._rising = w
                begin, length = end - 2 * w, 2 * w
            else:
                begin, length = split, GRID
                self._locked = end + 3 * w
            begin_step = self._sums.boundary(begin)
            seen = self._sums.boundary(end)
            result.append(Step(kind, begin_step, self._sums.boundary(begin + length), seen, size, score))
        return result

    def _splits(self, ends: NDArray[np.int64], w: int) -> NDArray[np.int64]:
        """The grid points [n] that best split the last 2w samples before `ends` [n] into two means."""
        after = np.arange(2 * w - GRID, 0, -GRID, dtype=np.int64)
        before = 2 * w - after
        first, last = self._sums.at(ends - 2 * w)[:, :1], self._sums.at(ends)[:, :1]
        sums = self._sums.at(ends[:, None] - after)[..., 0]
        gap = (last - sums) / after - (sums - first) / before
        best = np.argmax(before * after * gap**2, axis=1)
        return np.asarray(ends - after[best])

    def _abrupt(
        self, at: NDArray[np.int64], ends: NDArray[np.int64], w: int, sizes: NDArray[np.float64]
    ) -> NDArray[np.bool_]:
        """Whether half of the change, or more, happened within a quarter of the window about `at`; all [n]."""
        width = max(w // 4 // GRID, 1) * GRID
        begin, end = np.maximum(at - width, ends - 4 * w), np.minimum(at + width, ends)
        first, middle, last = (self._sums.at(points)[:, 0] for points in (begin, at, end))
        before, after = (middle - first) / (at - begin), (last - middle) / (end - at)
        return np.asarray((after - before) / sizes > _ABRUPT)

    def _look(self, ends: NDArray[np.int64], w: int) -> list[tuple[int, int, str, float, float, int]]:
        s = self._settings
        sums = self._sums.at(ends[:, None] - w * np.arange(5))
        m1, m2, m3, m4 = ((sums[:, :-1, 0] - sums[:, 1:, 0]) / w).T
        noise = sums[:, 0] - sums[:, 3]
        samples = np.maximum(noise[:, 4], 1.0)
        absolute = _MEAN_ABSOLUTE * noise[:, 1] / samples
        rise, before = m1 - m2, m2 - m3
        bend = rise - np.minimum(before, m3 - m4)
        up = rise > _SIZE * absolute
        if self._relative:
            up &= rise > s.spike_floor
        down = np.maximum(bend, rise) < -_SIZE * absolute
        if not (self._rising or np.any(up | down)):
            return []
        colour = np.clip(noise[:, 2] / np.maximum(noise[:, 3], 1e-300), 0.0, 0.95)
        factor = np.sqrt((1 + colour) / (1 - colour) / w)
        unit = np.maximum(absolute * factor, 1e-300)
        up &= rise > s.step * math.sqrt(2) * unit
        down &= bend < -s.step * math.sqrt(6) * unit
        if not (self._rising or np.any(up | down)):
            return []
        last = max(w // 2 // GRID, 1) * GRID
        late = (sums[:, 0, 0] - self._sums.at(ends - last)[:, 0]) / last - (m1 if last < w else m2)
        flat = late < 0.15 * rise
        diverges = up & (before > 0.5 * rise) & ~flat
        kinds = np.select([diverges, up & flat & ~diverges, down], ["divergence", "step_up", "step_down"], "")
        kinds[(kinds == "") & (rise < 3 * math.sqrt(2) * unit)] = "settled"
        kinds[(noise[:, 4] < 1.5 * w) & (kinds != "settled")] = ""
        wanted = kinds != ""
        if not self._rising and not np.any(kinds == "divergence"):
            wanted &= kinds != "settled"
        splits = np.full(len(ends), -1, dtype=np.int64)
        steps = np.flatnonzero((kinds == "step_up") | (kinds == "step_down"))
        if steps.size:
            splits[steps] = self._splits(ends[steps], w)
            wanted[steps] &= self._abrupt(splits[steps], ends[steps], w, rise[steps])
        return [
            (
                int(ends[i]),
                w,
                str(kinds[i]),
                float(rise[i]),
                float(abs(rise[i]) / (math.sqrt(2) * unit[i])),
                int(splits[i]),
            )
            for i in np.flatnonzero(wanted)
        ]

    def state_dict(self) -> dict[str, Any]:
        """Arrays and numbers."""
        return {
            "sums": self._sums.state_dict(),
            "previous": self._previous,
            "origin": self._origin,
            "locked": self._locked,
            "rising": self._rising,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        self._sums.load_state_dict(state["sums"])
        self._previous, self._origin = state["previous"], state["origin"]
        self._locked, self._rising = state["locked"], state["rising"]
