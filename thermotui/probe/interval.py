"""How often to measure so that the measurement takes no more than its share of the time."""

from __future__ import annotations

import math
import sys

SETTLING = 4
"""Steps of either kind that are timed before anything is decided; the first ones warm up."""
SMOOTHING = 0.1
LARGEST = 1024


class MeasurementInterval:
    """Every n-th step is measured; with a budget, n follows the cost that measured steps turn out to have.

    The cost of a step is the time from one step's start to the next, so that on an asynchronous device it is the
    device's, not the host's. To tell the cost apart, every other step is measured until both kinds are known.
    """

    def __init__(self, interval: int, budget: float | None) -> None:
        """interval: n, where there is no budget. budget: share of the time of an unmeasured step, such as 0.02."""
        if interval < 1:
            raise ValueError(f"the interval must be at least 1, got {interval}")
        if budget is not None and not 0 < budget < 1:
            raise ValueError(f"the overhead must lie between 0 and 1, got {budget}")
        self.interval = interval if budget is None else 2
        self._budget = budget
        self._times: dict[bool, float] = {}
        self._seen = {True: 0, False: 0}
        self._last: tuple[float, bool] | None = None
        self._next = 0

    def start(self, step: int, now: float) -> bool:
        """Whether this step is to be measured; call it at the start of every step from `settled_until` on."""
        if self._budget is not None:
            self._learn(now)
        measured = step >= self._next
        if measured:
            self._next = step + self.interval
        self._last = (now, measured)
        return measured

    def abandon(self, step: int) -> None:
        """The step did not come to its end: the next one takes its place, and its time counts for nothing."""
        if self._last is not None and self._last[1]:
            self._next = step
        self._last = None

    def precedes_measurement(self, step: int) -> bool:
        """Whether the step after this one will be measured; this one is that of the last call of `start`."""
        return step + 1 >= self._next

    @property
    def settled_until(self) -> int:
        """Steps before this one need no call of `start`: it would say the same as the last time."""
        if self._budget is not None or self._last is None:
            return 0
        if not self._last[1]:
            return self._next
        return sys.maxsize if self.interval == 1 else 0

    def _learn(self, now: float) -> None:
        if self._last is None or self._budget is None:
            return
        began, measured = self._last
        self._seen[measured] += 1
        if self._seen[measured] <= SETTLING:
            return
        elapsed = now - began
        known = self._times.get(measured, elapsed)
        # Pauses between steps (evaluation, a checkpoint) say nothing of the measurement.
        self._times[measured] = known + SMOOTHING * (min(elapsed, 3 * known) - known)
        if len(self._times) == 2 and min(self._seen.values()) > 2 * SETTLING:
            extra = max(self._times[True] - self._times[False], 0.0)
            wanted = math.ceil(extra / (self._budget * self._times[False]))
            # Never 1: without unmeasured steps the cost could not be followed.
            self.interval = min(max(wanted, 2), LARGEST)
