"""The forms in which backpropagation leaves per-sample gradients of one parameter, and their norms.

A parameter used once keeps its form and the cheapest exact route is taken; where exactness is too dear, or forms of
several uses have to be added, a random sketch Rᵀg_n of the output side gives unbiased squares.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from thermotui.probe.gradient_norms import gram_squared_norms
from thermotui.probe.signs import RandomSigns

# Squaring and adding up by other operations, or by matrix products, takes two to five times as long.
norm = torch.linalg.vector_norm


@dataclass(frozen=True)
class Norms:
    """‖g_n‖ of some parameters, [n], or ‖Rᵀg_n‖ by column of a sketch, [n, k]: the mean of their squares is ‖g_n‖²."""

    values: Tensor
    squared: bool = False
    """Whether they are squared already, which those of a sketch never are."""

    @property
    def sketched(self) -> bool:
        """Whether they are those of a sketch."""
        return self.values.dim() == 2

    @property
    def squares(self) -> Tensor:
        """Like `values`."""
        return self.values if self.squared else self.values.square()


@dataclass(frozen=True)
class Outer:
    """g_n = Δ_nᵀ A_n, [o, i]: the weight of a linear layer or, unfolded, of a convolution.

    activations: [n, t, i], deltas: [n, t, o]; t positions add up. Convolutions with groups have them as [n, g, t, ·]
    and the gradient [g, o, i].
    """

    activations: Tensor
    deltas: Tensor

    @property
    def rows(self) -> int:
        """o."""
        return self.deltas.shape[-1]

    @property
    def dtype(self) -> torch.dtype:
        """Of the gradient."""
        return self.deltas.dtype

    def norms(self) -> Norms:
        """By the cheaper of the two exact routes."""
        positions, inputs = self.activations.shape[-2:]
        outputs = self.deltas.shape[-1]
        if positions == 1:
            sides = (norm(side.squeeze(-2), dim=-1) for side in (self.activations, self.deltas))
            return Norms(_over_groups(torch.mul(*sides)))
        if positions * (inputs + outputs) > inputs * outputs:
            return Norms(_over_groups(norm(self.deltas.mT @ self.activations, dim=(-2, -1))))
        squares = gram_squared_norms(self.activations, self.deltas, bias=False)
        return Norms(squares.flatten(1).sum(1) if squares.dim() > 1 else squares, squared=True)

    def sketch(self, directions: Tensor) -> Tensor:
        """Rᵀg_n for R [o, k]: [n, k, i] (with groups [n, g, k, i])."""
        return (self.deltas @ directions).mT @ self.activations

    @property
    def lying(self) -> Outer:
        """g_n or its transpose, whichever has no more rows than columns: cheaper to sketch, and of the same norm."""
        return self if self.deltas.shape[-1] < self.activations.shape[-1] else Outer(self.deltas, self.activations)

    @property
    def exact_cost(self) -> float:
        """Multiplications a sample."""
        positions, inputs = self.activations.shape[-2:]
        outputs = self.deltas.shape[-1]
        return 0.0 if positions == 1 else positions * min(inputs * outputs, positions * (inputs + outputs))

    def sketch_cost(self, columns: int) -> float:
        """Multiplications a sample."""
        return self.activations.shape[-2] * columns * (self.activations.shape[-1] + self.deltas.shape[-1])

    def sketched_where_longer(self, columns: int) -> bool:
        """Whether it would be sketched at more than 2k positions, and at no fewer."""
        positions, inputs = self.activations.shape[-2:]
        outputs = self.deltas.shape[-1]
        return positions > 1 and inputs * outputs > 2 * columns * (inputs + outputs)


@dataclass(frozen=True)
class Rows:
    """g_n = Σ_t e(id_t) δ_tᵀ, [rows, d]: an embedding. ids: [n, t] int64, deltas: [n, t, d]."""

    ids: Tensor
    deltas: Tensor
    rows: int

    @property
    def dtype(self) -> torch.dtype:
        """Of the gradient."""
        return self.deltas.dtype

    def norms(self) -> Norms:
        """Positions with the same id add up."""
        if self.ids.shape[1] == 1:
            return Norms(norm(self.deltas, dim=(1, 2)))
        same = self.ids.unsqueeze(2) == self.ids.unsqueeze(1)
        return Norms(((self.deltas @ self.deltas.mT) * same).sum((1, 2)), squared=True)

    def sketch(self, directions: Tensor) -> Tensor:
        """Rᵀg_n for R [rows, k]: [n, k, d]."""
        return directions[self.ids].mT @ self.deltas

    @property
    def exact_cost(self) -> float:
        """Multiplications a sample."""
        positions = self.ids.shape[1]
        return 0.0 if positions == 1 else positions * positions * self.deltas.shape[2]

    def sketch_cost(self, columns: int) -> float:
        """Multiplications a sample."""
        return self.ids.shape[1] * columns * self.deltas.shape[2]

    def sketched_where_longer(self, columns: int) -> bool:
        """Whether it would be sketched at more than 2k positions, and at no fewer."""
        return self.ids.shape[1] > 1


@dataclass(frozen=True)
class Direct:
    """g_n itself, [n, …], or, where they are summed, its terms at t positions, [n, t, o]."""

    terms: Tensor
    summed: bool = False
    exact_cost = 0.0

    @functools.cached_property
    def gradient(self) -> Tensor:
        """[n, …]."""
        if not self.summed:
            return self.terms
        return self.terms.squeeze(1) if self.terms.shape[1] == 1 else self.terms.sum(1)

    @property
    def rows(self) -> int:
        """Length of the parameter's first axis."""
        return self.terms.shape[2 if self.summed else 1]

    @property
    def dtype(self) -> torch.dtype:
        """Of the gradient."""
        return self.terms.dtype

    def norms(self) -> Norms:
        """Of what is there."""
        return Norms(norm(self.gradient.flatten(1), dim=1))

    def sketch_cost(self, columns: int) -> float:
        """Multiplications a sample: it is summed up already."""
        return 0.0

    def sketch(self, directions: Tensor) -> Tensor:
        """Rᵀg_n for R [o, k] over the first axis of the parameter: [n, k, …]."""
        return torch.einsum("no...,ok->nk...", self.gradient, directions)


