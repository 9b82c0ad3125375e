"""Windows of consecutive steps whose projected gradients give the autocorrelation."""

from __future__ import annotations

from thermotui.probe.autocorrelation import Autocorrelation, window_autocorrelation
from thermotui.probe.readings import Readings


class ProjectionWindows:
    """Lets the projections of a window's steps be collected, and never those of steps with a gap between them."""

    def __init__(self, readings: Readings, *, window: int, lags: int, first: int) -> None:
        """window, lags: in steps. first: the step that the first call of `begin_step` is of."""
        self._readings = readings
        self._window, self._lags, self._first = window, lags, first
        self._count = 0

    @property
    def open(self) -> bool:
        """Whether the present step is one of a window's."""
        return self._readings.windowed

    def begin_step(self, step: int, interval: int) -> None:
        """Windows are as seldom as measurements: one in every `interval`."""
        if step % self._window == 0 or step == self._first:
            self._readings.begin_series(wanted=step // self._window % interval == 0)
            self._count = 0

    def unchanged_until(self, step: int, interval: int) -> int:
        """Steps after `step` and before this one need no call of `begin_step`: no window begins or ends."""
        following = step // self._window + 1
        return self._window * (following if self.open else -(-following // interval) * interval)

    def end_step(self) -> Autocorrelation | None:
        """One of the window's steps is kept; the window's autocorrelation when it is full."""
        self._count += 1
        # More than a window where the log could not be written, and the step was begun anew.
        if self._count != self._window:
            return None
        return window_autocorrelation(self._readings.take_series(), self._lags)
