"""ln Z between two readings, cheaply, so that the loss of every step is a likelihood."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

TRACKED = 256
"""Samples that carry ln Z from the last reading to the present step."""


class LogPartitionTracker:
    """Free-energy perturbation from samples of the last reading's θ, in the model's own precision."""

    def __init__(self) -> None:
        self._samples: Tensor | None = None
        self._phi: Tensor | None = None

    @torch.no_grad()
    def restart(self, energy: Callable[[Tensor], Tensor], samples: Tensor, log_partition: Tensor) -> None:
        """From equally weighted samples [K, M, …] of the present θ with its energy and ln Z [K]."""
        self._samples = samples
        values = energy(samples)
        self._phi = values + log_partition.to(values).unsqueeze(1)

    @torch.no_grad()
    def log_partition(self, energy: Callable[[Tensor], Tensor]) -> Tensor:
        """ln Z of the present θ, [K]; NaN before `restart`."""
        if self._samples is None or self._phi is None:
            return torch.full((), torch.nan)
        return torch.logsumexp(self._phi - energy(self._samples), 1) - math.log(self._samples.shape[1])

    def state_dict(self) -> dict[str, Any]:
        """The samples and their φ."""
        return {"samples": self._samples, "phi": self._phi}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict`."""
        self._samples, self._phi = state["samples"], state["phi"]
