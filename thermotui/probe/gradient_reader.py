"""What the probe takes from the gradients when a backward pass has accumulated them: norms, projections, θ·g.

They are read before the loop gets them back: unclipped, before weight decay and momentum, with the loss scale
still in it. With several micro-batches the last one's reading stands, which is that of the whole step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import Parameter

from thermotui.probe.autocorrelation import GradientProjection
from thermotui.probe.rules import as_float

PROJECTIONS = 4


@dataclass(frozen=True)
class Wanted:
    """What is read in this step; `pairing` and `copies` only along with `squares`."""

    squares: bool = False
    projections: bool = False
    pairing: bool = False
    copies: bool = False
    differences: bool = False
    """Of the gradient from step to step, in the layers `GradientReader.differenced`."""


class GradientReader:
    """Collects figures of the gradient by parameter and adds them up by layer."""

    def __init__(self, layers: Sequence[Sequence[Parameter]], *, seed: int) -> None:
        self._layers = layers
        self._position = {id(p): (row, i) for row, layer in enumerate(layers) for i, p in enumerate(layer)}
        self._order = [p for layer in layers for p in layer]
        device = self._order[0].device
        self._members = torch.zeros(len(layers), len(self._order), device=device)
        for column, parameter in enumerate(self._order):
            self._members[self._position[id(parameter)][0], column] = 1.0
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
        self._no_projection = torch.zeros(PROJECTIONS, device=device)
        self.begin_step(Wanted())

    def begin_step(self, wanted: Wanted) -> None:
        """Forget the last step."""
        self.wanted = wanted
        self._wants = wanted != Wanted()
        self._norms: dict[int, Tensor] = {}
        self._pairings: dict[int, Tensor] = {}
        self._projections: dict[int, Tensor] = {}
        self.copies: dict[int, Tensor] = {}
        self._differences: dict[int, Tensor] = {}
        self._previous, self._current = self._current if wanted.differences else {}, {}

    def read(self, parameters: Sequence[Parameter], scale: Tensor | None) -> None:
        """Take the figures of the `.grad` of `parameters`; scale: the loss scale in it."""
        wanted = self.wanted
        if not self._wants:
            return
        gradients = [_dense(parameter) for parameter in parameters]
        keys = [id(parameter) for parameter in parameters]
        if wanted.projections:
            for key, gradient in zip(keys, gradients, strict=True):
                self._projections[key] = self._projection.one(*self._position[key], gradient)
        if wanted.squares:
            self._norms.update(zip(keys, torch._foreach_norm(gradients), strict=True))
        if wanted.pairing:
            for key, parameter, gradient in zip(keys, parameters, gradients, strict=True):
                self._pairings[key] = (as_float(parameter.detach()) * gradient).sum()
        if wanted.copies:
            self.copies.update(zip(keys, [gradient.clone() for gradient in gradients], strict=True))
        if wanted.differences and self.differenced:
            self._difference(keys, gradients, scale)

    def _difference(self, keys: Sequence[int], gradients: Sequence[Tensor], scale: Tensor | None) -> None:
        for key, gradient in zip(keys, gradients, strict=True):
            if self._position[key][0] in self.differenced:
                self._current[key] = gradient.clone() if scale is None else gradient / scale
                if key in self._previous:
                    self._differences[key] = (self._current[key] - self._previous[key]).square().sum()

    def squares(self) -> Tensor:
        """‖g‖² by layer, [L]."""
        norms = torch.stack([self._norms.get(id(p), self._zero) for p in self._order])
        return self._members @ norms.float().square()

    def pairings(self) -> Tensor:
        """θ·g by layer, [L]."""
        return self._by_layer(self._pairings)

    def differences(self) -> Tensor:
        """½‖g_t − g_{t−1}‖² by layer, [L], unscaled: Σ_i Var(η_i) where η is white. NaN where it was not taken."""
        halves = [0.5 * self._differences.get(id(p), self._missing) for p in self._order]
        return torch.stack(
            [
                torch.stack(
                    [half for half, p in zip(halves, self._order, strict=True) if self._position[id(p)][0] == row]
                ).sum()
                for row in range(len(self._layers))
            ]
        ).float()

    def projections(self) -> Tensor:
        """Projected gradient by layer, [L, PROJECTIONS]."""
        rows = [self._projections.get(id(p), self._no_projection) for p in self._order]
        return self._members @ torch.stack(rows).float()

    def _by_layer(self, values: dict[int, Tensor]) -> Tensor:
        return self._members @ torch.stack([values.get(id(p), self._zero) for p in self._order]).float()


def _dense(parameter: Parameter) -> Tensor:
    gradient = parameter.grad
    if gradient is None:
        raise RuntimeError("a parameter lost its gradient during the backward pass that accumulated it")
    gradient = as_float(gradient.detach())
    return gradient.to_dense() if gradient.is_sparse else gradient
