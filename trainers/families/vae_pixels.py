"""The law of the pixels given the decoder's output: independent Bernoullis, or Gaussians of one fixed width."""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F


class Pixels(Protocol):
    """Sums over the pixels, the last axis; the decoder's outputs are logits or means."""

    accuracy_name: str

    def negative_log_p(self, outputs: Tensor, x: Tensor) -> Tensor:
        """−ln p(x|z)."""
        ...

    def cross_entropy(self, under: Tensor, of: Tensor) -> Tensor:
        """<−ln p_of(x|z)> over x ~ p_under(x|z), both given by their outputs."""
        ...

    def draw(self, outputs: Tensor, generator: torch.Generator) -> Tensor:
        """x ~ p(x|z)."""
        ...

    def accuracy(self, outputs: Tensor, x: Tensor) -> Tensor:
        """How well a batch [K, b, d] is restored, [K]."""
        ...


class BernoulliPixels:
    """x ∈ {0, 1}; outputs are logits."""

    accuracy_name = "fraction of the mini-batch's pixels restored by encoder and decoder"

    def negative_log_p(self, outputs: Tensor, x: Tensor) -> Tensor:
        """See `Pixels`."""
        return (F.softplus(outputs) - outputs * x).sum(-1)

    def cross_entropy(self, under: Tensor, of: Tensor) -> Tensor:
        """See `Pixels`."""
        return self.negative_log_p(of, under.sigmoid())

    def draw(self, outputs: Tensor, generator: torch.Generator) -> Tensor:
        """See `Pixels`."""
        uniform = torch.rand(outputs.shape, generator=generator, dtype=outputs.dtype, device=outputs.device)
        return (outputs.sigmoid() > uniform).to(outputs.dtype)

    def accuracy(self, outputs: Tensor, x: Tensor) -> Tensor:
        """See `Pixels`."""
        return ((outputs > 0) == (x > 0.5)).float().mean((1, 2))


class GaussianPixels:
    """x ∈ R with standard deviation σ; outputs are means."""

    accuracy_name = "fraction of the mini-batch's variance that encoder and decoder explain"

    def __init__(self, sigma: float) -> None:
        self._sigma = sigma
        self._constant = math.log(sigma) + 0.5 * math.log(2 * math.pi)

    def negative_log_p(self, outputs: Tensor, x: Tensor) -> Tensor:
        """See `Pixels`."""
        return (0.5 * ((x - outputs) / self._sigma).square() + self._constant).sum(-1)

    def cross_entropy(self, under: Tensor, of: Tensor) -> Tensor:
        """See `Pixels`."""
        return self.negative_log_p(of, under) + 0.5 * under.shape[-1]

    def draw(self, outputs: Tensor, generator: torch.Generator) -> Tensor:
        """See `Pixels`."""
        noise = torch.randn(outputs.shape, generator=generator, dtype=outputs.dtype, device=outputs.device)
        return outputs + self._sigma * noise

    def accuracy(self, outputs: Tensor, x: Tensor) -> Tensor:
        """See `Pixels`."""
        away = (x - x.mean(1, keepdim=True)).square().mean((1, 2))
        return 1 - (x - outputs).square().mean((1, 2)) / away.clamp_min(1e-12)
