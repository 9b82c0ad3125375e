"""The norms of layers of any kind, kept where they wait until those of many steps are summed up at once.

To sum up a layer takes two dozen operations. On a device each takes longer to start than to run, and the step waits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from thermotui.probe.noise import Part, spread
from thermotui.probe.rows import Rows

MOST_STEPS = 32
MOST_VALUES = 2**20
"""Norms that may wait."""
STEADY = 4
"""Steps of one shape in a row for which room is made: that takes as long as summing up a few by themselves."""


class Kind(NamedTuple):
    """What the norms of some parameters are: of which layer, those of a sketch, squared already."""

    layer: int
    sketched: bool
    squared: bool


Shape = tuple[list[Kind], list[tuple[torch.Size, torch.dtype]]]


class GeneralNorms:
    """Norms of steps whose layers have one part each, all of the same samples, and their sums; a layer may have none.

    Only steps of the shape that has been steady wait: an epoch's last batch, or sequences of any length, do not. They
    wait as [steps, norms, n], and where they are sketched as [steps, sketches, n, k].
    """

    def __init__(self, layers: int, sums: Rows) -> None:
        """layers: how many there are. sums: takes the rows `NOISE`, [3, L]."""
        self._layers = layers
        self._sums = sums
        self._places: list[int] = []
        self._kinds: list[Kind] = []
        self._shape: Shape | None = None
        """Of the steps that there is room for."""
        self._last: Shape | None = None
        self._in_a_row = 0
        self._slots: list[list[Tensor]] = []
        """By step, where the norms go: those of single columns, then those of sketches."""

    def hold(self, layers: Sequence[Sequence[Part]]) -> bool:
        """Copy the parts of the present step, by layer; False where they are not what can be summed up together."""
        kinds: list[Kind] = []
        single: list[Tensor] = []
        sketched: list[Tensor] = []
        for layer, parts in enumerate(layers):
            if len(parts) > 1 or (parts and parts[0].weight != 1.0):
                return False
            for one in parts[0].norms if parts else ():
                kinds.append(Kind(layer, one.sketched, one.squared))
                (sketched if one.sketched else single).append(one.values)
        values = single + sketched
        shape = kinds, [(value.shape, value.dtype) for value in values]
        if shape == self._shape:
            self._in_a_row = 0
        elif not self._becomes_steady(shape, single, sketched):
            return False
        torch._foreach_copy_(self._slots[len(self._places)], values)
        return True

    def keep(self, place: int) -> None:
        """Those of the present step may wait; place: its place among the steps."""
        self._places.append(place)
        if len(self._places) == len(self._slots):
            self.settle()

    def settle(self) -> None:
        """Sum up what waits."""
        if self._places:
            count = len(self._places)
            self._sums.extend(self._places, self._totals(self._single[:count], self._sketched[:count]))
            self._places.clear()

    def _becomes_steady(self, shape: Shape, single: list[Tensor], sketched: list[Tensor]) -> bool:
        """Whether there is room for steps of this shape from now on."""
        self._in_a_row = self._in_a_row + 1 if shape == self._last else 1
        self._last = shape
        kinds, values = shape
        if self._in_a_row < STEADY or len({(size[0], dtype) for size, dtype in values}) != 1:
            return False
        self.settle()
        if kinds != self._kinds:
            self._arrange(kinds, (single + sketched)[0].device)
        self._make_room(single, sketched)
        self._shape = shape
        return True

    def _arrange(self, kinds: list[Kind], device: torch.device) -> None:
        """Bring to the device what the sums need to know of the norms: the host waits, once unless the kinds change."""
        self._kinds = kinds
        self._single_rows, self._sketched_rows = (
            torch.tensor([kind.layer for kind in kinds if kind.sketched is which], dtype=torch.int64, device=device)
            for which in (False, True)
        )
        squared = [kind.squared for kind in kinds if not kind.sketched]
        self._squared = torch.tensor(squared, dtype=torch.bool, device=device).unsqueeze(1)
        measured = {kind.layer for kind in kinds}
        missing = [0.0 if layer in measured else torch.nan for layer in range(self._layers)]
        self._missing = torch.tensor(missing, device=device)

    def _make_room(self, single: list[Tensor], sketched: list[Tensor]) -> None:
        values = single + sketched
        like = values[0]
        columns = sketched[0].shape[1] if sketched else 1
        steps = max(min(MOST_STEPS, MOST_VALUES // max(sum(value.numel() for value in values), 1)), 1)
        self._single = like.new_empty(steps, len(single), len(like))
        self._sketched = like.new_empty(steps, len(sketched), len(like), columns)
        pairs = zip(self._single, self._sketched, strict=True)
        self._slots = [[*one.unbind(), *other.unbind()] for one, other in pairs]

    def _totals(self, single: Tensor, sketched: Tensor) -> Tensor:
        """The rows `NOISE`, [steps, 3, L], float32."""
        values = single.new_zeros(len(single), self._layers, single.shape[-1])
        values.index_add_(1, self._single_rows, torch.where(self._squared, single, single.square()))
        squares = sketched.square()
        values.index_add_(1, self._sketched_rows, squares.mean(-1))
        variance = spread(values)
        if sketched.shape[1]:
            columns = squares.sum(2)
            variance.index_add_(1, self._sketched_rows, columns.var(-1) / columns.shape[-1])
        contributing = (values > 0).sum(-1).to(values.dtype)
        return torch.stack([values.sum(-1), variance, contributing], dim=1).float() + self._missing
