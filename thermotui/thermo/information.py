"""Mixtures, bounds of the L-info and the increments of discrete models, on log-probabilities in float64.

Members of an ensemble are counted by K, slots (probe inputs, samples) by P, classes by C.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from thermotui.thermo.transition import Reading, Slots, Transition

Array = NDArray[np.float64]


def log_mixture(log_p: Array) -> Array:
    """ln p̄ = ln (1/K) Σ_k p_k over the first axis: [K, …] → […]."""
    shift = _finite_maximum(log_p)
    with np.errstate(divide="ignore"):
        result: Array = np.log(np.exp(log_p - shift).mean(axis=0)) + shift
    return result


def log_mixture_without_each(log_p: Array) -> Array:
    """ln 1/(K−1) Σ_{j≠k} p_j for every k: [K, …] → [K, …], K ≥ 2.

    Sums from both ends instead of subtracting a member from the total, which would cancel where that member dominates.
    """
    if len(log_p) < 2:
        raise ValueError(f"a mixture without one member needs at least two members, got {len(log_p)}")
    shift = _finite_maximum(log_p)
    scaled = np.exp(log_p - shift)
    rest = np.zeros_like(scaled)
    np.cumsum(scaled[:-1], axis=0, out=rest[1:])
    rest[:-1] += np.cumsum(scaled[:0:-1], axis=0)[::-1]
    with np.errstate(divide="ignore"):
        result: Array = np.log(rest) + shift
    # Where a member is so far above all others that they underflow beside it, their sum is taken on its own scale.
    for k, *where in np.argwhere(rest == 0):
        result[(k, *where)] = np.logaddexp.reduce(np.delete(log_p[(slice(None), *where)], k))
    result -= np.log(len(log_p) - 1)
    return result


def categorical_reading(log_p: Array, log_mean: Array | None = None) -> Reading:
    """Entropies of K classifiers on P probe inputs from ln p_k(y|x_i), [K, P, C], as exact sums over the classes.

    S_{X|Θ} = −Σ_y p_k ln p_k; S_X = −Σ_y p_k ln p̄ with p̄ the mixture of the members, or exp(`log_mean`) [P, C] where
    one is given (a single run's window). The upper bound of the L-info needs K ≥ 3.
    """
    p = np.exp(log_p)
    mixture = log_mixture(log_p) if log_mean is None else log_mean
    upper = None
    if len(log_p) >= 3:
        upper = _expectation(p, log_p - log_mixture_without_each(log_p))
    return Reading(
        entropy_conditional=-_expectation(p, log_p),
        entropy_marginal=-_expectation(p, np.broadcast_to(mixture, p.shape)),
        l_info_upper=upper,
    )


def categorical_transition(before: Array, after: Array) -> Transition:
    """Work (38) and heat (39) between ln p_{t−1} and ln p_t, both [K, P, C], as exact sums over the classes.

    dW = Σ_y p_{t−1} (φ_t − φ_{t−1}), dQ = Σ_y (p_t − p_{t−1}) φ_t with φ = −ln p: two routes that share no term with
    the entropies, so that the first law remains a check.
    """
    p_before, p_after = np.exp(before), np.exp(after)
    work = _expectation(p_before, before - after)
    heat = -_expectation(p_after - p_before, after)
    return Transition(work, heat, first_law_rounding=rounding(work, heat))


def sampled_reading(log_p: Array, own: Array | None = None) -> Reading:
    """Entropies of K models with tractable likelihoods from P samples of each.

    log_p: [K, K, P], ln p(x_{k,i}|θ_j) at [k, j, i] for the i-th sample of member k. own: exact or better values of
    −ln p(x|θ_k) per slot [K, P] or [K, 1] for S_{X|Θ}; the samples' own values where None. Both bounds of the L-info
    come from the samples; S_X = S_{X|Θ} + the lower one.
    """
    members = np.arange(len(log_p))
    diagonal = log_p[members, members]
    by_component = np.swapaxes(log_p, 0, 1)
    lower = diagonal - log_mixture(by_component)
    upper = None
    if len(log_p) >= 3:
        others = by_component.copy()
        others[members, members] = -np.inf
        upper = diagonal - log_mixture(others) - np.log(len(log_p) / (len(log_p) - 1))
    conditional = -diagonal if own is None else own
    return Reading(entropy_conditional=conditional, entropy_marginal=conditional + lower, l_info_upper=upper)


def rounding(*terms: Array) -> float:
    """Scale of the rounding error of one transition's first law whose terms are sums of this size, in nats."""
    largest = max(float(np.abs(term).max()) for term in terms)
    return max(1e-12, 16 * float(np.finfo(np.float64).eps) * largest)


class WindowMixture:
    """The mixture over the last `size` readings of a single run: the stationary-reservoir reading of (9)."""

    def __init__(self, size: int = 64) -> None:
        self._size = size
        self._count = 0
        self._ring: Array = np.empty((0,))

    def push(self, log_p: Array) -> Array:
        """Take in ln p_t, any shape, the same each time; returns ln of the mean of the window's p, that shape."""
        if self._count == 0:
            self._ring = np.empty((self._size, *log_p.shape))
        self._ring[self._count % self._size] = log_p
        self._count += 1
        return log_mixture(self._ring[: self._count])

    def state_dict(self) -> dict[str, Any]:
        """The window's contents."""
        return {"count": self._count, "ring": self._ring.copy()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict`."""
        self._count = int(state["count"])
        self._ring = np.array(state["ring"])


def _expectation(p: Array, values: Array) -> Slots:
    """Σ_y p values over the last axis; a class of probability 0 contributes 0 even where its φ is infinite."""
    result: Slots = np.einsum("...c,...c->...", p, np.where(p == 0, 0.0, values))
    return result


def _finite_maximum(log_p: Array) -> Array:
    """Maximum over the first axis, 0 where that is infinite: subtracting it must not make NaN of −inf − (−inf)."""
    maximum = log_p.max(axis=0)
    return np.where(np.isinf(maximum), 0.0, maximum)
