"""The one place that turns a run's rows into alerts: live in the trainer, afterwards in `scan` and on the screen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thermotui.detect.alert import Alert
from thermotui.detect.book import AlertBook
from thermotui.detect.intervals import Interval, valid_intervals
from thermotui.detect.loss import LossDetector
from thermotui.detect.reservoir import ReservoirDetector
from thermotui.detect.settings import Settings
from thermotui.detect.thermodynamics import ThermodynamicRules


class RunMonitor:
    """Streams the rows of a run log through every detector.

    layers: their names, in the order of the log. ensemble: K. batches_per_epoch: N/|b| where batches are drawn without
    replacement, for windows of the autocorrelation that do not carry the echo which that alone gives. Rows of one
    stream must come in the order of their steps, in any portions: the alerts are the same. Streams without detectors
    are ignored.
    """

    def __init__(
        self,
        layers: Sequence[str],
        *,
        ensemble: int = 1,
        batches_per_epoch: float | None = None,
        settings: Settings | None = None,
        gaps: bool = False,
    ) -> None:
        self._gaps = gaps
        self._settings = Settings() if settings is None else settings
        self._book = AlertBook()
        self._loss = LossDetector(self._settings, self._book, proxy=not layers)
        self._reservoir = ReservoirDetector(tuple(layers), self._settings, self._book, batches_per_epoch)
        self._laws = ThermodynamicRules(ensemble, self._settings, self._book)
        self._steps = 0
        """The first steps seen, two at most."""
        self._leaves_out = self._loss_begun = False
        """Whether not every step's loss is recorded, and whether one was."""

    def feed(self, stream: str, rows: NDArray[np.void]) -> list[Alert]:
        """Rows of `steps`, `thermo`, `reservoir` or `autocorrelation`; the alerts they raised, ended or withdrew."""
        if len(rows):
            # A damaged row may hold signalling NaN, of which numpy warns whoever converts them.
            with np.errstate(invalid="ignore"):
                self._feed(stream, rows)
        return self._book.take_changes()

    def _feed(self, stream: str, rows: NDArray[np.void]) -> None:
        if stream == "steps":
            rows = self._recorded(rows)
            self._loss.feed(rows["step"].astype(np.int64), rows["loss"].astype(np.float64))
        elif stream == "thermo":
            self._laws.feed(rows)
        elif stream == "reservoir":
            self._reservoir.feed(rows)
        elif stream == "autocorrelation":
            self._reservoir.feed_autocorrelation(rows)

    def _recorded(self, rows: NDArray[np.void]) -> NDArray[np.void]:
        """Those of `steps` whose loss was recorded, as far as that can be told.

        One that is not a number has no gradient that is one: a loop that leaves out one of its first two losses, with
        such a gradient, does not record them all. Of any other loop every loss counts.
        """
        missing = np.isnan(rows["loss"])
        if self._gaps:
            return np.asarray(rows[~missing])
        with_gradient = np.isfinite(rows["gradient_norm"])
        first = missing[: max(2 - self._steps, 0)]
        self._leaves_out |= bool((first & with_gradient[: len(first)]).any())
        self._steps += len(first)
        begun = self._loss_begun | np.logical_or.accumulate(~missing)
        self._loss_begun = bool(begun[-1])
        if not (self._leaves_out and missing.any()):
            return rows
        # Before the first loss there is none to be recorded, also where the gradient was not measured.
        return np.asarray(rows[~(missing & (with_gradient | ~begun))])

    @property
    def alerts(self) -> tuple[Alert, ...]:
        """The latest version of each alert, those withdrawn left out."""
        return self._book.alerts

    def valid_intervals(self, last_step: int, layer: int | None = None) -> list[Interval]:
        """Where the reservoir assumption holds, up to and with `last_step`.

        `layer`: of that layer, −1 of the run's own figures; None for what all layers and the run have in common.
        """
        return valid_intervals(self.alerts, last_step, layer, minimum=self._settings.interval)

    def state_dict(self) -> dict[str, Any]:
        """All that was remembered, as plain values and numpy arrays."""
        return {
            "book": self._book.state_dict(),
            "loss": self._loss.state_dict(),
            "reservoir": self._reservoir.state_dict(),
            "laws": self._laws.state_dict(),
            "recorded": (self._steps, self._leaves_out, self._loss_begun),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken, with the same layers and settings."""
        self._book.load_state_dict(state["book"])
        self._loss.load_state_dict(state["loss"])
        self._reservoir.load_state_dict(state["reservoir"])
        self._laws.load_state_dict(state["laws"])
        # Older checkpoints have none, and are of trainers, which record every loss.
        self._steps, self._leaves_out, self._loss_begun = state.get("recorded", (2, False, True))
