"""Is a temperature constant over an interval? KPSS with a long-run variance of its own, and a schedule of looks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

BLOCKS = 48
"""Block means that the test is made of: what happens within a block is averaged away."""

FIRST_LOOK = 512
"""Samples at the first look at a series that grows; each further look is at twice as many."""

FEWEST = 16
"""Fewest samples worth a test."""

_SPARE = 3.0
_CALIBRATION = 0.83
_TERMS = 24
_FAR_OUT = 20.0  # where the limit's p-value is below 1e-40
_CORRELATIONS = np.array([-0.2, -0.1, 0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.88])
_RAMP_ENDS = 5


@dataclass(frozen=True)
class Stationarity:
    """KPSS statistic of level stationarity, its p-value, and the number of block means it rests on."""

    statistic: float
    p_value: float
    blocks: int


def kpss(values: NDArray[np.float64]) -> Stationarity:
    """Kwiatkowski, Phillips, Schmidt & Shin (1992) on the block means of `values`, float64 [n], NaN left out.

    η = Σ_t S_t² / (B² λ²), with S_t the partial sums of the deviations from the mean over B ≤ 48 block means and λ²
    their long-run variance, see `long_run_variance`: the usual one rejects a stationary AR(1) far too often. The
    p-value is that of the statistic's limit, the integral of a squared Brownian bridge, after a factor of 0.83 that
    simulation gave for what fitting a change takes off λ²; NaN for fewer than 16 samples, 1 for a constant.
    """
    x = values[np.isfinite(values)]
    if len(x) < FEWEST:
        return Stationarity(math.nan, math.nan, 0)
    blocks = min(BLOCKS, len(x))
    width = len(x) // blocks
    means = x[len(x) - blocks * width :].reshape(blocks, width).mean(axis=1)
    e = means - means.mean()
    power = float(e @ e)
    if power <= 1e-24 * blocks * max(float(np.max(np.abs(means))), 1e-300) ** 2:
        return Stationarity(0.0, 1.0, blocks)
    statistic = _CALIBRATION * float(np.sum(np.cumsum(e) ** 2)) / blocks**2 / long_run_variance(e)
    return Stationarity(statistic, bridge_p_value(statistic), blocks)


def long_run_variance(values: NDArray[np.float64]) -> float:
    """λ² of an AR(1) about the step or ramp that fits `values`, float64 [B], best, so that no change is scatter.

    For each φ of a grid, with the values whitened by it, the step or ramp with the least residual sum of squares R
    and the restricted likelihood L(φ) ∝ |Σ_φ|^(−½) |1ᵀΣ_φ⁻¹1|^(−½) R^(−(B−2)/2); λ²(φ) = R/(B − 2) (1 + φ)/(1 − φ);
    ln λ² is the mean of ln λ²(φ) weighted by L(φ), for B values do not tell φ well.
    """
    whitening, level, changes, log_determinant = _models(len(values))
    freedom = len(values) - 2
    white = whitening @ values
    white = white - np.sum(white * level, axis=1, keepdims=True) * level
    explained = np.max(np.einsum("pb,pbc->pc", white, changes) ** 2, axis=1)
    left = np.maximum(np.sum(white**2, axis=1) - explained, 1e-300)
    log_likelihood = -0.5 * (freedom * np.log(left) + log_determinant)
    weights = np.exp(log_likelihood - log_likelihood.max())
    log_variance = np.log(left / freedom * (1 + _CORRELATIONS) / (1 - _CORRELATIONS))
    return math.exp(float(weights @ log_variance / weights.sum()))


@lru_cache(maxsize=8)
def _models(blocks: int) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Per φ: the matrix that whitens an AR(1) [P, B, B], the level [P, B] and the changes [P, B, C] whitened by it, of
    length one, the changes orthogonal to the level, and ln |Σ_φ| + ln |1ᵀΣ_φ⁻¹1| [P].
    """
    quarter = blocks // 4
    times = np.arange(blocks) + 0.5
    steps = [(times > at).astype(np.float64) for at in range(quarter, blocks - quarter + 1)]
    ends = np.linspace(0, blocks, _RAMP_ENDS)
    ramps = [np.clip((times - a) / (b - a), 0.0, 1.0) for i, a in enumerate(ends) for b in ends[i + 1 :]]
    shapes = np.stack([*steps, *ramps], axis=1)
    whitening = np.zeros((len(_CORRELATIONS), blocks, blocks))
    whitening[:, 0, 0] = 1.0
    inner = np.arange(1, blocks)
    innovation = np.sqrt(1 - _CORRELATIONS**2)
    whitening[:, inner, inner] = (1 / innovation)[:, None]
    whitening[:, inner, inner - 1] = (-_CORRELATIONS / innovation)[:, None]
    level = whitening.sum(axis=2)
    length = np.linalg.norm(level, axis=1, keepdims=True)
    level = level / length
    changes = whitening @ shapes
    changes -= level[:, :, None] * np.einsum("pb,pbc->pc", level, changes)[:, None, :]
    changes /= np.linalg.norm(changes, axis=1, keepdims=True)
    log_determinant = 2 * (blocks - 1) * np.log(innovation) + 2 * np.log(length[:, 0])
    return whitening, level, changes, log_determinant


def bridge_p_value(statistic: float) -> float:
    """P(∫ B(t)² dt > x) for a Brownian bridge B: the Cramér–von Mises limit.

    1 − P = Σ_j c_j √(4j + 1) e^(−z_j) K_¼(z_j) / (π √x), c_j = Γ(j + ½)/(Γ(½) j!), z_j = (4j + 1)²/(16x) (Anderson &
    Darling 1952), with e^(−z) K_¼(z) = ∫₀^∞ e^(−z (1 + cosh t)) cosh(t/4) dt by the trapezoidal rule.
    """
    if not statistic > 0.0:
        return 1.0
    x = min(statistic, _FAR_OUT)
    order = 4.0 * np.arange(_TERMS) + 1
    coefficients = np.cumprod(np.concatenate([[1.0], (np.arange(1, _TERMS) - 0.5) / np.arange(1, _TERMS)]))
    t = np.linspace(0.0, 13.0, 512)
    integrand = np.exp(-(order**2 / (16 * x))[:, None] * (1 + np.cosh(t))) * np.cosh(t / 4)
    bessel = (integrand.sum(axis=1) - 0.5 * (integrand[:, 0] + integrand[:, -1])) * (t[1] - t[0])
    below = float(np.sum(coefficients * np.sqrt(order) * bessel)) / (math.pi * math.sqrt(x))
    return float(np.clip(1.0 - below, 0.0, 1.0))


def scheduled_p_value(values: NDArray[np.float64]) -> float:
    """p-value of stationarity of a series that grows and is looked at again and again, float64 [n].

    KPSS on the first 512, 1,024, 2,048, … samples only, the k-th look's p-value (k from 0) multiplied by 3 · 2^(k+1),
    and the smallest of them: however often one looks, a stationary series gets a value below α with probability α at
    most. The 3 is there because far out the limit's p-values are too small. NaN before the first look.
    """
    smallest = math.nan
    look, samples = 0, FIRST_LOOK
    while samples <= len(values):
        p_value = min(1.0, kpss(values[:samples]).p_value * _SPARE * 2.0 ** (look + 1))
        smallest = p_value if math.isnan(smallest) else min(smallest, p_value)
        look, samples = look + 1, 2 * samples
    return smallest
