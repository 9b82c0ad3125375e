"""Sums over the components of whole tensors: one pass over memory each, and no digits lost to their number."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from thermotui.probe.rules import as_float

PIECE = 2**18
"""Numbers that are added up in one go. Plain float32 sums over millions come out too small by 10⁻⁴ and more."""


def square(tensor: Tensor) -> Tensor:
    """Σ_i x_i²: a scalar of the tensor's dtype, on its device."""
    row = tensor.flatten()
    return row.dot(row) if row.numel() <= PIECE else _by_pieces(row, row)


def dot(left: Tensor, right: Tensor) -> Tensor:
    """Σ_i x_i y_i of two tensors of one shape, dtype and device: a scalar of their dtype, on their device."""
    left, right = left.flatten(), right.flatten()
    return left.dot(right) if left.numel() <= PIECE else _by_pieces(left, right)


def _by_pieces(left: Tensor, right: Tensor) -> Tensor:
    pieces = zip(torch.split(left, PIECE), torch.split(right, PIECE), strict=True)
    return torch.stack([a.dot(b) for a, b in pieces]).sum()


class LayerSums:
    """Adds up by layer what is known by parameter."""

    def __init__(self, layers: Sequence[Sequence[Tensor]]) -> None:
        """layers: the parameters of each."""
        rows = [row for row, layer in enumerate(layers) for _ in layer]
        self._rows = torch.tensor(rows, device=layers[0][0].device)
        self._count = len(layers)

    def __call__(self, values: Tensor) -> Tensor:
        """Sums [n, L], float32, of values [n, P]; what is not known of one layer leaves others alone."""
        values = values.float()
        return values.new_zeros(len(values), self._count).index_add_(1, self._rows, values)


class Drift:
    """How far parameters have moved since this was made."""

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        """Keep a copy of the parameters, all on one device."""
        self._parameters = parameters
        starts = [as_float(parameter.detach()).clone(memory_format=torch.contiguous_format) for parameter in parameters]
        self.start = torch.stack([square(start).float() for start in starts])
        """‖θ_0‖² by parameter, float32."""
        largest = max(start.numel() for start in starts)
        scratch = {start.dtype: start.new_empty(min(largest, PIECE)) for start in starts}
        self._kept = [(start, scratch[start.dtype][: start.numel()]) for start in starts]
        self._squares = torch.empty_like(self.start)
        self._places = self._squares.unbind()

    def squared(self) -> Tensor:
        """‖θ − θ_0‖² by parameter, float32, until the next call; no more than a piece of the difference is held."""
        for place, parameter, kept in zip(self._places, self._parameters, self._kept, strict=True):
            place.copy_(_squared_distance(parameter.detach(), *kept))
        return self._squares


def _squared_distance(left: Tensor, right: Tensor, scratch: Tensor) -> Tensor:
    if right.numel() == len(scratch):
        torch.sub(left, right, out=scratch.view_as(right))
        return scratch.dot(scratch)
    pieces = zip(torch.split(left.flatten(), PIECE), torch.split(right.flatten(), PIECE), strict=True)
    differences = (torch.sub(a, b, out=scratch[: a.numel()]) for a, b in pieces)
    return torch.stack([difference.dot(difference) for difference in differences]).sum()
