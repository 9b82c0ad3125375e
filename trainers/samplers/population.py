"""Chains that measure a model p_θ ∝ exp(−E_θ) while it trains: the torch side of `thermotui.thermo.trajectory`.

They are not the chains that the gradient uses. An update pushes up the energy of the very samples that it was estimated
from, so that those samples would report a free energy off by r·tr(C)/N at every step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from thermotui.thermo.statistics import Array
from thermotui.thermo.trajectory import Energies, Trajectory
from thermotui.thermo.transition import Reading, Transition

Parameters = dict[str, Tensor]
"""Every parameter of the model, member axis first."""

Energy = Callable[[Parameters, Tensor], Tensor]
"""(θ, positions [K, N, d]) → E_θ [K, N] in float64."""

Kernel = Callable[[Tensor, int], Tensor]
"""(positions [K, N, d], sweeps) → positions, leaving the present p_θ invariant."""

WINDOW = 16
"""Past θ in the mixture of a single run."""

_POWER_ROUNDS = 2


class Population:
    """N chains for each of K members, their weights, the remembered θ and the anchor."""

    def __init__(
        self,
        energy: Energy,
        kernel: Kernel,
        parameters: Parameters,
        positions: Tensor,
        log_partition: Array,
        *,
        seed: int,
    ) -> None:
        """Start from equally weighted samples [K, N, d] of p_θ0; log_partition: ln Z(θ_0) as influence values."""
        self._energy, self._kernel = energy, kernel
        self._positions = positions
        self._parameters = _copy(parameters)
        self._anchor, self._anchor_positions = _copy(parameters), positions.clone()
        self.trajectory = Trajectory(self._evaluate(parameters, positions), log_partition, seed)
        self._window: list[tuple[Parameters, float]] = []
        self._direction: Tensor | None = None
        self.relaxation: Array = np.full(len(positions), np.nan)
        """Correlation of the chains' positions before and after the last transition's moves, [K], along the direction
        in which they spread most: near 1 where they have not relaxed."""

    @property
    def positions(self) -> Tensor:
        """The chains, [K, N, d]; weighted by `trajectory.weights`."""
        return self._positions

    def transition(self, parameters: Parameters, sweeps: int) -> Transition:
        """From the remembered θ to `parameters`, with `sweeps` moves under them."""
        before = self._evaluate(parameters, self._positions)
        moved = self._kernel(self._positions, sweeps)
        self.relaxation = self._correlation(self._positions, moved)
        advance = self.trajectory.advance(
            Energies(
                before=before,
                after=self._evaluate(parameters, moved),
                anchor=self._evaluate(parameters, self._anchor_positions),
                after_at_anchor=self._evaluate(self._anchor, moved),
            ),
            self.relaxation,
        )
        if advance.parents is not None:
            parents = torch.from_numpy(advance.parents).to(moved.device)
            moved = moved.gather(1, parents.unsqueeze(-1).expand_as(moved))
        self._positions = moved
        self._parameters = _copy(parameters)
        if advance.anchored.any():
            chosen = torch.from_numpy(advance.anchored).to(moved.device)
            self._anchor_positions = self._anchor_positions.clone()
            self._anchor_positions[chosen] = moved[chosen]
            for name, tensor in self._anchor.items():
                tensor[chosen] = self._parameters[name][chosen]
        return advance.transition

    def reading(self) -> Reading:
        """The present reading: over the ensemble, or over a window of its own past for a single run."""
        members = len(self._positions)
        if members == 1:
            self._window.append((_copy(self._parameters), float(self.trajectory.log_partition[0])))
            self._window = self._window[-WINDOW:]
            energies = np.stack([self._evaluate(past, self._positions)[0] for past, _ in self._window])
            return self.trajectory.reading(window=(energies, np.array([value for _, value in self._window])))
        # Energies of every member j at the chains of member k, one k at a time to bound the memory.
        rows = [self._evaluate(self._parameters, positions.expand(members, -1, -1)) for positions in self._positions]
        return self.trajectory.reading(cross_energy=np.stack(rows))

    def samples(self, count: int, generator: torch.Generator) -> Tensor:
        """`count` positions drawn by the chains' weights, [K, count, d]."""
        weights = torch.from_numpy(self.trajectory.weights).to(self._positions.device)
        chosen = draw_by_weight(weights, count, generator)
        return self._positions.gather(1, chosen.unsqueeze(-1).expand(-1, -1, self._positions.shape[2]))

    def log_weights_at(self, parameters: Parameters) -> Array:
        """ln of the chains' weights under another θ near the remembered one, up to a constant, [K, N]."""
        delta = self._evaluate(parameters, self._positions) - self._evaluate(self._parameters, self._positions)
        return np.asarray(np.log(self.trajectory.weights) - delta)

    def state_dict(self) -> dict[str, Any]:
        """Everything but the functions."""
        return {
            "positions": self._positions,
            "parameters": _copy(self._parameters),
            "anchor": _copy(self._anchor),
            "anchor_positions": self._anchor_positions,
            "trajectory": self.trajectory.state_dict(),
            "window": list(self._window),
            "direction": self._direction,
            "relaxation": self.relaxation.copy(),
        }

    @classmethod
    def from_state(cls, energy: Energy, kernel: Kernel, state: Mapping[str, Any]) -> Population:
        """Continue where `state_dict` was taken."""
        population = cls.__new__(cls)
        population._energy, population._kernel = energy, kernel
        population._positions = state["positions"]
        population._parameters, population._anchor = _copy(state["parameters"]), _copy(state["anchor"])
        population._anchor_positions = state["anchor_positions"]
        population.trajectory = Trajectory.from_state(state["trajectory"])
        population._window = list(state["window"])
        population._direction = state["direction"]
        population.relaxation = np.array(state["relaxation"])
        return population

    @torch.no_grad()
    def _evaluate(self, parameters: Parameters, positions: Tensor) -> Array:
        return np.asarray(self._energy(parameters, positions).double().cpu().numpy())

    def _correlation(self, before: Tensor, after: Tensor) -> Array:
        """Correlation over the chains of their projections on the leading principal direction, [K]."""
        centred, moved = (x.double() - x.double().mean(1, keepdim=True) for x in (before, after))
        direction = self._direction
        if direction is None:
            direction = torch.ones_like(centred[:, 0]).unsqueeze(-1)
            direction += 0.1 * torch.arange(direction.shape[1], device=direction.device).sin()[:, None]
        for _ in range(_POWER_ROUNDS):
            direction = centred.mT @ (centred @ direction)
            direction = direction / direction.norm(dim=1, keepdim=True).clamp_min(1e-300)
        self._direction = direction
        left, right = (centred @ direction).squeeze(-1), (moved @ direction).squeeze(-1)
        scale = (left.square().sum(1) * right.square().sum(1)).sqrt()
        # Chains that do not spread at all along any direction have nothing left to relax.
        return np.asarray(torch.where(scale > 0, (left * right).sum(1) / scale, 0.0).cpu().numpy())


def halves_of(chains: int) -> tuple[slice, slice]:
    """The two halves of N chains. Offspring stay side by side, so that halves, unlike alternate chains, are independent
    but for what has crossed the middle."""
    return slice(chains // 2), slice(chains // 2, chains)


def draw_by_weight(weights: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """`count` indices for each member, drawn with replacement by weights [K, N], int64 [K, count].

    A member that diverged has no weights left: any sample then does, and its figures are NaN.
    """
    usable = torch.isfinite(weights).all(1, keepdim=True) & (weights.sum(1, keepdim=True) > 0)
    return torch.multinomial(torch.where(usable, weights, 1.0), count, replacement=True, generator=generator)


def _copy(parameters: Mapping[str, Tensor]) -> Parameters:
    return {name: tensor.detach().clone() for name, tensor in parameters.items()}