Form = Outer | Rows | Direct


def layer_norms(parameters: Sequence[Sequence[Form]], *, sketch: int, signs: RandomSigns) -> list[Norms]:
    """Those of the parameters of a layer, each with all its uses, as `sample_norms` takes them.

    A bias sums up what is the wider side of its weight, or as wide: that is gone through once for both.
    """
    left = dict(enumerate(parameters))
    singles = {at: uses[0] for at, uses in left.items() if len(uses) == 1}
    biases = {id(form.terms): at for at, form in singles.items() if isinstance(form, Direct) and form.summed}
    found: list[Norms] = []
    for at, form in singles.items():
        if isinstance(form, Outer) and not _exact(form, sketch):
            weight = form.lying
            bias = biases.get(id(weight.activations))
            if bias in left:
                del left[at], left[bias]
                found += _with_bias(weight, signs.take(weight.rows, sketch, weight.dtype))
    return found + [sample_norms(uses, sketch=sketch, signs=signs) for uses in left.values()]


def _with_bias(weight: Outer, directions: Tensor) -> tuple[Norms, Norms]:
    """Of a sketch of the weight, and of the sum over the positions of its activations."""
    columns = functional.pad(weight.deltas @ directions, (0, 1), value=1.0)
    total = columns.mT @ weight.activations
    return Norms(norm(total[:, :-1], dim=-1)), Norms(norm(total[:, -1], dim=-1))


def _exact(form: Form, sketch: int) -> bool:
    """Whether a single use goes without a sketch."""
    return sketch == 0 or form.exact_cost <= 2 * form.sketch_cost(sketch)


def depends_on_length(uses: Sequence[Form], sketch: int) -> bool:
    """Whether norms are exact up to 2k positions, and sketched beyond."""
    single = uses[0]
    if sketch == 0 or len(uses) > 1 or isinstance(single, Direct):
        return False
    return single.sketched_where_longer(sketch)


def sample_norms(uses: Sequence[Form], *, sketch: int, signs: RandomSigns) -> Norms:
    """‖Σ_uses g_n‖ of one parameter from all its uses in one forward pass.

    sketch: columns k; 0 for exact norms at any cost. A single use is exact where that costs at most twice the sketch;
    several uses of a matrix are always sketched (k = 0: summed up in full). The sketch takes signs of its own at every
    call.
    """
    if len(uses) > 1 and all(isinstance(form, Direct) for form in uses):
        return Direct(torch.stack([f.gradient for f in uses if isinstance(f, Direct)]).sum(0)).norms()
    single = uses[0]
    if len(uses) == 1 and _exact(single, sketch):
        return single.norms()
    if sketch == 0:
        deltas = single.gradient if isinstance(single, Direct) else single.deltas
        directions = torch.eye(single.rows, device=deltas.device, dtype=deltas.dtype)
        return Norms(norm(_total(uses, directions).flatten(1), dim=1))
    if len(uses) == 1 and isinstance(single, Outer):
        uses = [single := single.lying]
    columns = norm(_total(uses, signs.take(single.rows, sketch, single.dtype)), dim=-1)
    return Norms(norm(columns.flatten(1, -2), dim=1) if columns.dim() > 2 else columns)


def _total(forms: Sequence[Form], directions: Tensor) -> Tensor:
    total = forms[0].sketch(directions)
    for form in forms[1:]:
        total = total + form.sketch(directions)
    return total


def _over_groups(norms: Tensor) -> Tensor:
    """[n] from [n] or [n, g]."""
    return norm(norms, dim=1) if norms.dim() > 1 else norms
