"""Autocorrelation of η from a few random projections of the gradient, so that no gradient is ever kept.

The projections are rank one, yᵢ = uᵢᵀ G v with random signs, so that they cost one pass over G and their memory is that
of a row and a few columns; E[yᵢ²] = ‖G‖². η and the force cannot be told apart in one series of gradients; within a
window the force is taken to be linear in time and removed by regression, and what the regression takes from white noise
is put back exactly.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_MOST_PRODUCTS = 2**22


class GradientProjection:
    """Projects each layer's gradient on `projections` seeded rank-one directions, the same at every step."""

    def __init__(
        self,
        layers: Sequence[Sequence[Tensor]],
        *,
        member_axis: bool,
        projections: int = 4,
        seed: int = 0,
    ) -> None:
        """Draw the directions for `layers`, each a sequence of parameters (their shapes, device and dtype are used).

        With `member_axis` the first axis of every parameter is the ensemble and is not projected.
        """
        generator = torch.Generator().manual_seed(seed)
        everything = [parameter for parameters in layers for parameter in parameters]
        common = functools.reduce(torch.promote_types, (parameter.dtype for parameter in everything))

        def signs(rows: int, columns: int, like: Tensor, dtype: torch.dtype) -> Tensor:
            bits = torch.randint(0, 2, (rows, columns), generator=generator, device="cpu")
            return (2 * bits - 1).to(device=like.device, dtype=dtype)

        self.member_axis = member_axis
        self._rows: list[Tensor] = []
        """By layer, [projections, rows of all its parameters]: matrices this narrow are faster lying down."""
        self.columns: list[Tensor | None] = []
        """v by parameter, [all but its rows]; None where there is nothing but rows."""
        self._missing: list[Tensor] = []
        for parameters in layers:
            rows = []
            for parameter in parameters:
                shape = parameter.shape[1:] if member_axis else parameter.shape
                rows.append(signs(shape[0] if shape else 1, projections, parameter, common))
                several = len(shape) > 1
                self.columns.append(
                    signs(shape[1:].numel(), 1, parameter, parameter.dtype).squeeze(1) if several else None
                )
                self._missing.append(torch.zeros(len(rows[-1]), device=parameter.device, dtype=parameter.dtype))
            self._rows.append(torch.cat(rows).T.contiguous())

    def __call__(self, layers: Sequence[Sequence[Tensor]]) -> Tensor:
        """Project the gradients, given like the parameters: [K, L, projections] ([L, projections] without members)."""
        gradients = [gradient for layer in layers for gradient in layer]
        return self.layers(self.joined([self.columns_of(*pair) for pair in enumerate(gradients)]))

    def columns_of(self, position: int, gradient: Tensor) -> Tensor:
        """Gv of the parameter at `position` of the row of all: [K, rows] or [rows]; the gradient itself if a vector."""
        columns = self.columns[position]
        if columns is None:
            return gradient if gradient.dim() > self.member_axis else gradient.unsqueeze(-1)
        return (
            gradient if gradient.dim() == 2 + self.member_axis else gradient.flatten(1 + self.member_axis)
        ) @ columns

    def joined(self, parameters: Sequence[Tensor | None]) -> Tensor:
        """`columns_of` of all parameters in a row, zero for those without gradient: [K, all rows] or [all rows]."""
        found = [zero if one is None else one for one, zero in zip(parameters, self._missing, strict=True)]
        return torch.cat(found, dim=-1)

    def space(self) -> Tensor:
        """Zeros where `joined` goes, without members."""
        return torch.zeros(sum(self.lengths), dtype=self._rows[0].dtype, device=self._rows[0].device)

    @property
    def lengths(self) -> list[int]:
        """Rows by parameter."""
        return [len(rows) for rows in self._missing]

    def by_parameter(self, joined: Tensor) -> Sequence[Tensor]:
        """What was `joined`, [K, all rows] or [all rows], by parameter again, as views."""
        return torch.split_with_sizes(joined, self.lengths, dim=-1)

    def layers(self, joined: Tensor) -> Tensor:
        """uᵢᵀ G v by layer, [..., L, projections], from `joined` [..., all rows]."""
        parts = torch.split_with_sizes(joined, [rows.shape[1] for rows in self._rows], dim=-1)
        return torch.stack([part @ rows.T for part, rows in zip(parts, self._rows, strict=True)], dim=-2)


