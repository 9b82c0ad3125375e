"""Standard errors: of weighted samples, of autocorrelated series, and of estimates kept slot by slot.

Estimators of this package return *influence values*: an array of the shape of the samples whose mean is the estimate
and whose spread is its error, standard error = std / √N (the delta method). They add, so the error of a running total
is that of the summed influence values, whatever the correlation between the terms.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from thermotui.errors import InputError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A figure with its standard error, both in nats unless said otherwise."""

    value: float
    standard_error: float
    effective_sample_size: float = float("nan")

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Two-sided normal confidence interval at `level`."""
        half = NormalDist().inv_cdf(0.5 + level / 2) * self.standard_error
        return self.value - half, self.value + half


def from_influence(values: ArrayLike) -> Estimate:
    """Mean and standard error of independent influence values [N]; the error is NaN for N = 1."""
    array = np.asarray(values, dtype=np.float64)
    count = array.size
    error = float(array.std(ddof=1) / np.sqrt(count)) if count > 1 else float("nan")
    return Estimate(float(array.mean()), error, float(count))


def normalised_weights(log_weights: ArrayLike) -> Array:
    """Weights along the last axis with mean 1, from log weights [..., N] known up to a constant."""
    array = np.asarray(log_weights, dtype=np.float64)
    weights = np.exp(array - array.max(axis=-1, keepdims=True))
    return np.asarray(weights / weights.mean(axis=-1, keepdims=True))


def effective_sample_size(log_weights: ArrayLike) -> Array:
    """Kish's effective sample size (Σw)² / Σw² along the last axis of log weights [..., N], between 1 and N."""
    weights = normalised_weights(log_weights)
    return np.asarray(weights.shape[-1] ** 2 / np.square(weights).sum(axis=-1))


def weighted_mean(values: ArrayLike, weights: Array | None = None) -> Array:
    """Influence values [..., N] of a self-normalised weighted mean; `weights` have mean 1 along the last axis."""
    array = np.asarray(values, dtype=np.float64)
    if weights is None:
        return array
    mean = (weights * array).mean(axis=-1, keepdims=True)
    return np.asarray(mean + weights * (array - mean))


def block_means(values: ArrayLike, blocks: int) -> Array:
    """Means of `blocks` contiguous blocks along the last axis, [..., N] → [..., blocks]; N must be a multiple."""
    array = np.asarray(values, dtype=np.float64)
    return np.asarray(array.reshape(*array.shape[:-1], blocks, -1).mean(axis=-1))


def integrated_autocorrelation_time(series: ArrayLike, *, window_factor: float = 5.0) -> float:
    """τ_int = 1 + 2 Σ ρ(lag) of one stationary series [n], in samples; 1 for white noise.

    The sum stops at the first lag ≥ window_factor · τ_int (Sokal's automatic window). A constant series has τ_int = n:
    it carries a single value. InputError for fewer than 4 samples.
    """
    array = np.asarray(series, dtype=np.float64)
    count = array.size
    if count < 4:
        raise InputError(f"series: the autocorrelation time needs at least 4 samples, not {count}.")
    centred = array - array.mean()
    size = 1 << (2 * count - 1).bit_length()
    spectrum = np.abs(np.fft.rfft(centred, size)) ** 2
    covariance = np.fft.irfft(spectrum, size)[:count]
    if covariance[0] <= np.finfo(np.float64).eps * count * float(np.square(array).max()):
        return float(count)
    times = 2.0 * np.cumsum(covariance / covariance[0]) - 1.0
    closed = np.arange(count) >= window_factor * times
    lag = int(np.argmax(closed)) if closed.any() else count - 1
    return float(max(times[lag], 1.0 / count))


def autocorrelated_mean(series: ArrayLike) -> Estimate:
    """Mean of one stationary series [n] with the standard error √(τ_int s² / n) that its autocorrelation demands."""
    array = np.asarray(series, dtype=np.float64)
    time = integrated_autocorrelation_time(array)
    return Estimate(float(array.mean()), float(np.sqrt(time * array.var(ddof=1) / array.size)), array.size / time)
