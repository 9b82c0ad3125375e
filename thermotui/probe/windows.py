"""Windows of consecutive steps whose projected gradients give the autocorrelation."""

from __future__ import annotations

import torch
from torch import Tensor

from thermotui.probe.autocorrelation import Autocorrelation, window_autocorrelation
from thermotui.probe.gradient_reader import GradientReader

WAITING_VALUES = 2**18
"""Numbers that wait to be projected together: small layers cost more in calls than in numbers."""


class ProjectionWindows:
    """Collects the projections of a window's steps, and never those of steps with a gap between them."""

    def __init__(self, reader: GradientReader, *, window: int, lags: int, first: int) -> None:
        """window, lags: in steps. first: the step that the first call of `begin_step` is of."""
        self._reader = reader
        self._window, self._lags, self._first = window, lags, first
        self._rows: list[Tensor] = []
        self._series: list[Tensor] = []
        self.open = False
        """Whether the present step is one of a window's."""

    def begin_step(self, step: int, interval: int) -> None:
        """Windows are as seldom as measurements: one in every `interval`."""
        if step % self._window == 0 or step == self._first:
            self.open = step // self._window % interval == 0
            self._rows.clear()
            self._series.clear()

    def end_step(self, scale: Tensor | None) -> Autocorrelation | None:
        """Take the step's projection, with the loss scale in it; the window's autocorrelation when it is full."""
        projected = self._reader.projected()
        self._rows.append(projected if scale is None else projected / scale)
        waiting = len(self._rows)
        full = len(self._series) + waiting == self._window
        if full or waiting * projected.numel() > WAITING_VALUES:
            self._series += self._reader.projections(torch.stack(self._rows)).float().unbind()
            self._rows.clear()
        if not full:
            return None
        return window_autocorrelation(torch.stack(self._series), self._lags)
