"""A change of a positive series, and the alert that says so."""

from __future__ import annotations

from dataclasses import dataclass

from thermotui.detect.alert import Severity
from thermotui.detect.book import AlertBook


@dataclass(frozen=True)
class Change:
    """A change of one layer's mean: steps [start, end), means before and after, z-score and its p-value.

    `seen`: the step after the sample that showed it.
    `kind` is "jump", "drift", "settled" (a drift is over, at `end`) or "continued" (a jump turns out to be a drift).
    """

    kind: str
    layer: int
    start: int
    end: int
    before: float
    after: float
    score: float
    p_value: float
    seen: int


def announce(book: AlertBook, found: Change, *, subject: str, layer: int, severity: Severity = "warning") -> None:
    """Enter a change into the book, `subject` in its sentence, a jump or a drift of that severity."""
    drift = book.latest("temperature_drift", layer)
    if found.kind == "settled":
        if drift is not None and drift.end is None:
            book.close(drift, found.end)
        return
    if found.kind == "continued":
        jump = book.latest("temperature_jump", layer)
        if jump is not None and not jump.withdrawn:
            book.withdraw(jump, "withdrawn: it went on, as a drift")
    verb = "rose" if found.after > found.before else "fell"
    smaller, larger = sorted((found.before, found.after))
    times = f" {larger / smaller:.2f}×" if smaller > 0.0 else ""
    message = (
        f"{subject} {verb}{times} at step {found.start:,}, "
        f"from {found.before:.2g} to {found.after:.2g}, p = {found.p_value:.1g}"
    )
    kind, end = ("temperature_jump", found.end) if found.kind == "jump" else ("temperature_drift", None)
    book.open(kind, found.start, found.seen - 1, severity, message, layer=layer, end=end, p_value=found.p_value)
