"""Windows of consecutive steps whose projected gradients give the autocorrelation."""

from __future__ import annotations

import torch
from torch import Tensor

from thermotui.probe.autocorrelation import Autocorrelation, window_autocorrelation
from thermotui.probe.gradient_reader import GradientReader
from thermotui.probe.rows import Rows

WAITING_VALUES = 2**18
"""Numbers that wait to be projected together: small layers cost more in calls than in numbers."""
MOST_WAITING = 64
"""Steps that wait, so that what waits of small models stays in the processor's cache."""


class ProjectionWindows:
    """Collects the projections of a window's steps, and never those of steps with a gap between them."""

    def __init__(self, reader: GradientReader, *, window: int, lags: int, first: int) -> None:
        """window, lags: in steps. first: the step that the first call of `begin_step` is of."""
        self._reader = reader
        self._window, self._lags, self._first = window, lags, first
        self._most = max(min(WAITING_VALUES // reader.projected.numel(), MOST_WAITING), 1)
        self._waiting = Rows(self._most)
        self._series = Rows(window, torch.float32)
        self._count = 0
        self.open = False
        """Whether the present step is one of a window's."""

    def begin_step(self, step: int, interval: int) -> None:
        """Windows are as seldom as measurements: one in every `interval`."""
        if step % self._window == 0 or step == self._first:
            self.open = step // self._window % interval == 0
            self._waiting.take()
            self._series.take()
            self._count = 0

    def end_step(self, scale: Tensor | None) -> Autocorrelation | None:
        """Take the step's projection, with the loss scale in it; the window's autocorrelation when it is full."""
        projected = self._reader.projected
        self._waiting.add(self._count, projected if scale is None else projected / scale)
        self._count += 1
        full = self._count == self._window
        if full or len(self._waiting) == self._most:
            places, waiting = self._waiting.take()
            self._series.extend(places, self._reader.projections(waiting))
        return window_autocorrelation(self._series.take()[1], self._lags) if full else None
