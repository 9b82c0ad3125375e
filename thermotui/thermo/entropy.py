"""Entropy of a discrete distribution from counts, where most states were seen once or never."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from thermotui.errors import InputError
from thermotui.thermo.statistics import Estimate


def chao_wang_jost(counts: ArrayLike) -> Estimate:
    """Entropy in nats from how often each state was seen (Chao, Wang & Jost 2013), with its jackknife error.

    `counts`: non-negative integers, any shape; zeros are ignored. The plug-in entropy is far too low when there are
    more states than samples; this one adds what the numbers of states seen once and twice say of those not seen.
    InputError for negative or fractional counts, or fewer than two samples.
    """
    array = np.asarray(counts).ravel()
    if array.size and (np.any(array < 0) or np.any(array != np.floor(array))):
        raise InputError("counts: each must be a whole number of samples, zero or more.")
    seen = array[array > 0].astype(np.int64)
    total = int(seen.sum())
    if total < 2:
        raise InputError(f"counts: an entropy needs at least 2 samples, not {total}.")
    sizes, multiplicity = np.unique(seen, return_counts=True)
    value = _entropy(sizes, multiplicity, total)
    if total < 3:
        return Estimate(value, float("nan"), float(total))
    # Leaving out one sample moves one state from count n to n − 1; all n · f_n choices of it give the same figure.
    left_out = np.array([_entropy(*_without_one(sizes, multiplicity, n), total - 1) for n in sizes])
    weight = sizes * multiplicity / total
    mean = float(weight @ left_out)
    variance = (total - 1) * float(weight @ np.square(left_out - mean))
    return Estimate(value, float(np.sqrt(variance)), float(total))


def _without_one(
    sizes: NDArray[np.int64], multiplicity: NDArray[np.int64], removed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    frequency = dict(zip(sizes.tolist(), multiplicity.tolist(), strict=True))
    frequency[removed] -= 1
    if removed > 1:
        frequency[removed - 1] = frequency.get(removed - 1, 0) + 1
    kept = [(size, number) for size, number in sorted(frequency.items()) if number > 0]
    return np.array([size for size, _ in kept]), np.array([number for _, number in kept])


def _entropy(sizes: NDArray[np.int64], multiplicity: NDArray[np.int64], total: int) -> float:
    harmonic = np.concatenate([[0.0], np.cumsum(1.0 / np.arange(1, total))])
    observed = float(np.sum(multiplicity * sizes / total * (harmonic[total - 1] - harmonic[sizes - 1])))
    once = int(multiplicity[sizes == 1].sum())
    twice = int(multiplicity[sizes == 2].sum())
    if once == 0:
        return observed
    if twice > 0:
        coverage_deficit = 2 * twice / ((total - 1) * once + 2 * twice)
    elif once > 1:
        coverage_deficit = 2 / ((total - 1) * (once - 1) + 2)
    else:
        return observed
    return observed + once / total * _geometric_tail(1.0 - coverage_deficit, total)


def _geometric_tail(ratio: float, total: int) -> float:
    """Σ_{r ≥ total} ratio^(r − total + 1) / r, by whichever of its two forms does not lose its digits."""
    if ratio <= 0.0:
        return 0.0
    head = ratio ** (total - 1)
    if head > 1e-3:
        powers = np.arange(1, total)
        return float((-np.log1p(-ratio) - np.sum(ratio**powers / powers)) / head)
    terms = np.arange(1, int(np.ceil(-40.0 / np.log(ratio))) + 2)
    return float(np.sum(ratio**terms / (total - 1 + terms)))
