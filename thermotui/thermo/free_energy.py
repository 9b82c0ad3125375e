"""Free-energy differences from samples: perturbation, Bennett's acceptance ratio, annealed weights, step divergences.

p_k(x) = exp(−E_k(x)) / Z_k for k = 0, 1 and ΔE = E_1 − E_0. Energies are float64 and in nats; differences are taken on
the same samples before anything is averaged, or rounding swamps a small step. Arrays of samples may have leading axes
(members); the samples run along the last one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from thermotui.errors import InputError
from thermotui.thermo.statistics import (
    Array,
    Estimate,
    block_means,
    effective_sample_size,
    from_influence,
    weighted_mean,
)

_ROUNDS = 100
_TOLERANCE = 1e-12


def log_mean_exp(values: ArrayLike, weights: Array | None = None) -> Array:
    """ln mean(w · exp(values)) along the last axis, without overflow; `weights` have mean 1."""
    array = np.asarray(values, dtype=np.float64)
    peak = array.max(axis=-1, keepdims=True)
    terms = np.exp(array - peak)
    mean = (terms if weights is None else weights * terms).mean(axis=-1)
    return np.asarray(peak[..., 0] + np.log(mean))


def free_energy_perturbation(delta_energy: ArrayLike, weights: Array | None = None) -> Array:
    """Δln Z = ln <exp(−ΔE)>_0 from samples of p_0 (Zwanzig), as influence values [..., N].

    `weights` (mean 1) where the samples are weighted. The estimate is the mean of the values.
    """
    delta = np.asarray(delta_energy, dtype=np.float64)
    value = log_mean_exp(-delta, weights)[..., None]
    excess = np.expm1(-delta - value)
    return np.asarray(value + (excess if weights is None else weights * excess))


def step_divergence(
    delta_energy: ArrayLike, weights: Array | None = None, *, blocks: int | None = None
) -> tuple[Array, Array]:
    """KL(p_0 ‖ p_1) from samples of p_0 by two routes: (influence values [..., N], half variance [...]).

    The first is mean ΔE + ln mean exp(−ΔE), never negative. The logarithm of a mean is low by half its variance, about
    KL/N, at every step anew, so that variance is added: from all samples, or from the spread of `blocks` blocks where
    samples side by side are not independent. The second, ½ Var ΔE, needs no ln Z and errs by a third cumulant; their
    disagreement says that the step is too large for either.
    """
    delta = np.asarray(delta_energy, dtype=np.float64)
    perturbation = free_energy_perturbation(delta, weights)
    independent = perturbation if blocks is None else block_means(perturbation, blocks)
    count = independent.shape[-1]
    low = 0.5 * independent.var(axis=-1, ddof=1, keepdims=True) / count if count > 1 else 0.0
    influence = weighted_mean(delta, weights) + perturbation + low
    mean = weighted_mean(delta, weights).mean(axis=-1, keepdims=True)
    return influence, 0.5 * weighted_mean(np.square(delta - mean), weights).mean(axis=-1)


@dataclass(frozen=True)
class Bennett:
    """Δln Z by Bennett's acceptance ratio, [...], with the influence values of either side, whose means are zero."""

    value: Array
    forward: Array
    reverse: Array

    @property
    def paired(self) -> Array:
        """Influence values [..., N] where sample n of both sides comes from the same chain."""
        return np.asarray(self.value[..., None] + self.forward + self.reverse)

    def estimate(self) -> Estimate:
        """Value and error of a single difference whose two sides are independent."""
        variance = sum(side.var(ddof=1) / side.size for side in (self.forward, self.reverse))
        return Estimate(float(self.value), float(np.sqrt(variance)), float(self.forward.size + self.reverse.size))


def bennett_acceptance_ratio(
    forward: ArrayLike,
    reverse: ArrayLike,
    forward_weights: Array | None = None,
    reverse_weights: Array | None = None,
) -> Bennett:
    """Δln Z from ΔE on samples of p_0 (`forward` [..., N]) and of p_1 (`reverse` [..., M]).

    Solves Σ_0 w·s(−(c + ΔE + D)) = Σ_1 w·s(c + ΔE + D) for D = Δln Z, s the logistic function, c = ln(N/M): the
    estimator of least variance for independent samples (Bennett 1976). Weights have mean 1.
    """
    start, end = np.asarray(forward, dtype=np.float64), np.asarray(reverse, dtype=np.float64)
    if start.shape[-1] == 0 or end.shape[-1] == 0:
        raise InputError("Bennett's acceptance ratio needs samples of both distributions.")
    count_start, count_end = start.shape[-1], end.shape[-1]
    offset = np.log(count_start / count_end)
    weight_start = np.ones_like(start) if forward_weights is None else forward_weights
    weight_end = np.ones_like(end) if reverse_weights is None else reverse_weights

    # The difference of the two sums falls monotonically in D, so Newton's steps are kept inside a shrinking bracket.
    low = np.minimum(-start.max(axis=-1), -end.max(axis=-1)) - abs(offset) - 1.0
    high = np.maximum(-start.min(axis=-1), -end.min(axis=-1)) + abs(offset) + 1.0
    value = 0.5 * (low + high)
    for _ in range(_ROUNDS):
        accept = _logistic(-(offset + start + value[..., None]))
        accept_back = _logistic(offset + end + value[..., None])
        gap = (weight_start * accept).sum(axis=-1) - (weight_end * accept_back).sum(axis=-1)
        slope = (weight_start * accept * (1 - accept)).sum(axis=-1)
        slope = slope + (weight_end * accept_back * (1 - accept_back)).sum(axis=-1)
        low, high = np.where(gap > 0, value, low), np.where(gap > 0, high, value)
        with np.errstate(divide="ignore", invalid="ignore"):
            newton = value + gap / slope
        inside = (newton > low) & (newton < high)
        updated = np.where(inside, newton, 0.5 * (low + high))
        moved = np.max(np.abs(updated - value))
        value = updated
        if moved <= _TOLERANCE * max(1.0, float(np.max(np.abs(value)))):
            break
    scale = np.maximum(slope, np.finfo(np.float64).tiny)[..., None]
    left, right = weighted_mean(accept, weight_start), weighted_mean(accept_back, weight_end)
    return Bennett(
        np.asarray(value),
        (left - left.mean(axis=-1, keepdims=True)) * count_start / scale,
        -(right - right.mean(axis=-1, keepdims=True)) * count_end / scale,
    )


def _logistic(values: Array) -> Array:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * values)))


def annealed_ratio(log_weights: ArrayLike) -> Estimate:
    """ln of the mean weight of annealed importance sampling, from N independent log weights.

    The mean weight is unbiased for Z_1/Z_0, so its logarithm is low on average: a stochastic lower bound from forward
    runs; minus this figure of reverse runs is a stochastic upper bound. The error is the delta method's and means
    little where the effective sample size is small.
    """
    array = np.asarray(log_weights, dtype=np.float64)
    estimate = from_influence(free_energy_perturbation(-array))
    return Estimate(estimate.value, estimate.standard_error, float(effective_sample_size(array)))
