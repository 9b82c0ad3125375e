"""Which samples each member sees at each step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from thermotui.errors import InputError


class BatchSchedule:
    """Mini-batches of K members, each with its own order.

    With replacement every batch is independent of every other. Without, each member goes through a fresh permutation of
    its data set; the samples left over when it does not divide into batches wait for the next permutation.
    """

    def __init__(
        self, *, ensemble: int, dataset_size: int, batch_size: int, replacement: bool, generator: torch.Generator
    ) -> None:
        """Draws on the generator's device; InputError for a batch larger than the data set it is drawn from."""
        if not replacement and batch_size > dataset_size:
            raise InputError(
                f"--batch-size {batch_size} is more than the {dataset_size} samples of a member's data set: "
                "take a smaller batch or --replacement."
            )
        self._shape = (ensemble, batch_size)
        self._size = dataset_size
        self._generator = generator
        self._batches = None if replacement else dataset_size // batch_size
        self._position = 0
        self._order: Tensor | None = None

    @property
    def batches_per_epoch(self) -> int | None:
        """Batches until every sample has been seen once; None with replacement."""
        return self._batches

    def next(self) -> Tensor:
        """The next batch of every member: int64 [K, b], indices into its data set."""
        device = self._generator.device
        if self._batches is None:
            return torch.randint(self._size, self._shape, generator=self._generator, device=device)
        if self._order is None or self._position == self._batches:
            keys = torch.rand(self._shape[0], self._size, generator=self._generator, device=device)
            self._order = keys.argsort(dim=1)
            self._position = 0
        start = self._position * self._shape[1]
        self._position += 1
        return self._order[:, start : start + self._shape[1]]

    def state_dict(self) -> dict[str, Any]:
        """Everything that the coming batches depend on."""
        return {"generator": self._generator.get_state(), "position": self._position, "order": self._order}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`."""
        self._generator.set_state(state["generator"].cpu())
        self._position = state["position"]
        order = state["order"]
        self._order = None if order is None else order.to(self._generator.device)
