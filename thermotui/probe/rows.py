"""Figures of many steps in memory that is taken once.

What a step leaves behind must not lie among the tensors that it frees: small ones in between keep the allocator from
giving the training the same memory at every step, and fresh memory costs more than all that is measured.
"""

from __future__ import annotations

import torch
from torch import Tensor

VIEWS = 64
"""Rows that are made ready at once: a view of each by itself takes as long as the copy."""


class Rows:
    """Up to `capacity` tensors of one shape, each with its place among the steps, copied on their device."""

    def __init__(self, capacity: int, dtype: torch.dtype | None = None) -> None:
        """dtype: what they are kept in; without it that of the first one."""
        self.places: list[int] = []
        self._capacity = capacity
        self._dtype = dtype
        self._table: Tensor | None = None
        self._first = -1
        self._views: tuple[Tensor, ...] = ()
        """Of the rows from `_first` on."""

    def __len__(self) -> int:
        return len(self.places)

    def add(self, place: int, row: Tensor) -> None:
        """Copy one more, with nothing of its graph."""
        count = len(self.places)
        first = count - count % VIEWS
        if first != self._first:
            self._first, self._views = first, self._space(row)[first : first + VIEWS].unbind()
        self._views[count - first].copy_(row)
        self.places.append(place)

    def extend(self, places: list[int], rows: Tensor) -> None:
        """Copy several, [n, …]."""
        count = len(self.places)
        self._space(rows[0])[count : count + len(places)].copy_(rows)
        self.places += places

    def take(self) -> tuple[list[int], Tensor]:
        """All of them, [n, …], and their places; the tensor holds until the next one is added."""
        places, self.places = self.places, []
        if self._table is None:
            return places, torch.empty(0, device="cpu")
        return places, self._table[: len(places)]

    def _space(self, row: Tensor) -> Tensor:
        if self._table is None:
            self._table = torch.empty(self._capacity, *row.shape, dtype=self._dtype or row.dtype, device=row.device)
        return self._table