def _without_trend(series: Tensor) -> tuple[Tensor, Tensor]:
    """The residuals of a linear regression on time, float64, and the orthonormal basis [W, 2] of what it took."""
    window = series.shape[0]
    time = torch.arange(window, dtype=torch.float64, device=series.device) - (window - 1) / 2
    basis = torch.stack([torch.full_like(time, window**-0.5), time / time.norm()], dim=1)
    values = series.double()
    trend = torch.tensordot(basis, torch.tensordot(basis, values, dims=([0], [0])), dims=([1], [0]))
    return values - trend, basis


class Autocorrelation(NamedTuple):
    """Of a window of projected gradients, on their device, float64."""

    values: Tensor
    """C(lag)/C(0), [..., lags]."""
    white: Tensor
    """Variance that each of `values` at a lag above 0 has if the noise is white, [...]."""


def window_autocorrelation(series: Tensor, lags: int) -> Autocorrelation:
    """C(lag)/C(0) of windows of projected gradients, lags 0 … lags − 1, averaged over the projections.

    series: [W, ..., projections], consecutive steps along the first axis. The linear trend is removed by regression,
    M = 1 − H; white noise of variance σ² then has Σ_t ⟨e_t e_{t+k}⟩ = σ² Σ_t M_{t,t+k}, which is subtracted, so the
    estimate is unbiased for white noise. Its products y_t·y_{t+k} are uncorrelated, so that their squares add up to the
    variance of their sum, whatever the covariance of the projections and however the noise's strength changes within
    the window; p projections of many independent components give 1/(W p), those of a single parameter 1/W; mean over
    the lags. NaN where the series does not vary, the variance also where there is no lag above 0. Raises ValueError
    unless W exceeds `lags` and 2.
    """
    window = series.shape[0]
    if window <= max(lags, 2):
        raise ValueError(f"a window of {window} steps is too short for {lags} lags")
    values, basis = _without_trend(series)
    columns = values.flatten(1, -2) if values.dim() > 2 else values.unsqueeze(1)
    # Products take as many times the room of the series as there are lags: so many columns at a time.
    most = max(_MOST_PRODUCTS // (lags * window), 1)
    pieces = range(0, columns.shape[1], most)
    found = [_moments(columns[:, first : first + most], lags) for first in pieces]
    sums, squares = (torch.cat(parts, dim=1) for parts in zip(*found, strict=True))
    taken, _ = _moments(basis.unsqueeze(1), lags)
    variance = sums[0] / (window - 2)
    pairs = torch.arange(window, window - lags, -1, dtype=torch.float64, device=series.device).unsqueeze(1)
    scale = pairs * variance
    correlation = (sums + variance * taken) / scale
    correlation[0] = torch.where(variance > 0, 1.0, torch.nan)
    white = (squares / scale.square())[1:].mean(0)
    rest = series.shape[1:-1]
    return Autocorrelation(correlation.mT.reshape(*rest, lags), white.reshape(rest))


def _moments(series: Tensor, lags: int) -> tuple[Tensor, Tensor]:
    """Σ_t p and Σ_t p² of the products p = Σ_i y_ti·y_(t+lag)i of a series [W, R, I]: [lags, R] each."""
    window, columns, _ = series.shape
    products = series.new_zeros(lags, window, columns)
    for values in series.unbind(-1):
        # Zero where t + lag lies beyond the end.
        after = torch.cat([values, values.new_zeros(lags - 1, columns)])
        products.addcmul_(values, after.unfold(0, window, 1).mT)
    return products.sum(1), products.square().sum(1)


def white_bound(variances: Tensor) -> NDArray[np.float64]:
    """Two-sided 95 % bound [n] around white noise, of the layer where it is widest: variances [n, L] of its estimates.

    NaN where no layer varies.
    """
    widest = torch.nan_to_num(variances, nan=0.0).amax(1).cpu().numpy()
    return np.asarray(np.where(widest > 0, 1.96 * np.sqrt(widest), np.nan))
