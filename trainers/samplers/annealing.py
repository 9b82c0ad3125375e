"""Annealed importance sampling of a Bernoulli RBM, forward from a product of Bernoullis and in reverse from the model.

The path p_β raises β from 0 to 1: W and c scaled by β, the visible bias b₀ + β(a − b₀); at β = 0 the visible units are
independent with bias b₀ and Z_0 = 2^n_h Π_i (1 + exp b₀_i) is known. The weights of K machines × N particles come in
float64.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from trainers.samplers.gibbs import bernoulli_from_logits


class Annealed(NamedTuple):
    """Log weights [K, N] (their mean weight is Z_1/Z_0 forward, Z_0/Z_1 in reverse) and the particles at the end."""

    log_weights: Tensor
    visible: Tensor


def temperatures(count: int) -> list[float]:
    """`count` + 1 values of β from 0 to 1, denser towards 1, where the modes form."""
    return [1.0 - (1.0 - n / count) ** 1.5 for n in range(count + 1)]


def base_log_partition(base_bias: Tensor, hidden: int) -> Tensor:
    """ln Z_0 of base_bias [K, n_v] with `hidden` idle hidden units, [K], float64."""
    return hidden * math.log(2.0) + F.softplus(base_bias.double()).sum(1)


def base_samples(base_bias: Tensor, particles: int, generator: torch.Generator) -> Tensor:
    """Exact samples of β = 0, [K, particles, n_v] of the type of `base_bias` [K, n_v]."""
    return bernoulli_from_logits(base_bias.unsqueeze(1).repeat(1, particles, 1), generator)


@torch.no_grad()
def anneal(
    parameters: Mapping[str, Tensor],
    base_bias: Tensor,
    visible: Tensor,
    betas: Sequence[float],
    generator: torch.Generator,
) -> Annealed:
    """Carry particles `visible` [K, N, n_v], samples of β = betas[0], through the betas, rising or falling.

    At each one the weight takes the change of free energy, then one Gibbs sweep under it.
    """
    weights, visible_bias = parameters["weights"], parameters["visible_bias"]
    hidden_bias = parameters["hidden_bias"].unsqueeze(1)
    # The change of the visible bias along the path; its energy is added up in float64 like all the rest.
    tilt = visible_bias - base_bias
    log_weights = torch.zeros(visible.shape[:2], dtype=torch.float64, device=visible.device)
    fields = torch.baddbmm(hidden_bias, visible, weights)
    for previous, beta in itertools.pairwise(betas):
        log_weights += (beta - previous) * (visible @ tilt.unsqueeze(-1)).squeeze(-1).double()
        log_weights += (F.softplus(beta * fields) - F.softplus(previous * fields)).sum(-1, dtype=torch.float64)
        hidden = bernoulli_from_logits(fields.mul_(beta), generator)
        bias = (base_bias + beta * tilt).unsqueeze(1)
        visible = bernoulli_from_logits(torch.baddbmm(bias, hidden, weights.mT, alpha=beta), generator)
        fields = torch.baddbmm(hidden_bias, visible, weights)
    return Annealed(log_weights, visible)
