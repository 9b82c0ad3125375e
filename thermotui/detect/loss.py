"""The loss as a whole: from samples to alerts with sentences."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thermotui.detect.book import AlertBook
from thermotui.detect.colour import LossColour
from thermotui.detect.loss_alerts import LossAlerts
from thermotui.detect.loss_filter import SCALE_FLOOR, LossFilter
from thermotui.detect.scale_change import ScaleChange
from thermotui.detect.settings import Settings
from thermotui.detect.steps import StepTest

_PIECE = 32_768  # samples that fit the processor's cache with all that is made of them
_REPEATED = 5  # so many identical values in a row tell nothing of the noise any more


class LossDetector:
    """All detectors of one scalar series. A series that is positive throughout its warm-up is judged by its logarithm.

    `subject` is what the sentences call it. `proxy`: its noise stands for the reservoir's temperature, because nothing
    measures that; otherwise changes of the noise are minor.
    """

    def __init__(self, settings: Settings, book: AlertBook, subject: str = "loss", *, proxy: bool = True) -> None:
        self._settings = settings
        self._book = book
        self._alerts = LossAlerts(settings, book, subject, proxy=proxy)
        self._subject = subject
        self._relative: bool | None = None
        self._waiting: list[tuple[int, float]] = []
        self._steps_seen: list[int] = []
        self._samples = 0
        self._last_value = math.nan
        self._same = 0
        self._same_start = 0
        self._last_step = -1
        self._last_calm = False
        self._settle_at: list[int] = []
        self._last_surprise = 0.0

    def feed(self, steps: NDArray[np.int64], values: NDArray[np.float64]) -> None:
        """n samples: steps int64 [n], increasing; values float64 [n]. The book gets the alerts."""
        for begin in range(0, len(values), _PIECE):
            self._feed_piece(steps[begin : begin + _PIECE], values[begin : begin + _PIECE])

    def _feed_piece(self, steps: NDArray[np.int64], values: NDArray[np.float64]) -> None:
        finite = np.isfinite(values)
        edges = np.flatnonzero(np.diff(finite)) + 1
        for part in np.split(np.arange(len(values)), edges):
            if not part.size:
                continue
            if finite[part[0]]:
                fresh = self._watch_stall(steps[part], values[part])
                self._feed_finite(steps[part][fresh], values[part][fresh])
            else:
                self._non_finite(int(steps[part[0]]), int(steps[part[-1]]), float(values[part[0]]))
            self._last_step = int(steps[part[-1]])

    def _non_finite(self, start: int, step: int, value: float) -> None:
        message = f"{self._subject} is {value} from step {start:,}"
        self._book.open("non_finite", start, start, "critical", message, merge_from=self._merge_from())

    def _merge_from(self) -> int:
        return self._steps_seen[-self._settings.merge :][0] if self._steps_seen else 0

    def _feed_finite(self, steps: NDArray[np.int64], values: NDArray[np.float64]) -> None:
        if not len(steps):
            return
        if self._relative is None:
            take = min(len(values), self._settings.warm_up - len(self._waiting))
            self._waiting += list(zip(steps[:take].tolist(), values[:take].tolist(), strict=True))
            if len(self._waiting) < self._settings.warm_up:
                return
            waited = np.array([value for _, value in self._waiting])
            self._begin(relative=bool(np.all(waited > 0.0)))
            first_steps = np.array([step for step, _ in self._waiting], dtype=np.int64)
            self._waiting = []
            self._feed_block(first_steps, waited)
            steps, values = steps[take:], values[take:]
        elif self._relative and (values <= 0.0).any():
            # A loss that turns negative has no logarithm: judge it on a linear scale from here on.
            first = int(np.argmax(values <= 0.0))
            self._feed_block(steps[:first], values[:first])
            self._relative = None
            self._feed_finite(steps[first:], values[first:])
            return
        if len(values):
            if self._relative and (values <= 0.0).any():
                self._feed_finite(steps, values)
            else:
                self._feed_block(steps, values)

    def _begin(self, *, relative: bool) -> None:
        self._relative = self._alerts.relative = relative
        self._samples, self._steps_seen = 0, []
        self._first_level = 0.0
        self._filter = LossFilter(self._settings, relative=relative)
        self._step_test = StepTest(self._settings, relative=relative)
        self._variance = ScaleChange(3, self._settings, witnesses=True)
        self._colour = LossColour(self._settings)

    def _feed_block(self, steps: NDArray[np.int64], values: NDArray[np.float64]) -> None:
        if not len(values):
            return
        if self._settle_at and self._settle_at[0] <= steps[-1]:
            # After a stall the curve may have gone on under it.
            cut = int(np.searchsorted(steps, self._settle_at.pop(0)))
            self._feed_block(steps[:cut], values[:cut])
            self._filter.settle()
            self._feed_block(steps[cut:], values[cut:])
            return
        y = np.log(values) if self._relative else values
        if not self._samples:
            self._first_level = float(y[0])
        filtered = self._filter.feed(y)
        first = self._samples
        self._samples += len(steps)
        recent = np.concatenate([np.array(self._steps_seen, dtype=np.int64), steps])
        offset = first - len(self._steps_seen)

        def step_at(sample: int) -> int:
            if sample - offset >= len(recent):
                return int(recent[-1]) + 1
            return int(recent[max(sample - offset, 0)])

        # Events of all detectors take effect in the order in which they were seen, whatever the chunking.
        events: list[tuple[int, int, Callable[[], None]]] = []
        for excursion in filtered.excursions:
            events.append((step_at(excursion.at), 0, partial(self._alerts.excursion, excursion, step_at)))
        moved = {anchor - first for anchor in filtered.anchors}
        cursor = 0
        for anchor in (*filtered.anchors, None):
            stop = len(steps) if anchor is None else anchor + 1 - first
            part = slice(cursor, stop)
            for found in self._step_test.feed(
                filtered.clean[part], filtered.surprise[part], filtered.calm[part], steps[part]
            ):
                events.append((found.seen - 1, 1, partial(self._alerts.step, found)))
                moved.add(int(np.searchsorted(steps, found.seen - 1)))
            if anchor is not None:
                self._step_test.restart()
            cursor = stop
        calm = filtered.calm
        # At the floor of the scale, and while the level is first sought, there is no noise but the level's lag.
        settled = np.arange(first, self._samples) >= self._settings.warm_up + self._settings.settle
        noisy = settled & (filtered.scale > (2 * SCALE_FLOOR if self._relative else 0.0))
        pairs = calm & np.concatenate([[self._last_calm], calm[:-1]]) & noisy
        before = np.concatenate([[self._last_surprise], filtered.surprise[:-1]])[pairs]
        surprise, scale, pair_steps = filtered.surprise[pairs], filtered.scale[pairs], steps[pairs]
        self._last_calm, self._last_surprise = bool(calm[-1]), float(filtered.surprise[-1])
        # A step moves one difference, however large: cut it off. Colour moves the differences and not the surprise.
        difference = np.clip(surprise - before, -5 * scale, 5 * scale)
        size = np.minimum(np.abs(surprise), 4 * scale)
        surprise, before = np.clip(surprise, -2 * scale, 2 * scale), np.clip(before, -2 * scale, 2 * scale)
        # Noise of constant size on a loss that falls grows beside the loss: only what grows in both ways has changed.
        absolute = (
            size * np.exp(np.clip(filtered.clean[pairs] - self._first_level, -300, 300)) if self._relative else size
        )
        sizes = np.stack([size, np.abs(difference), absolute], axis=1)
        for change in self._variance.feed(sizes, pair_steps):
            events.append((change.seen - 1, 3, partial(self._alerts.noise, change)))
        restarts = [int(np.count_nonzero(pairs[: at + 1])) for at in sorted(moved)]
        cursor = 0
        for stop in [*restarts, len(pair_steps)]:
            part = slice(cursor, stop)
            for colour in self._colour.feed(surprise[part], before[part], difference[part], pair_steps[part]):
                events.append((colour.seen - 1, 2, partial(self._alerts.colour, colour)))
            if stop < len(pair_steps) or restarts[-1:] == [stop]:
                self._colour.restart()
            cursor = stop
        for _, _, act in sorted(events, key=lambda event: event[:2]):
            act()
        # Enough past steps to date the start of anything that is announced late.
        self._steps_seen = recent[-2 * self._settings.spike_longest :].tolist()

    def _watch_stall(self, steps: NDArray[np.int64], values: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Raise and end stalls; which of n finite samples, bool [n], are no mere repetition of the ones before."""
        lasting = self._book.latest("non_finite")
        if lasting is not None and lasting.end is None:
            self._book.close(lasting, int(steps[0]))
        limit = self._settings.stall
        new = np.concatenate([[values[0] != self._last_value], values[1:] != values[:-1]])
        index = np.arange(len(values))
        latest = np.maximum.accumulate(np.where(new, index, -1))
        # Length of the run of identical values that each sample is in, itself included.
        run = np.where(latest >= 0, index - latest + 1, index + 1 + self._same)
        ends = new & (np.concatenate([[self._same], run[:-1]]) >= limit)
        for reached in np.flatnonzero((run == limit) | ends).tolist():
            if run[reached] == limit:
                start = self._same_start if latest[reached] < 0 else int(steps[latest[reached]])
                message = f"{self._subject} is exactly {values[reached]:.6g} since step {start:,}"
                self._book.open("stall", start, int(steps[reached]), "warning", message)
            elif (lasting := self._book.latest("stall")) is not None and lasting.end is None:
                self._book.close(lasting, int(steps[reached]))
                self._settle_at.append(int(steps[reached]))
        if latest[-1] >= 0:
            self._same_start = int(steps[latest[-1]])
        self._same, self._last_value = int(run[-1]), float(values[-1])
        return run < _REPEATED

    def state_dict(self) -> dict[str, Any]:
        """Plain values and arrays."""
        names = (
            "_relative",
            "_waiting",
            "_steps_seen",
            "_samples",
            "_last_value",
            "_same",
            "_same_start",
            "_last_step",
            "_last_calm",
            "_last_surprise",
            "_settle_at",
        )
        state: dict[str, Any] = {name: getattr(self, name) for name in names}
        state["_waiting"] = [list(pair) for pair in self._waiting]
        state["_steps_seen"], state["_settle_at"] = list(self._steps_seen), list(self._settle_at)
        if self._relative is not None:
            state["_first_level"] = self._first_level
            for name in ("_filter", "_step_test", "_variance", "_colour"):
                state[name] = getattr(self, name).state_dict()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        if state["_relative"] is not None:
            self._begin(relative=state["_relative"])
        for name, value in state.items():
            if name in ("_filter", "_step_test", "_variance", "_colour"):
                getattr(self, name).load_state_dict(value)
            elif name == "_waiting":
                self._waiting = [(int(a), float(b)) for a, b in value]
            else:
                setattr(self, name, list(value) if isinstance(value, list) else value)
