"""Rows of `steps`, kept on the device and moved to the host a block at a time."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainers.families.ppm import Batch

CAPACITY = 1024
"""Steps in a block at most."""


class StepRecorder:
    """Loss, accuracy and gradient norm of every member at every step; `record` never synchronises the device."""

    def __init__(self, ensemble: int, device: torch.device, dtype: np.dtype[np.void]) -> None:
        """dtype: that of a row of `steps`."""
        self._figures = torch.empty(CAPACITY, 3, ensemble, device=device)
        self._dtype = dtype
        self._host: list[tuple[int, float, float]] = []

    @property
    def full(self) -> bool:
        """Whether `drain` is due before the next `record`."""
        return len(self._host) == CAPACITY

    def record(self, step: int, learning_rate: float, batch: Batch, gradient_norm: Tensor) -> None:
        """Take in one step. gradient_norm: [K], on the device."""
        row = self._figures[len(self._host)]
        row[0].copy_(batch.loss)
        row[1].copy_(batch.accuracy)
        row[2].copy_(gradient_norm)
        self._host.append((step, time.time(), learning_rate))

    def drain(self) -> NDArray[np.void]:
        """The rows since the last call, means and standard deviations over the ensemble; one transfer."""
        count = len(self._host)
        rows = np.zeros(count, self._dtype)
        if count:
            loss, accuracy, norm = self._figures[:count].cpu().numpy().astype(np.float64).swapaxes(0, 1)
            rows["step"], rows["time"], rows["learning_rate"] = (np.array(x) for x in zip(*self._host, strict=True))
            with np.errstate(invalid="ignore", over="ignore"):
                rows["loss"], rows["loss_spread"] = loss.mean(1), _spread(loss)
                rows["accuracy"], rows["accuracy_spread"] = accuracy.mean(1), _spread(accuracy)
                rows["gradient_norm"] = norm.mean(1)
            self._host.clear()
        return rows


def _spread(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Standard deviation over the members of [steps, K]; NaN for a single one, which has no spread to tell."""
    if values.shape[1] == 1:
        return np.full(len(values), np.nan)
    spread: NDArray[np.float64] = values.std(1, ddof=1)
    return spread


def rows_from(values: Sequence[Mapping[str, Any]], dtype: np.dtype[np.void]) -> NDArray[np.void]:
    """Rows from mappings that all have every field of `dtype`."""
    rows = np.zeros(len(values), dtype)
    for name in dtype.names or ():
        if values:
            rows[name] = [value[name] for value in values]
    return rows
