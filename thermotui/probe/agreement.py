"""Whether a layer's gradient is the sum of what the rules read of its samples: looked at along random directions.

A weight that is also used without its module, a penalty in the loss, a hook that changes the gradient, or gradients of
earlier steps: of all these the samples' norms know nothing, and the temperature would be wrong without a word.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import Parameter

from thermotui.probe.forms import Form

NOISE_SHARE = 0.01
"""‖g − Σ_n G_n‖² that is let pass, as a share of Σ_n ‖G_n‖²: what it could do to the temperature."""
ROUNDING = 4e-4
"""The same as a share of ‖g‖²: what rounding does to gradients of half precision."""


@dataclass(frozen=True)
class Total:
    """Of some samples' parts G_n in one parameter's gradient: Σ_n RᵀG_n, flat, and Σ_n ‖RᵀG_n‖², a scalar."""

    sum: Tensor
    squares: Tensor


class Directions:
    """A vector of random signs R for each parameter, over its gradient's first axis, the same for the whole run."""

    def __init__(self, device: torch.device, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)
        self._device = device
        self._drawn: dict[int, Tensor] = {}

    def total(self, parameter: Parameter, uses: Sequence[Form]) -> Total:
        """Of all samples in the forms of one parameter from one pass."""
        rows = uses[0].rows
        if id(parameter) not in self._drawn:
            bits = torch.randint(0, 2, (rows, 1), generator=self._generator)
            self._drawn[id(parameter)] = (2.0 * bits - 1.0).to(self._device)
        direction = self._drawn[id(parameter)]
        along = [form.sketch(direction.to(form.dtype)).flatten(1) for form in uses]
        samples = torch.stack(along).sum(0)
        return Total(samples.sum(0), samples.square().sum())

    def of_gradient(self, parameter: Parameter, gradient: Tensor) -> Tensor | None:
        """Rᵀg, flat; None where no form of this parameter has been seen."""
        direction = self._drawn.get(id(parameter))
        if direction is None:
            return None
        # Convolutions with groups have one R for all of these.
        groups = gradient.shape[0] // len(direction)
        return (direction.to(gradient.dtype).mT @ gradient.reshape(groups, len(direction), -1)).flatten()


def disagreement(totals: Mapping[int, Sequence[Total]], gradients: Mapping[int, Tensor]) -> Tensor | None:
    """How far the gradient of a layer is from the sum of its samples' parts: more than 1 is too far. A scalar.

    Both by parameter; None where something of it is missing.
    """
    if not totals or any(at not in gradients for at in totals):
        return None
    pairs = [(gradients[at], torch.stack([total.sum for total in found]).sum(0)) for at, found in totals.items()]
    rest = torch.stack([(gradient - explained).square().sum().double() for gradient, explained in pairs]).sum()
    whole = torch.stack([gradient.square().sum().double() for gradient, _ in pairs]).sum()
    noise = torch.stack([total.squares.double() for found in totals.values() for total in found]).sum()
    return (rest / torch.maximum(NOISE_SHARE * noise, ROUNDING * whole)).float()
