"""Running sums on a grid of samples: any window mean in two look-ups, the same bit for bit in any chunking."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

GRID = 8
"""Windows begin and end at multiples of so many samples."""


class PrefixSums:
    """Running sums of `columns` quantities, kept at the last `keep` samples' grid points.

    The sums are carried on one after the other, never rebuilt, so that a window's sum does not depend on how the
    samples arrived. `boundary` is the step at a grid point: one after the step of the last sample before it.
    """

    def __init__(self, shape: tuple[int, ...], keep: int, grid: int = GRID) -> None:
        self._grid = grid
        self._total = np.zeros(shape)
        self._keep = keep // grid + 1
        self.count = 0
        self._first = 0
        self._sums = np.zeros((1, *shape))
        self._steps = np.zeros(1, dtype=np.int64)
        self._started = False

    @property
    def first(self) -> int:
        """The earliest sample (a multiple of the grid) that a window may begin at."""
        return self._first * self._grid

    def feed(self, values: NDArray[np.float64], steps: NDArray[np.int64]) -> NDArray[np.int64]:
        """Add n samples, float64 [n, *shape], taken at `steps` [n]; returns the new grid points as sample counts."""
        n = len(values)
        if n == 0:
            return np.zeros(0, dtype=np.int64)
        if not self._started:
            self._steps[0] = steps[0]
            self._started = True
        sums = np.empty((n + 1, *self._total.shape))
        sums[0] = self._total
        sums[1:] = values
        np.add.accumulate(sums, axis=0, out=sums)
        self._total = sums[-1].copy()
        offset = self._grid - self.count % self._grid
        grid = np.arange(self.count + offset, self.count + n + 1, self._grid, dtype=np.int64)
        if grid.size:
            at = grid - self.count
            kept_sums = self._sums[-self._keep :]
            kept_steps = self._steps[-self._keep :]
            self._first += len(self._sums) - len(kept_sums)
            self._sums = np.concatenate([kept_sums, sums[at]])
            self._steps = np.concatenate([kept_steps, steps[at - 1] + 1])
        self.count += n
        return grid

    def at(self, samples: NDArray[np.int64]) -> NDArray[np.float64]:
        """Running sums at grid points given as sample counts, [len(samples), *shape]."""
        return self._sums[samples // self._grid - self._first]

    def at_columns(self, samples: NDArray[np.int64]) -> NDArray[np.float64]:
        """Running sums where each of the last axis' entries has its own grid points: samples [n, L] → [n, …, L]."""
        if samples.size and (samples == samples[:, :1]).all():
            return self.at(samples[:, 0])
        index = samples // self._grid - self._first
        columns = np.arange(samples.shape[-1])
        return (
            np.moveaxis(self._sums[index, ..., columns], -1, 1) if self._sums.ndim > 2 else self._sums[index, columns]
        )

    def first_at_columns(self, samples: NDArray[np.int64]) -> NDArray[np.float64]:
        """`at_columns` of the first of the quantities alone: samples [n, L], or [n, 1] for all L, → [n, L]."""
        index = samples // self._grid - self._first
        if samples.size and (samples == samples[:, :1]).all():
            return np.asarray(self._sums[index[:, 0], 0])
        return np.asarray(self._sums[index, 0, np.arange(samples.shape[-1])])

    def boundary(self, sample: int) -> int:
        """The step at a grid point."""
        return int(self._steps[max(sample // self._grid - self._first, 0)])

    def state_dict(self) -> dict[str, Any]:
        """Arrays and integers."""
        names = ("_total", "count", "_first", "_sums", "_steps", "_started")
        return {name: np.copy(v) if isinstance(v := getattr(self, name), np.ndarray) else v for name in names}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        for name, value in state.items():
            setattr(self, name, np.copy(value) if isinstance(value, np.ndarray) else value)
