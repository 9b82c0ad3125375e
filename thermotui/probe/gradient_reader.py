"""What the probe takes from the gradients when a backward pass has accumulated them: norms, projections, θ·g.

They are read before the loop gets them back: unclipped, before weight decay and momentum, with the loss scale
still in it. With several micro-batches the last one's reading stands, which is that of the whole step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import Parameter

from thermotui.probe.autocorrelation import GradientProjection
from thermotui.probe.rules import as_float

PROJECTIONS = 4


class Wanted(NamedTuple):
    """What is read in this step; `pairing` and `copies` only along with `squares`."""

    squares: bool = False
    projections: bool = False
    pairing: bool = False
    copies: bool = False
    differences: bool = False
    """Of the gradient from step to step, in the layers `GradientReader.differenced`."""


NOTHING = Wanted()


class GradientReader:
    """Collects figures of the gradient by parameter and adds them up by layer.

    Parameters go by their position in the row of all layers' parameters.
    """

    def __init__(self, layers: Sequence[Sequence[Parameter]], *, seed: int) -> None:
        self._parameters = [p for layer in layers for p in layer]
        self._rows = [row for row, layer in enumerate(layers) for _ in layer]
        device = self._parameters[0].device
        self._layers = torch.tensor(self._rows, device=device)
        self._count = len(layers)
        self._projection = GradientProjection(
            [[as_float(p.detach()) for p in layer] for layer in layers],
            member_axis=False,
            projections=PROJECTIONS,
            seed=seed,
        )
        self.differenced: frozenset[int] = frozenset()
        """Layers whose noise nothing else measures; each keeps a copy of its gradient for one step."""
        self._current: dict[int, Tensor] = {}
        self._zero = torch.zeros((), device=device)
        self._missing = torch.full((), torch.nan, device=device)
        self.begin_step(NOTHING)

    def reads(self, wanted: Wanted) -> bool:
        """Whether a step with these wants has to be read at all."""
        return wanted.squares or wanted.projections or bool(wanted.differences and self.differenced)

    def begin_step(self, wanted: Wanted) -> None:
        """Forget the last step."""
        self.wanted = wanted
        if not self.reads(wanted):
            self._current = {}
            return
        self.norms = [self._zero] * len(self._parameters)
        self._projected: list[Tensor | None] = [None] * len(self._parameters)
        self._joined: Tensor | None = None
        if wanted.pairing:
            self._pairings = [self._zero] * len(self._parameters)
        self.copies: dict[int, Tensor] = {}
        self._differences: dict[int, Tensor] = {}
        self._previous, self._current = self._current if wanted.differences else {}, {}

    def end_step(self) -> None:
        """Read nothing more until the next step; what this one left can be taken until then."""
        self.wanted = NOTHING

    def read(self, positions: Sequence[int], scale: Tensor | None) -> None:
        """Take the figures of the `.grad` of the parameters at `positions`; scale: the loss scale in it.

        A parameter whose gradient the loop has taken away already, as optimizers inside the backward pass do, is NaN.
        """
        wanted = self.wanted
        if not self.reads(wanted):
            return
        gradients: dict[int, Tensor] = {}
        for position in positions:
            gradient = self._parameters[position].grad
            if gradient is None:
                self.norms[position] = self._missing
            else:
                gradients[position] = _dense(gradient)
        if wanted.projections:
            self._project(gradients)
        if wanted.squares and gradients:
            for position, norm in zip(gradients, torch._foreach_norm(list(gradients.values())), strict=True):
                self.norms[position] = norm
        if wanted.pairing:
            for position, gradient in gradients.items():
                self._pairings[position] = (as_float(self._parameters[position].detach()) * gradient).sum()
        if wanted.copies:
            self.copies |= {position: gradient.clone() for position, gradient in gradients.items()}
        if wanted.differences and self.differenced:
            self._difference(gradients, scale)

    def _project(self, gradients: dict[int, Tensor]) -> None:
        columns = {
            position: self._projection.columns_of(position, gradient) for position, gradient in gradients.items()
        }
        if len(columns) == len(self._parameters):
            self._joined = self._projection.joined([columns[position] for position in range(len(columns))])
            return
        # Parameters that come one by one are joined when all have come: joining at each costs their number squared.
        if self._joined is not None:
            self._projected = list(self._projection.by_parameter(self._joined))
            self._joined = None
        for position, gradient in gradients.items():
            # A vector's is the gradient itself, which the loop goes on to change.
            self._projected[position] = columns[position].clone() if gradient.dim() < 2 else columns[position]

    def _difference(self, gradients: dict[int, Tensor], scale: Tensor | None) -> None:
        for position, gradient in gradients.items():
            if self._rows[position] in self.differenced:
                self._current[position] = gradient.clone() if scale is None else gradient / scale
                if position in self._previous:
                    moved = self._current[position] - self._previous[position]
                    self._differences[position] = moved.square().sum()

    def squares(self, norms: Tensor) -> Tensor:
        """‖g‖² by layer, [n, L], from `norms` of n steps, [n, P]."""
        return self._by_layer(norms.float().square())

    def pairings(self) -> Tensor:
        """θ·g by layer, [L]."""
        return self._by_layer(torch.stack(self._pairings).float().unsqueeze(0))[0]

    def differences(self) -> Tensor:
        """½‖g_t − g_{t−1}‖² by layer, [L], unscaled: Σ_i Var(η_i) where η is white. NaN where it was not taken."""
        halves: list[list[Tensor]] = [[] for _ in range(self._count)]
        for position, row in enumerate(self._rows):
            halves[row].append(0.5 * self._differences.get(position, self._missing))
        return torch.stack([torch.stack(layer).sum() for layer in halves]).float()

    def projected(self) -> Tensor:
        """What `GradientProjection.layers` makes the projected gradient of, [rows]."""
        return self._projection.joined(self._projected) if self._joined is None else self._joined

    def projections(self, projected: Tensor) -> Tensor:
        """Projected gradients by layer, [..., L, PROJECTIONS], from `projected` of one or more steps, [..., rows]."""
        return self._projection.layers(projected)

    def _by_layer(self, values: Tensor) -> Tensor:
        """Sums [n, L] of values by parameter, [n, P]; what is not known of one layer leaves the others alone."""
        return values.new_zeros(len(values), self._count).index_add_(1, self._layers, values)


def _dense(gradient: Tensor) -> Tensor:
    gradient = as_float(gradient)
    return gradient.to_dense() if gradient.is_sparse else gradient
