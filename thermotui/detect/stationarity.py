"""Is a temperature constant over an interval? KPSS with a prewhitened long-run variance, and a schedule of looks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BLOCKS = 64
"""Block means that the test is made of: what happens within a block is averaged away."""

FEWEST = 16
"""Fewest samples worth a test."""

_FIRST_LOOK = 512
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
    their long-run variance: u_t = e_t − r e_{t−1} with r = min(r̂, 1 − 1/√B), Bartlett's λ_u² with ⌊4 (B/100)^¼⌋ lags, and
    λ² = λ_u²/(1 − r)² (Sul, Phillips & Choi 2005). Prewhitening keeps the size under strong autocorrelation, where the
    usual λ² rejects far too often. The p-value is that of the statistic's limit, the integral of a squared Brownian
    bridge; NaN for fewer than 16 samples, 1 for a constant.
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
    r = min(float(e[1:] @ e[:-1]) / float(e[:-1] @ e[:-1]), 1 - 1 / math.sqrt(blocks))
    u = e[1:] - r * e[:-1]
    lags = int(4 * (blocks / 100) ** 0.25)
    variance = float(u @ u)
    for lag in range(1, lags + 1):
        variance += 2 * (1 - lag / (lags + 1)) * float(u[lag:] @ u[:-lag])
    long_run = max(variance, 1e-3 * float(u @ u)) / len(u) / (1 - r) ** 2
    statistic = float(np.sum(np.cumsum(e) ** 2)) / blocks**2 / long_run
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
    product = np.sin(z) / z
    characteristic = np.abs(product) ** -0.5 * np.exp(-0.5j * np.unwrap(np.angle(product)))
    integrand = np.imag(characteristic * np.exp(-1j * u * statistic)) / u
    area = float(np.sum(integrand[1:] + integrand[:-1])) * float(u[1] - u[0]) / 2
    return min(max(0.5 + area / math.pi, 0.0), 1.0)


def next_look(looked: int) -> int:
    """The number of samples at which to look next, after a look at `looked`: 512, 1024, 2048, …

    The interval doubles between looks, and each look spends less: `look_level`.
    """
    return _FIRST_LOOK if looked < _FIRST_LOOK else 2 * looked


def look_level(look: int, total: float = 0.05) -> float:
    """The level of look number `look` (from 0), so that all looks together spend at most `total`: total/2^(look+1)."""
    return total / 2 ** (look + 1)
