"""The row norms of linear layers, written where they wait until those of many steps are summed up at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from thermotui.probe.forms import norm
from thermotui.probe.noise import LinearPart, spread
from thermotui.probe.rows import Rows
from thermotui.probe.rules import WIDE
from thermotui.probe.track import Track

MOST_STEPS = 64
LATER = 2**16
"""Norms that may wait to be summed up: a sum costs more in operations to start than in numbers."""


class LinearNorms:
    """The norms of steps in which every layer is a `LinearPart`, [steps, 2L, n], and their sums.

    A step's are ‖a_n‖ of each layer, then ‖G_n‖ of its output.
    """

    def __init__(self, biases: Tensor, sums: Rows) -> None:
        """biases: [L], 1 where the bias is trained too, 0 where there is none. sums: takes the rows `NOISE`, [3, L]."""
        self._biases = biases
        self._sums = sums
        self._places: list[int] = []
        self.samples = -1
        """Of the steps that wait."""
        self._dtype = torch.float32
        self._rows: tuple[Tensor, ...] = ()
        """By step that may wait, [2L, n]."""
        self._open: list[LinearPart] = []
        """Where the present step's go, by layer; always the same, so that it stays in the processor's cache."""

    def read(self, layer: int, inputs: Any, deltas: Tensor, samples: int, first: bool) -> LinearPart | None:
        """The two row norms of a linear layer, of the `first` micro-batch where they wait to be summed up.

        None where input and output have not one row for each of the samples.
        """
        if not isinstance(inputs, Tensor):
            return None
        # A tensor's len() is a function of Python's, called eight times a step.
        taken, given = inputs.shape, deltas.shape
        if len(taken) != 2 or len(given) != 2 or taken[0] != samples or given[0] != samples:
            return None
        if torch.is_grad_enabled():
            # Where gradients are differentiable, the figures would keep the graph.
            inputs = inputs.detach()
        dtype = self._dtype
        if inputs.dtype is not dtype or deltas.dtype is not dtype:
            inputs = inputs if inputs.dtype in WIDE else inputs.float()
            deltas = deltas if deltas.dtype in WIDE else deltas.float()
            dtype = deltas.dtype
            first = first and inputs.dtype is dtype
        if not first:
            return norm(inputs, dim=1), norm(deltas, dim=1)
        if samples != self.samples or dtype is not self._dtype:
            self._make(samples, dtype)
        part = self._open[layer]
        norm(inputs, dim=1, out=part[0])
        norm(deltas, dim=1, out=part[1])
        return part

    def hold(self, tracks: Sequence[Track]) -> bool:
        """Whether the parts of the layers in the present step are all waiting here."""
        if not self._open:
            return False
        for track, part in zip(tracks, self._open, strict=True):
            parts = track.parts
            if len(parts) != 1 or parts[0] is not part:
                return False
        return True

    def keep(self, place: int) -> None:
        """Those of the present step may wait; place: its place among the steps."""
        self._rows[len(self._places)].copy_(self._present)
        self._places.append(place)
        if len(self._places) == len(self._rows):
            self.settle()

    def settle(self) -> None:
        """Sum up what waits."""
        if self._places:
            self._sums.extend(self._places, linear_sums(self._norms[: len(self._places)], self._biases))
            self._places.clear()

    def _make(self, samples: int, dtype: torch.dtype) -> None:
        self.settle()
        layers = len(self._biases)
        steps = max(min(MOST_STEPS, LATER // (2 * layers * max(samples, 1))), 1)
        self.samples, self._dtype = samples, dtype
        self._norms = self._biases.new_empty(steps, 2 * layers, samples, dtype=dtype)
        self._rows = self._norms.unbind()
        self._present = torch.empty_like(self._rows[0])
        each = self._present.unbind()
        self._open = list(zip(each[:layers], each[layers:], strict=True))


def linear_sums(norms: Tensor, biases: Tensor) -> Tensor:
    """The rows `NOISE`, [..., 3, L], of steps with the same number of samples: norms [..., 2L, n], biases [L]."""
    inputs, deltas = norms.square().chunk(2, dim=-2)
    values = (inputs + biases.unsqueeze(1)) * deltas
    # Comparing and counting takes several times as long: no value is negative.
    return torch.stack([values.sum(-1), spread(values), values.sign().sum(-1)], dim=-2).float()
