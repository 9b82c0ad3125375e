"""Langevin dynamics of K members at once, plain (ULA) or with Metropolis' correction (MALA)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

EnergyFunction = Callable[[Tensor], Tensor]
"""[K, N, d] → energies [K, N], differentiable."""


class Moved(NamedTuple):
    """Positions [K, N, d] after the moves and the fraction of proposals accepted, [K] (1 without Metropolis)."""

    positions: Tensor
    acceptance: Tensor


def langevin(
    energy: EnergyFunction,
    positions: Tensor,
    steps: int,
    step_size: float | Tensor,
    generator: torch.Generator,
    *,
    metropolis: bool,
) -> Moved:
    """`steps` of x' = x − ε ∇E(x) + √(2ε) ξ from positions [K, N, d]; `step_size` ε is a number or [K].

    Without Metropolis the stationary law is off by O(ε): for E = x²/2σ² its variance is σ²/(1 − ε/2σ²). With it each
    proposal is accepted with the probability that makes exp(−E) stationary.
    """
    size = torch.as_tensor(step_size, dtype=positions.dtype, device=positions.device).reshape(-1, 1, 1)
    value, force = _energy_and_force(energy, positions)
    accepted = torch.zeros(len(positions), dtype=positions.dtype, device=positions.device)
    for _ in range(steps):
        noise = torch.randn(positions.shape, generator=generator, dtype=positions.dtype, device=positions.device)
        proposal = positions + size * force + (2 * size).sqrt() * noise
        proposed_value, proposed_force = _energy_and_force(energy, proposal)
        if not metropolis:
            positions, value, force = proposal, proposed_value, proposed_force
            accepted += 1
            continue
        back = (positions - proposal - size * proposed_force).square().sum(-1) / (4 * size[..., 0])
        log_ratio = value - proposed_value - back + 0.5 * noise.square().sum(-1)
        uniform = torch.rand(value.shape, generator=generator, dtype=value.dtype, device=value.device)
        # A proposal whose energy overflowed compares false and is rejected.
        take = uniform.log() < log_ratio
        positions = torch.where(take.unsqueeze(-1), proposal, positions)
        force = torch.where(take.unsqueeze(-1), proposed_force, force)
        value = torch.where(take, proposed_value, value)
        accepted += take.to(accepted.dtype).mean(1)
    return Moved(positions, accepted / max(steps, 1))


def _energy_and_force(energy: EnergyFunction, positions: Tensor) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        leaf = positions.detach().requires_grad_()
        value = energy(leaf)
        (gradient,) = torch.autograd.grad(value.sum(), leaf)
    return value.detach(), -gradient
