"""Whether a layer's gradient is the sum of what the rules read of its samples: looked at along random directions.

A weight that is also used without its module, a penalty in the loss, a hook that changes the gradient, or gradients of
earlier steps: of all these the samples' norms know nothing, and the temperature would be wrong without a word.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import Parameter

from thermotui.probe.forms import Form, Outer
from thermotui.probe.precision import full_precision
from thermotui.probe.sums import square

NOISE_SHARE = 0.01
"""‖g − Σ_n G_n‖² that is let pass, as a share of Σ_n ‖G_n‖²: what it could do to the temperature."""
ROUNDING = 4e-4
"""The same as a share of ‖g‖²."""
HALF_ROUNDING = 0.04
"""That of gradients in half precision, of which the sums over many rows and micro-batches lose much more."""


class Directed(NamedTuple):
    """A gradient g along its direction R."""

    along: Tensor
    """Rᵀg."""
    square: Tensor
    """‖g‖², a scalar."""
    rounding: float


class Directions:
    """A vector of random signs R for each parameter, over its gradient's first axis, drawn anew at every look."""

    def __init__(self, device: torch.device, seed: int) -> None:
        self._generator = torch.Generator(device="cpu").manual_seed(seed)
        self._device = device
        self._drawn: dict[int, Tensor] = {}

    def begin_look(self) -> None:
        """From now on others: what one of them is blind to the next ones see."""
        self._drawn.clear()

    def total(self, parameter: Parameter, uses: Sequence[Form]) -> Tensor:
        """Σ_n RᵀG_n of the samples n in the forms of one parameter from one pass."""
        direction = self._direction(parameter)
        return torch.stack([_along(form, direction) for form in uses]).sum(0)

    def of_gradient(self, parameter: Parameter, gradient: Tensor) -> Directed:
        """The gradient of a parameter along the same direction; gradient: in whatever precision it is read."""
        direction = self._direction(parameter).to(gradient.dtype)
        with full_precision(gradient.device):
            along = (direction.mT @ gradient.reshape(len(direction), -1)).flatten()
        half = parameter.dtype in (torch.float16, torch.bfloat16)
        return Directed(along, square(gradient), HALF_ROUNDING if half else ROUNDING)

    def _direction(self, parameter: Parameter) -> Tensor:
        """[rows, 1]."""
        if id(parameter) not in self._drawn:
            bits = torch.randint(0, 2, (parameter.shape[0], 1), generator=self._generator, device="cpu")
            self._drawn[id(parameter)] = (2.0 * bits - 1.0).to(self._device, non_blocking=True)
        return self._drawn[id(parameter)]


def _along(form: Form, direction: Tensor) -> Tensor:
    """Σ_n RᵀG_n, flat; groups of a convolution are added up, as R goes over the rows of all."""
    direction = direction.to(form.dtype)
    if isinstance(form, Outer) and form.deltas.dim() > 3:
        return form.sketch(direction.view(form.deltas.shape[1], -1, 1)).sum((0, 1)).flatten()
    return form.sketch(direction).sum(0).flatten()


def disagreement(totals: Mapping[int, Sequence[Tensor]], gradients: Mapping[int, Directed], squares: Tensor) -> Tensor:
    """How far the gradient of a layer is from the sum of its samples' parts: more than 1 is too far. A scalar, float32.

    totals: those of each pass, gradients: what they should add up to, both by parameter. squares: Σ_n ‖G_n‖².
    """
    pairs = [(gradients[at].along, torch.stack(list(found)).sum(0)) for at, found in totals.items()]
    rest = torch.stack([(gradient - explained).square().sum().double() for gradient, explained in pairs]).sum()
    rounding = torch.stack([gradients[at].rounding * gradients[at].square.double() for at in totals]).sum()
    return (rest / torch.maximum(NOISE_SHARE * squares.double(), rounding)).float()


class Looks:
    """What the looks at each layer have come to: two in a row that disagree are no accident."""

    def __init__(self, layers: int) -> None:
        self._disagreed = np.zeros(layers, dtype=bool)
        self._compared = np.zeros(layers, dtype=bool)
        self._last_step = -1

    def judge(self, steps: NDArray[np.int64], found: NDArray[np.float64]) -> list[int]:
        """More looks: their steps, [n], in order, and how far each layer's gradient was from the sum, [n, L].

        NaN where it was not compared; steps that were judged before are passed over. Returns the layers that disagreed
        twice in a row.
        """
        wrong = np.zeros_like(self._disagreed)
        looked = np.isfinite(found).any(axis=1) & (steps > self._last_step)
        for step, row in zip(steps[looked], found[looked], strict=True):
            compared = np.isfinite(row)
            self._last_step = int(step)
            wrong |= self._disagreed & (row > 1.0)
            self._disagreed = np.where(compared, row > 1.0, self._disagreed)
            self._compared |= compared
        self._disagreed &= ~wrong
        return [int(layer) for layer in np.flatnonzero(wrong)]

    @property
    def unsettled(self) -> bool:
        """Whether the last look at some layer disagreed, so that there has to be another one."""
        return bool(self._disagreed.any())

    @property
    def complete(self) -> bool:
        """Whether all layers were compared."""
        return bool(self._compared.all())

    def missing(self, layers: Sequence[int]) -> bool:
        """Whether one of these was never compared."""
        return not self._compared[list(layers)].all()
