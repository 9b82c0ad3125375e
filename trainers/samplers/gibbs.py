"""Block Gibbs sampling of Bernoulli restricted Boltzmann machines, K members at once."""

from __future__ import annotations

import torch
from torch import Tensor


@torch.no_grad()
def block_gibbs(
    weights: Tensor,
    visible_bias: Tensor,
    hidden_bias: Tensor,
    visible: Tensor,
    sweeps: int,
    generator: torch.Generator,
) -> Tensor:
    """Visible states [K, N, n_v] of 0 and 1 after `sweeps` of h ~ p(h|v), v ~ p(v|h); a new tensor.

    weights [K, n_v, n_h], visible_bias [K, n_v], hidden_bias [K, n_h], all of one floating type.
    """
    transposed = weights.mT
    visible_bias, hidden_bias = visible_bias.unsqueeze(1), hidden_bias.unsqueeze(1)
    for _ in range(sweeps):
        hidden = bernoulli_from_logits(torch.baddbmm(hidden_bias, visible, weights), generator)
        visible = bernoulli_from_logits(torch.baddbmm(visible_bias, hidden, transposed), generator)
    return visible


def bernoulli_from_logits(logits: Tensor, generator: torch.Generator) -> Tensor:
    """0 or 1 with probability σ(logits) of 1, in place of `logits` and of its type."""
    uniform = torch.rand(logits.shape, generator=generator, dtype=logits.dtype, device=logits.device)
    return logits.sigmoid_().gt_(uniform)
