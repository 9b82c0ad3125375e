"""The forms in which backpropagation leaves per-sample gradients of one parameter, and their squared norms.

A parameter used once keeps its form and the cheapest exact route is taken; where exactness is too dear, or forms of
several uses have to be added, a random sketch Rᵀg_n of the output side gives unbiased norms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from thermotui.probe.gradient_norms import gram_squared_norms, linear_squared_norms


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

    def norms(self) -> Tensor:
        """‖g_n‖², [n], by the cheaper of the two exact routes."""
        positions, inputs = self.activations.shape[-2:]
        outputs = self.deltas.shape[-1]
        if positions == 1:
            norms = linear_squared_norms(self.activations.squeeze(-2), self.deltas.squeeze(-2), bias=False)
        elif positions * (inputs + outputs) <= inputs * outputs:
            norms = gram_squared_norms(self.activations, self.deltas, bias=False)
        else:
            norms = (self.deltas.mT @ self.activations).square().sum((-2, -1))
        return norms.flatten(1).sum(1) if norms.dim() > 1 else norms

    def sketch(self, directions: Tensor) -> Tensor:
        """Rᵀg_n for R [o, k]: [n, k, i] (with groups [n, g, k, i])."""
        return (self.deltas @ directions).mT @ self.activations

    @property
    def exact_cost(self) -> float:
        """Multiplications a sample."""
        positions, inputs = self.activations.shape[-2:]
        outputs = self.deltas.shape[-1]
        return 0.0 if positions == 1 else positions * min(inputs * outputs, positions * (inputs + outputs))

    def sketch_cost(self, columns: int) -> float:
        """Multiplications a sample."""
        return self.activations.shape[-2] * columns * (self.activations.shape[-1] + self.deltas.shape[-1])


@dataclass(frozen=True)
class Rows:
    """g_n = Σ_t e(id_t) δ_tᵀ, [rows, d]: an embedding. ids: [n, t] int64, deltas: [n, t, d]."""

    ids: Tensor
    deltas: Tensor
    rows: int

    def norms(self) -> Tensor:
        """‖g_n‖², [n]: positions with the same id add up."""
        if self.ids.shape[1] == 1:
            return self.deltas.square().sum((1, 2))
        same = self.ids.unsqueeze(2) == self.ids.unsqueeze(1)
        return ((self.deltas @ self.deltas.mT) * same).sum((1, 2))

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


@dataclass(frozen=True)
class Direct:
    """g_n itself, [n, …]."""

    gradient: Tensor
    exact_cost = 0.0

    @property
    def rows(self) -> int:
        """Length of the parameter's first axis."""
        return self.gradient.shape[1]

    def norms(self) -> Tensor:
        """‖g_n‖², [n]."""
        return self.gradient.flatten(1).square().sum(1)

    def sketch_cost(self, columns: int) -> float:
        """Multiplications a sample: it is summed up already."""
        return 0.0

    def sketch(self, directions: Tensor) -> Tensor:
        """Rᵀg_n for R [o, k] over the first axis of the parameter: [n, k, …]."""
        return torch.einsum("no...,ok->nk...", self.gradient, directions)


Form = Outer | Rows | Direct


@dataclass(frozen=True)
class Norms:
    """Squared norms [n], and where they are sketched their sums over the samples by column, [k]: k estimates of one."""

    values: Tensor
    columns: Tensor | None = None


def squared_norms(forms: Sequence[Form], *, sketch: int, generator: torch.Generator) -> Norms:
    """‖Σ_uses g_n‖² of one parameter from all its uses in one forward pass.

    sketch: columns k; 0 for exact norms at any cost. A single use is exact where that costs at most twice the sketch;
    several uses of a matrix are always sketched (k = 0: summed up in full). The sketch is fresh at every call, drawn
    from `generator`.
    """
    if len(forms) > 1 and all(isinstance(form, Direct) for form in forms):
        return Norms(Direct(torch.stack([f.gradient for f in forms if isinstance(f, Direct)]).sum(0)).norms())
    single = forms[0]
    if len(forms) == 1 and (sketch == 0 or single.exact_cost <= 2 * single.sketch_cost(sketch)):
        return Norms(single.norms())
    device = generator.device
    dtype, rows = _dtype(single), single.rows
    if sketch == 0:
        directions = torch.eye(rows, device=device, dtype=dtype)
        return Norms(_total(forms, directions).flatten(1).square().sum(1))
    directions = torch.randint(0, 2, (rows, sketch), generator=generator, device=device, dtype=dtype).mul_(2).sub_(1)
    # [n, …, k, i] → one estimate per column, each of variance-1 directions; their mean is the estimate. A norm takes
    # half the time of squaring and adding up.
    squares = torch.linalg.vector_norm(_total(forms, directions), dim=-1).square()
    estimates = squares.flatten(1, -2).sum(1) if squares.dim() > 2 else squares
    return Norms(estimates.mean(1), estimates.sum(0))


def _total(forms: Sequence[Form], directions: Tensor) -> Tensor:
    total = forms[0].sketch(directions)
    for form in forms[1:]:
        total = total + form.sketch(directions)
    return total


def _dtype(form: Form) -> torch.dtype:
    return form.gradient.dtype if isinstance(form, Direct) else form.deltas.dtype
