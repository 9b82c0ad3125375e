"""What the detectors of the loss found, as alerts with sentences: which of them it is, and which it takes back."""

from __future__ import annotations

import math
from collections.abc import Callable

from thermotui.detect.alert import Severity
from thermotui.detect.book import AlertBook
from thermotui.detect.change import Change, announce
from thermotui.detect.colour import Colour
from thermotui.detect.excursion import Excursion
from thermotui.detect.settings import Settings
from thermotui.detect.steps import Step

_SEVERITY: dict[str, Severity] = {
    "loss_spike": "warning", "outlier": "warning", "step_up": "warning", "step_down": "warning",
    "divergence": "critical",
}  # fmt: skip


class LossAlerts:
    """Writes into the book. `relative`: whether levels and sizes are those of ln loss.

    `proxy`: the noise stands for the reservoir's temperature; otherwise its changes are minor.
    """

    def __init__(self, settings: Settings, book: AlertBook, subject: str, *, proxy: bool) -> None:
        self._settings, self._book, self._subject, self._proxy = settings, book, subject, proxy
        self.relative = False

    def _level(self, y: float) -> float:
        return math.exp(min(y, 700.0)) if self.relative else y

    def excursion(self, found: Excursion, step_at: Callable[[int], int]) -> None:
        """An excursion that the filter told of; `step_at` gives the step of a sample."""
        start, raised = step_at(found.start), step_at(found.at)
        end = None if found.end is None else step_at(found.end - 1) + 1
        before, after = self._level(found.before), self._level(found.after)
        merge_from = step_at(found.start - self._settings.merge)
        announced = self._book.latest("loss_spike") if found.announced else None
        if found.kind == "outlier" and announced is None:
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
        severity = _SEVERITY[found.kind]
        lasting = self._book.latest("step_down")
        if found.kind == "step_down" and end is not None and lasting is not None and lasting.start == start:
            self._book.close(lasting, end, message=words["step_down"])
            return
        if found.kind == "outlier":
            severity = "warning" if found.score >= self._settings.outlier else "minor"
            merge_from = start
        self._book.open(found.kind, start, raised, severity, words[found.kind], end=end, merge_from=merge_from)

    def step(self, found: Step) -> None:
        """A step between window means, or the end of a divergence."""
        for kind in ("loss_spike", "step_up", "divergence") if found.kind != "settled" else ():
            other = self._book.latest(kind)
            if found.size > 0 and other is not None and (other.end is None or other.end > found.start):
                return
        if found.kind == "settled":
            lasting = self._book.latest("divergence")
            if lasting is not None and lasting.end is None:
                self._book.close(lasting, found.end)
            return
        amount = f"by a factor of {math.exp(abs(found.size)):.3g}" if self.relative else f"by {abs(found.size):.3g}"
        word = {"step_up": "stepped up", "step_down": "stepped down", "divergence": "keeps rising,"}[found.kind]
        message = f"{self._subject} {word} {amount} at step {found.start:,}, {found.score:.3g} standard errors"
        end = None if found.kind == "divergence" else found.end
        self._book.open(found.kind, found.start, found.seen - 1, _SEVERITY[found.kind], message, end=end)

    def colour(self, colour: Colour) -> None:
        """A coloured stretch that begins or ends."""
        if colour.begins:
            message = (
                f"noise of the {self._subject} is coloured from step {colour.start:,}: lag-1 autocorrelation "
                f"{colour.correlation:.2f}, {colour.reference:.2f} before"
            )
            self._take_back_jump(colour.start)
            self._book.open("coloured_noise", colour.start, colour.seen - 1, "warning", message)
        elif (lasting := self._book.latest("coloured_noise")) is not None and lasting.end is None:
            self._book.close(lasting, colour.end)

    def _take_back_jump(self, since: int) -> None:
        """Colour makes the differences of the loss smaller: a jump that began with it was no change of temperature."""
        for kind in ("temperature_jump", "temperature_drift"):
            lasting = self._book.latest(kind)
            if lasting is not None and not lasting.withdrawn and lasting.start >= since - 160:
                self._book.withdraw(lasting, "withdrawn: it is coloured noise")

    def noise(self, found: Change) -> None:
        """A change of the size of the noise."""
        coloured = self._book.latest("coloured_noise")
        if coloured is not None and (coloured.end is None or coloured.end >= found.start):
            return
        subject = f"{'relative ' if self.relative else ''}noise of the {self._subject}"
        announce(self._book, found, subject=subject, layer=-1, severity="warning" if self._proxy else "minor")
