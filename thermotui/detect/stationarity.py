"""Is a temperature constant over an interval? KPSS with a prewhitened long-run variance, and a schedule of looks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BLOCKS = 64
"""Block means that the test is made of: what happens within a block is averaged away."""

FIRST_LOOK = 512
"""Samples at the first look at a series that grows; each further look is at twice as many."""

FEWEST = 16
"""Fewest samples worth a test."""

_REGRESSORS = 4
_SPARE = 1.3
_FREEDOM = 0.95
_FREQUENCIES = 600.0


@dataclass(frozen=True)
class Stationarity:
    """KPSS statistic of level stationarity, its p-value, and the number of block means it rests on."""

    statistic: float
    p_value: float
    blocks: int


def kpss(values: NDArray[np.float64]) -> Stationarity:
    """Kwiatkowski, Phillips, Schmidt & Shin (1992) on the block means of `values`, float64 [n], NaN left out.

    η = Σ_t S_t² / (B² λ²), with S_t the partial sums of the deviations from the mean over B ≤ 64 block means and λ²
    their long-run variance: λ² = Var(u)/(1 − r)² of u_t = d_t − r d_{t−1} (prewhitened: Sul, Phillips & Choi 2005),
    where d are the deviations from a cubic and not from the mean, so that no change passes for scatter;
    r has its small-sample bias (k + (k + 2) r)/B, k = 4, taken off and is at most 1 − 1/√B. The usual λ² rejects a
    stationary AR(1) far too often. The p-value is that of the statistic's limit, the integral of a squared Brownian
    bridge, after a correction of 5 % for the cubic's freedom; NaN for fewer than 16 samples, 1 for a constant.
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
    basis, _ = np.linalg.qr(np.polynomial.legendre.legvander(np.linspace(-1, 1, blocks), _REGRESSORS - 1))
    d = e - basis @ (basis.T @ e)
    r = float(d[1:] @ d[:-1]) / max(float(d[:-1] @ d[:-1]), 1e-300)
    r = (blocks * r + _REGRESSORS) / (blocks - _REGRESSORS - 2)
    r = float(np.clip(r, -0.5, 1 - 1 / math.sqrt(blocks)))
    u = d[1:] - r * d[:-1]
    long_run = max(float(u @ u) / (blocks - 1 - _REGRESSORS) / (1 - r) ** 2, 1e-300)
    statistic = _FREEDOM * float(np.sum(np.cumsum(e) ** 2)) / blocks**2 / long_run
    return Stationarity(statistic, bridge_p_value(statistic), blocks)


def bridge_p_value(statistic: float) -> float:
    """P(∫ B(t)² dt > statistic) for a Brownian bridge B: the Cramér–von Mises limit.

    By numerical inversion of the characteristic function Π_k (1 − 2iu/(k²π²))^(−½) (Gil-Pelaez); right to about 1e-5.
    """
    if not statistic > 0.0:
        return 1.0
    u = np.linspace(1e-6, _FREQUENCIES, 60_000)
    z = np.sqrt(2j * u)
    # Π_k (1 − 2iu/(k²π²)) = sin(√(2iu))/√(2iu); its principal root jumps, so that the phase is followed instead.
    product: NDArray[np.complex128] = np.sin(z) / z
    characteristic = np.abs(product) ** -0.5 * np.exp(-0.5j * np.unwrap(np.angle(product)))
    integrand = np.imag(characteristic * np.exp(-1j * u * statistic)) / u
    area = float(np.sum(integrand[1:] + integrand[:-1])) * float(u[1] - u[0]) / 2
    return float(np.clip(0.5 + area / math.pi, 0.0, 1.0))


def scheduled_p_value(values: NDArray[np.float64]) -> float:
    """p-value of stationarity of a series that grows and is looked at again and again, float64 [n].

    KPSS on the first 512, 1,024, 2,048, … samples only, the k-th look's p-value (k from 0) multiplied by 1.3 · 2^(k+1),
    and the smallest of them: however often one looks, a stationary series gets a value below α with probability α at
    most. The 1.3 is there because far out the limit's p-values are a little small. NaN before the first look.
    """
    smallest = math.nan
    look, samples = 0, FIRST_LOOK
    while samples <= len(values):
        p_value = min(1.0, kpss(values[:samples]).p_value * _SPARE * 2.0 ** (look + 1))
        smallest = p_value if math.isnan(smallest) else min(smallest, p_value)
        look, samples = look + 1, 2 * samples
    return smallest
