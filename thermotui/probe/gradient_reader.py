"""What the probe takes from the gradients when a backward pass has accumulated them: norms, projections, θ·g.

They are read before the loop gets them back: unclipped, before weight decay and momentum, with the loss scale
still in it. With several micro-batches the last one's reading stands, which is that of the whole step.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import Parameter

from thermotui.probe.agreement import Directed, Directions
from thermotui.probe.autocorrelation import GradientProjection
from thermotui.probe.forms import norm
from thermotui.probe.readings import Place, Readings
from thermotui.probe.sums import dot
from thermotui.probe.sums import square as square_of

PROJECTIONS = 4


class Wanted(NamedTuple):
    """What is read in this step; `pairing`, `copies` and `directed` only along with `squares`."""

    squares: bool = False
    projections: bool = False
    pairing: bool = False
    copies: bool = False
    differences: bool = False
    """Of the gradient from step to step, in the layers `GradientReader.differenced`."""
    directed: bool = False
    """The gradient along its random direction."""


NOTHING = Wanted()


def gradient_projection(layers: Sequence[Sequence[Parameter]], seed: int) -> GradientProjection:
    """That of the gradients of `layers`, in the precision that all of them fit in, float32 at least."""
    dtype = functools.reduce(torch.promote_types, (p.dtype for layer in layers for p in layer), torch.float32)
    drawn = [[p.detach().to(dtype) for p in layer] for layer in layers]
    return GradientProjection(drawn, member_axis=False, projections=PROJECTIONS, seed=seed)


class GradientReader:
    """Collects figures of the gradient by parameter.

    Parameters go by their position in the row of all layers' parameters.
    """

    def __init__(self, layers: Sequence[Sequence[Parameter]], readings: Readings, directions: Directions) -> None:
        """readings: take the squares and the projections. directions: of the figures `directed`."""
        self._directions = directions
        self._parameters = [p for layer in layers for p in layer]
        self._rows = [row for row, layer in enumerate(layers) for _ in layer]
        self._count = len(layers)
        self._readings = readings
        device = self._parameters[0].device
        self._dtype = readings.dtype
        self.pairings = torch.zeros(len(self._parameters), dtype=self._dtype, device=device)
        """θ·g by parameter, [P]; zero where no gradient came."""
        self._pairing_places = self.pairings.unbind()
        self.differenced: frozenset[int] = frozenset()
        """Layers whose noise nothing else measures; each keeps a copy of its gradient for one step."""
        self._current: dict[int, Tensor] = {}
        self._missing = torch.full((), torch.nan, device=device)
        self._due = False
        self._blank = False
        """Whether the figures of the last step are gone, or certain to be overwritten."""
        self.begin_step(NOTHING)

    def due(self, wanted: Wanted) -> bool:
        """Whether there is anything to read where that is wanted."""
        return wanted.squares or wanted.projections or (wanted.differences and bool(self.differenced))

    def begin_step(self, wanted: Wanted) -> None:
        """Forget the last step, and read in this one what is wanted."""
        self.wanted = wanted
        self._due = wanted is not NOTHING
        if not self._due:
            self._current = {}
            return
        self._blank = False
        self.copies: dict[int, Tensor] = {}
        self.directed: dict[int, Directed] = {}
        """By the parameter's id."""
        self._differences: dict[int, Tensor] = {}
        self._previous, self._current = self._current if wanted.differences else {}, {}

    def end_step(self) -> None:
        """Read nothing more until the next step; what this one left can be taken until then."""
        if self._due and not self._blank:
            self._clear()
        self.wanted = NOTHING
        self._due = False

    def forget(self) -> None:
        """The gradients read so far in this step are gone; others may come, of fewer parameters."""
        self._blank = False
        self.directed.clear()

    def read(self, positions: Sequence[int], scale: Tensor | None) -> None:
        """Take the figures of the `.grad` of the parameters at `positions`; scale: the loss scale in it.

        A parameter whose gradient the loop has taken away already, as optimizers inside the backward pass do, is NaN.
        """
        if not self._due:
            return
        if not self._blank:
            if len(positions) < len(self._parameters):
                self._clear()
            self._blank = True
        wanted, dtype, parameters, places = self.wanted, self._dtype, self._parameters, self._readings.present
        at_once = self._readings.at_once
        one_by_one = wanted.squares and not at_once
        seldom = wanted.pairing or wanted.copies or wanted.directed or bool(self.differenced)
        once_more = seldom or (wanted.squares and at_once)
        gradients: dict[int, Tensor] = {}
        vectors: list[Tensor] = []
        places_of_vectors: list[Tensor] = []
        # One tensor after the other, so that the second look at it finds it in the processor's cache.
        for position in positions:
            gradient = parameters[position].grad
            direction, projected, row_norms, square = places[position]
            if gradient is None:
                for place in (projected, row_norms, square):
                    if place is not None:
                        place.copy_(self._missing)
                continue
            if gradient.dtype is not dtype or gradient.is_sparse or gradient.requires_grad:
                gradient = _plain(gradient, dtype)
            if direction is None:
                if at_once:
                    vectors.append(gradient)
                    places_of_vectors.append(projected)
                else:
                    projected.copy_(gradient)
            elif wanted.projections or (one_by_one and row_norms is not None):
                rows = gradient if gradient.dim() == 2 else gradient.flatten(1)
                if one_by_one and row_norms is not None:
                    norm(rows, dim=1, out=row_norms)
                if wanted.projections:
                    torch.mv(rows, direction, out=projected)
            if one_by_one and square is not None:
                square.copy_(square_of(gradient))
            if once_more:
                gradients[position] = gradient
        if vectors:
            torch._foreach_copy_(places_of_vectors, vectors)
        if gradients:
            self._look_again(gradients, places, scale)

    def _look_again(self, gradients: dict[int, Tensor], places: Sequence[Place], scale: Tensor | None) -> None:
        """What is read seldom, or of all gradients in one operation."""
        wanted = self.wanted
        if wanted.squares and self._readings.at_once:
            found = [(gradients[at], square) for at in gradients if (square := places[at].square) is not None]
            if found:
                norms = torch._foreach_norm([gradient for gradient, _ in found])
                torch._foreach_mul_(norms, norms)
                torch._foreach_copy_([square for _, square in found], norms)
        if wanted.pairing:
            for position, gradient in gradients.items():
                parameter = self._parameters[position].detach().to(self._dtype)
                self._pairing_places[position].copy_(dot(parameter, gradient))
        if wanted.copies:
            self.copies |= {position: gradient.clone() for position, gradient in gradients.items()}
        if wanted.directed:
            for position, gradient in gradients.items():
                parameter = self._parameters[position]
                self.directed[id(parameter)] = self._directions.of_gradient(parameter, gradient)
        if wanted.differences and self.differenced:
            self._difference(gradients, scale)

    def _clear(self) -> None:
        """Parameters without gradient are zeros."""
        self._blank = True
        self._readings.clear()
        self.pairings.zero_()

    def _difference(self, gradients: dict[int, Tensor], scale: Tensor | None) -> None:
        for position, gradient in gradients.items():
            if self._rows[position] in self.differenced:
                self._current[position] = gradient.clone() if scale is None else gradient / scale
                if position in self._previous:
                    moved = self._current[position] - self._previous[position]
                    self._differences[position] = moved.square().sum()

    def differences(self) -> Tensor:
        """½‖g_t − g_{t−1}‖² by layer, [L], unscaled: Σ_i Var(η_i) where η is white. NaN where it was not taken."""
        halves: list[list[Tensor]] = [[] for _ in range(self._count)]
        for position, row in enumerate(self._rows):
            # A parameter that neither step reached, as a bias where only slopes count, does not differ.
            if position in self._current or position in self._previous:
                halves[row].append(0.5 * self._differences.get(position, self._missing))
        return torch.stack([torch.stack(layer).sum() if layer else self._missing for layer in halves]).float()


def _plain(gradient: Tensor, dtype: torch.dtype) -> Tensor:
    gradient = gradient.detach().to(dtype)
    return gradient.to_dense() if gradient.is_sparse else gradient
