"""The loss as a whole: from samples to alerts with sentences."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thermotui.detect.alert import Severity
from thermotui.detect.book import AlertBook
from thermotui.detect.colour import LossColour
from thermotui.detect.loss_filter import Excursion, LossFilter
from thermotui.detect.scale_change import Change, ScaleChange
from thermotui.detect.settings import Settings
from thermotui.detect.steps import StepTest

_SEVERITY: dict[str, Severity] = {
    "loss_spike": "warning", "outlier": "minor", "minor": "minor", "step_up": "warning", "step_down": "warning",
    "divergence": "critical",
}  # fmt: skip


class LossDetector:
    """All detectors of one scalar series. A series that is positive throughout its warm-up is judged by its logarithm.

    `subject` is what the sentences call it.
    """

    def __init__(self, settings: Settings, book: AlertBook, subject: str = "loss") -> None:
        self._settings = settings
        self._book = book
        self._subject = subject
        self._relative: bool | None = None
        self._waiting: list[tuple[int, float]] = []
        self._steps_seen: list[int] = []
        self._samples = 0
        self._last_value = math.nan
        self._same = 1
        self._same_start = 0
        self._last_step = -1

    def feed(self, steps: NDArray[np.int64], values: NDArray[np.float64]) -> None:
        """n samples: steps int64 [n], increasing; values float64 [n]. The book gets the alerts."""
        finite = np.isfinite(values)
        edges = np.flatnonzero(np.diff(finite)) + 1
        for part in np.split(np.arange(len(values)), edges):
            if not part.size:
                continue
            if finite[part[0]]:
                self._feed_finite(steps[part], values[part])
            else:
                self._non_finite(int(steps[part[0]]), int(steps[part[-1]]), float(values[part[0]]))
            self._last_step = int(steps[part[-1]])

    def _non_finite(self, start: int, step: int, value: float) -> None:
        message = f"{self._subject} is {value} from step {start:,}"
        self._book.open("non_finite", start, start, "critical", message, merge_from=self._merge_from())

    def _merge_from(self) -> int:
        return self._steps_seen[0] if self._steps_seen else 0

    def _feed_finite(self, steps: NDArray[np.int64], values: NDArray[np.float64]) -> None:
        lasting = self._book.latest("non_finite")
        if lasting is not None and lasting.end is None:
            self._book.close(lasting, int(steps[0]))
        self._watch_stall(steps, values)
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
        self._relative = relative
        self._filter = LossFilter(self._settings, relative=relative)
        self._step_test = StepTest(self._settings, relative=relative)
        self._variance = ScaleChange(1, self._settings)
        self._colour = LossColour(self._settings)

    def _feed_block(self, steps: NDArray[np.int64], values: NDArray[np.float64]) -> None:
        if not len(values):
            return
        y = np.log(values) if self._relative else values
        filtered = self._filter.feed(y)
        first = self._samples
        self._samples += len(steps)
        recent = np.concatenate([np.array(self._steps_seen, dtype=np.int64), steps])
        offset = first - len(self._steps_seen)

        def step_at(sample: int) -> int:
            if sample - offset >= len(recent):
                return int(recent[-1]) + 1
            return int(recent[max(sample - offset, 0)])

        for excursion in filtered.excursions:
            self._excursion(excursion, step_at)
        cursor = 0
        for anchor in (*filtered.anchors, None):
            stop = len(steps) if anchor is None else anchor + 1 - first
            part = slice(cursor, stop)
            for found in self._step_test.feed(
                filtered.clean[part], filtered.surprise[part], filtered.calm[part], steps[part]
            ):
                self._step(found.kind, found.start, found.end, found.size, found.score)
            if anchor is not None:
                self._step_test.restart()
            cursor = stop
        calm = filtered.calm
        surprise, calm_steps = filtered.surprise[calm], steps[calm]
        for change in self._variance.feed(np.abs(surprise)[:, None], calm_steps):
            self._variance_change(change)
        for colour in self._colour.feed(surprise, calm_steps):
            if colour.begins:
                message = (
                    f"noise of the {self._subject} is coloured from step {colour.start:,}: lag-1 autocorrelation "
                    f"{colour.correlation:.2f}, {colour.reference:.2f} before"
                )
                self._book.open("coloured_noise", colour.start, colour.step - 1, "warning", message)
            elif (lasting := self._book.latest("coloured_noise")) is not None and lasting.end is None:
                self._book.close(lasting, colour.step)
        # Enough past steps to date the start of anything that is announced late.
        self._steps_seen = recent[-2 * self._settings.spike_longest :].tolist()

    def _level(self, y: float) -> float:
        return math.exp(min(y, 700.0)) if self._relative else y

    def _excursion(self, found: Excursion, step_at: Any) -> None:
        start, raised = step_at(found.start), step_at(found.at)
        end = None if found.end is None else step_at(found.end - 1) + 1
        before, after = self._level(found.before), self._level(found.after)
        merge_from = step_at(found.start - self._settings.merge)
        announced = self._book.latest("loss_spike") if found.announced else None
        if found.kind == "minor":
            message = f"{self._subject} {after:.4g} at step {start:,}, usually {before:.4g}: {found.score:.1f} scales"
            self._book.open("outlier", start, raised, "minor", message, end=end)
            return
        change = f"from {before:.4g} to {after:.4g}"
        if found.kind == "loss_spike":
            message = f"{self._subject} rose {change} at step {start:,}, {found.score:.1f} times its usual scatter"
            if end is None:
                self._book.open("loss_spike", start, raised, "warning", message, merge_from=merge_from)
            elif announced is not None:
                self._book.close(announced, end)
            return
        if announced is not None and announced.start >= start and announced.end is None:
            self._book.withdraw(announced, f"withdrawn: it is {found.kind.replace('_', ' ')}")
        elif announced is not None and announced.end is None:
            self._book.close(announced, start)
        if found.kind == "divergence":
            lasting = self._book.latest("divergence")
            if lasting is not None and lasting.end is None and end is not None:
                self._book.close(lasting, end)
                return
        words = {
            "outlier": f"{self._subject} {after:.4g} at step {start:,}, usually {before:.4g}: {found.score:.1f} scales",
            "step_up": f"{self._subject} stepped up {change} at step {start:,}",
            "step_down": f"{self._subject} dropped {change} at step {start:,}",
            "divergence": f"{self._subject} keeps rising from step {start:,}, {change} so far",
        }
        self._book.open(
            found.kind, start, raised, _SEVERITY[found.kind], words[found.kind], end=end, merge_from=merge_from
        )

    def _step(self, kind: str, start: int, end: int, size: float, score: float) -> None:
        other = self._book.latest("loss_spike")
        if kind == "step_up" and other is not None and (other.end is None or other.end > start):
            return
        amount = f"by a factor of {math.exp(abs(size)):.3g}" if self._relative else f"by {abs(size):.3g}"
        word = "up" if size > 0 else "down"
        message = f"{self._subject} stepped {word} {amount} at step {start:,}, {score:.1f} standard errors"
        self._book.open(kind, start, end - 1, "warning", message, end=end)

    def _variance_change(self, found: Change) -> None:
        kind = "temperature_drift" if found.kind == "drift" else "temperature_jump"
        lasting = self._book.latest("temperature_drift")
        if found.kind == "settled":
            if lasting is not None and lasting.end is None:
                self._book.close(lasting, found.end)
            return
        ratio = found.after / found.before
        word = "rose" if ratio > 1 else "fell"
        message = (
            f"noise of the {self._subject} {word} {max(ratio, 1 / ratio):.2f}× at step {found.start:,}, "
            f"from {found.before:.2g} to {found.after:.2g}, z = {abs(found.score):.1f}"
        )
        end = None if found.kind == "drift" else found.end
        self._book.open(kind, found.start, found.end - 1, "warning", message, end=end, p_value=found.p_value)

    def _watch_stall(self, steps: NDArray[np.int64], values: NDArray[np.float64]) -> None:
        limit = self._settings.stall
        previous = np.concatenate([[self._last_value], values[:-1]])
        edges = np.flatnonzero(values != previous)
        position = 0
        for edge in [*edges.tolist(), len(values)]:
            if edge > position:
                before = self._same
                self._same += edge - position
                if before < limit <= self._same:
                    raised = int(steps[position + limit - before - 1])
                    message = f"{self._subject} is exactly {self._last_value:.6g} since step {self._same_start:,}"
                    if edge <= len(values) and position:
                        message = f"{self._subject} is exactly {values[position]:.6g} since step {self._same_start:,}"
                    self._book.open("stall", self._same_start, raised, "warning", message)
            if edge < len(values):
                lasting = self._book.latest("stall")
                if lasting is not None and lasting.end is None:
                    self._book.close(lasting, int(steps[edge]))
                self._same, self._same_start, self._last_value = 1, int(steps[edge]), float(values[edge])
                position = edge + 1

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
        )
        state: dict[str, Any] = {name: getattr(self, name) for name in names}
        state["_waiting"], state["_steps_seen"] = [list(pair) for pair in self._waiting], list(self._steps_seen)
        if self._relative is not None:
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
