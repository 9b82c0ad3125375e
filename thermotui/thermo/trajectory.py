"""Trajectory annealed importance sampling: weighted chains that follow a model p_θ ∝ exp(−E_θ) through its training.

N chains per member move by kernels that leave the present p_θ invariant. Each update multiplies a chain's weight by
exp(−ΔE) at its position, so that weighted averages are right however slowly the chains mix; when the effective sample
size falls below half, the chains are resampled. Between an earlier θ, the anchor, whose chains are kept, and the
present one ln Z comes from Bennett's ratio; the anchor moves on when the two overlap too little. Unlike a sum
over every step the error does not grow while SGD noise carries θ to and fro about the same place.

Numbers only: the energies come from, and the chains live in, `trainers.samplers.population`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thermotui.thermo.free_energy import bennett_acceptance_ratio, step_divergence
from thermotui.thermo.information import log_mixture, log_mixture_without_each
from thermotui.thermo.statistics import (
    Array,
    block_means,
    effective_sample_size,
    normalised_weights,
    weighted_mean,
)
from thermotui.thermo.transition import Reading, Transition

BLOCKS = 64
"""Slots. Resampling in order keeps the offspring of one chain side by side, so that blocks of neighbours, unlike single
chains, are nearly independent and their spread gives the error."""

RESAMPLE_BELOW = 0.5
ANCHOR_BELOW = 0.15
"""Effective sample sizes, as fractions of N, below which chains are resampled and the anchor moves to the present θ."""

_ROUNDING = 1e-9


@dataclass(frozen=True)
class Energies:
    """What one transition θ → θ' needs, float64 [K, N] each, in nats.

    before: E_θ'(x) at the chains before they moved. after: E_θ'(x') once they moved. anchor: E_θ' at the chains kept at
    the anchor. after_at_anchor: E_a(x') under the anchor's θ.
    """

    before: Array
    after: Array
    anchor: Array
    after_at_anchor: Array


@dataclass(frozen=True)
class Advance:
    """The transition, and what the holder of the chains must do: gather them by `parents` [K, N] (None: nothing to
    do), then copy chains and θ of the members in `anchored` [K] to the anchor."""

    transition: Transition
    parents: NDArray[np.int64] | None
    anchored: NDArray[np.bool_]


class Trajectory:
    """Weights, ln Z and the first law of K × N chains along a training."""

    def __init__(self, energy: Array, log_partition: Array, seed: int = 0) -> None:
        """Start from equally weighted chains with E_θ0 = `energy` [K, N] and ln Z(θ_0) as influence values, [K, N] or,
        exactly known, [K, 1]. ValueError unless N is a multiple of BLOCKS."""
        if energy.shape[1] % BLOCKS:
            raise ValueError(f"the number of chains must be a multiple of {BLOCKS}, not {energy.shape[1]}")
        self._energy = np.array(energy, dtype=np.float64)
        self._log_weights = np.zeros_like(self._energy)
        self._log_partition = np.broadcast_to(log_partition, self._energy.shape).astype(np.float64)
        self._anchor_energy = self._energy.copy()
        self._anchor_weights = np.ones_like(self._energy)
        self._anchor_log_partition = self._log_partition.copy()
        # Per chain and lineage: E at the start, and the running work and heat, which must telescope.
        self._books = np.stack([self._energy, np.zeros_like(self._energy), np.zeros_like(self._energy)])
        self._reach = np.abs(self._energy)
        """The largest numbers that have gone through the books of each chain: their rounding stays in them."""
        self._random = np.random.default_rng(seed)

    @property
    def weights(self) -> Array:
        """Weights of the chains, mean 1, [K, N]."""
        return normalised_weights(self._log_weights)

    @property
    def log_partition(self) -> Array:
        """ln Z(θ) of each member, [K]."""
        return np.asarray(self._log_partition.mean(axis=1))

    def advance(self, energies: Energies, relaxation: Array) -> Advance:
        """Enter one transition. `relaxation` [K]: correlation of the chains' positions before and after the moves.

        The effective sample size reported is that of the weights times (1 − ρ)/(1 + ρ): what the chains add per
        transition. RuntimeError if a chain's energies do not telescope.
        """
        delta = energies.before - self._energy
        weights = self.weights
        work, half_variance = step_divergence(delta, weights, blocks=BLOCKS)
        start = weighted_mean(energies.before, weights)
        self._log_weights = self._log_weights - delta
        self._keep_books(delta, energies)

        sample_size = effective_sample_size(self._log_weights)
        forward, reverse = energies.anchor - self._anchor_energy, energies.after - energies.after_at_anchor
        weights = self.weights
        bennett = bennett_acceptance_ratio(forward, reverse, self._anchor_weights, weights)
        self._log_partition = self._anchor_log_partition + bennett.paired
        overlap = np.minimum(
            effective_sample_size(np.log(self._anchor_weights) - forward),
            effective_sample_size(self._log_weights + reverse),
        )
        parents = self._resample(sample_size)
        end = weighted_mean(self._energy, self.weights)

        anchored = overlap < ANCHOR_BELOW * delta.shape[1]
        self._anchor_energy[anchored] = self._energy[anchored]
        self._anchor_weights[anchored] = self.weights[anchored]
        self._anchor_log_partition[anchored] = self._log_partition[anchored]
        transition = Transition(
            work=block_means(work, BLOCKS),
            heat=block_means(end - start, BLOCKS),
            work_half_variance=half_variance,
            effective_sample_size=sample_size * np.clip((1 - relaxation) / (1 + relaxation), 0.0, 1.0),
            relaxation=relaxation,
        )
        return Advance(transition, parents, anchored)

    def reading(self, cross_energy: Array | None = None, window: tuple[Array, Array] | None = None) -> Reading:
        """The present reading. cross_energy: E_θj(x_{k,i}) at [k, j, i] for an ensemble; window: of a single run, the
        energies [M, N] of past θ at its chains with their ln Z [M]."""
        conditional = weighted_mean(self._energy, self.weights) + self._log_partition
        lower = upper = None
        if cross_energy is not None:
            lower, upper = self._information(cross_energy)
        elif window is not None:
            past, log_partitions = window
            own = -(self._energy[0] + self.log_partition[0])
            values = own - log_mixture(-(past + log_partitions[:, None]))
            lower = weighted_mean(values[None], self.weights)
        return Reading(
            entropy_conditional=block_means(conditional, BLOCKS),
            entropy_marginal=None if lower is None else block_means(conditional + lower, BLOCKS),
            l_info_upper=None if upper is None else block_means(upper, BLOCKS),
            log_partition=block_means(self._log_partition, BLOCKS),
        )

    def _information(self, cross_energy: Array) -> tuple[Array, Array | None]:
        """Influence values of both bounds of the L-info, the errors of every member's ln Z included."""
        members = np.arange(len(cross_energy))
        log_p = -(cross_energy + self.log_partition[None, :, None])
        own = log_p[members, members]
        by_component = np.swapaxes(log_p, 0, 1)
        weights = self.weights
        off = self._log_partition - self._log_partition.mean(axis=1, keepdims=True)

        mixture = log_mixture(by_component)
        share = np.exp(by_component - mixture) / len(members)
        pull = -1.0 + (weights * share).mean(axis=-1).sum(axis=1)
        lower = weighted_mean(own - mixture, weights) + pull[:, None] * off
        if len(members) < 3:
            return lower, None
        rest = log_mixture_without_each(by_component)[members, members]
        share = np.exp(by_component - rest) / (len(members) - 1)
        share[members, members] = 0.0
        pull = -1.0 + (weights * share).mean(axis=-1).sum(axis=1)
        return lower, weighted_mean(own - rest, weights) + pull[:, None] * off

    def _keep_books(self, delta: Array, energies: Energies) -> None:
        self._books[1] += delta
        self._books[2] += energies.after - energies.before
        self._energy = np.array(energies.after)
        gap = np.abs(self._books.sum(axis=0) - self._energy)
        self._reach = np.fmax(self._reach, np.abs(self._books).sum(axis=0))
        allowed = _ROUNDING * (1.0 + self._reach)
        if np.isfinite(gap).all() and (gap > allowed).any():
            raise RuntimeError(f"the first law does not telescope along a chain: off by {gap.max():.3g} nats")

    def _resample(self, sample_size: Array) -> NDArray[np.int64] | None:
        members, chains = self._energy.shape
        poor = np.flatnonzero(sample_size < RESAMPLE_BELOW * chains)
        if not poor.size:
            return None
        parents = np.tile(np.arange(chains), (members, 1))
        for member in poor:
            edges = np.cumsum(self.weights[member]) / chains
            points = (self._random.random() + np.arange(chains)) / chains
            parents[member] = np.minimum(np.searchsorted(edges, points), chains - 1)
            self._log_weights[member] = 0.0
        self._energy = np.take_along_axis(self._energy, parents, axis=1)
        self._books = np.take_along_axis(self._books, parents[None], axis=2)
        self._reach = np.take_along_axis(self._reach, parents, axis=1)
        return parents

    def state_dict(self) -> dict[str, Any]:
        """All that `advance` and `reading` depend on; plain arrays and the generator's state."""
        arrays = {name: np.array(value) for name, value in vars(self).items() if isinstance(value, np.ndarray)}
        return {"arrays": arrays, "random": self._random.bit_generator.state}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Trajectory:
        """Continue where `state_dict` was taken."""
        trajectory = cls.__new__(cls)
        arrays = state["arrays"]
        # Checkpoints of before it was kept have no `_reach`.
        for name, value in ({"_reach": np.abs(arrays["_books"]).sum(axis=0)} | arrays).items():
            setattr(trajectory, name, np.array(value))
        trajectory._random = np.random.default_rng()
        trajectory._random.bit_generator.state = state["random"]
        return trajectory
