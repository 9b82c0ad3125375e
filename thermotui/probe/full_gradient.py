"""What needs gradients beside the training's own: the force, η against it, and the gap of reversibility."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import Parameter

Parameters = Sequence[Sequence[Parameter]]
Tensors = list[list[Tensor]]


def gradient_of(losses: Callable[[], Iterable[Tensor]], layers: Parameters) -> Tensors:
    """Gradient of the sum of the losses that `losses()` yields, by layer and parameter; `.grad` is left alone.

    One loss at a time is differentiated, so that a data set can come in portions. Random numbers that the losses draw
    are not taken from the training's.
    """
    parameters = [p for layer in layers for p in layer]
    totals = [torch.zeros_like(p) for p in parameters]
    device = parameters[0].device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), torch.enable_grad():
        for loss in losses():
            for total, gradient in zip(totals, torch.autograd.grad(loss, parameters, allow_unused=True), strict=True):
                if gradient is not None:
                    total += gradient
    remaining = iter(totals)
    return [[next(remaining) for _ in layer] for layer in layers]


class FullReading:
    """What a step of a full measurement keeps from its beginning to its end."""

    def __init__(self, losses: Callable[[], Iterable[Tensor]] | None, layers: Parameters) -> None:
        """losses: sum up to the mean loss over the data set; without them there is no force."""
        self._losses = losses
        self._layers = layers
        self.forget()

    def forget(self) -> None:
        """The step is over."""
        self.begun = False
        """Whether the present step is one of a full measurement."""
        self.force: Tensors | None = None
        self._before: Tensors | None = None
        self._replay: Callable[[], Tensor] | None = None

    def begin(self, replay: Callable[[], Tensor] | None) -> None:
        """Take ∇U at the parameters before the step and, where the batch's loss can be replayed, these themselves."""
        self.begun = True
        if self._losses is not None:
            self.force = gradient_of(self._losses, self._layers)
        if replay is not None:
            self._replay, self._before = replay, copies(self._layers)

    def gap(self, rates: Sequence[float] | Sequence[Tensor]) -> Tensor | None:
        """The gap of reversibility after a step of these rates by layer, [L]; None without `replay`."""
        replay = self._replay
        if self._before is None or replay is None:
            return None
        ascent = gradient_of(lambda: [replay()], self._layers)
        return reversibility_gap(self._before, self._layers, ascent, rates)


def power_sums(layers: Sequence[Sequence[Tensor]], power: int) -> Tensor:
    """Σ_i x_i^power by layer, [L], float32."""
    return torch.stack([torch.stack([t.detach().float().pow(power).sum() for t in layer]).sum() for layer in layers])


def largest(layers: Sequence[Sequence[Tensor]]) -> Tensor:
    """max_i |x_i| by layer, [L], float32."""
    return torch.stack([torch.stack([t.detach().float().abs().max() for t in layer]).max() for layer in layers])


def copies(layers: Sequence[Sequence[Tensor]]) -> Tensors:
    """Detached copies."""
    return [[t.detach().clone() for t in layer] for layer in layers]


def difference(left: Sequence[Sequence[Tensor]], right: Sequence[Sequence[Tensor]]) -> Tensors:
    """left − right."""
    return [[a.detach() - b for a, b in zip(*pair, strict=True)] for pair in zip(left, right, strict=True)]


def against_full_gradient(force: Tensors, read: Mapping[int, Tensor], unit: Tensor) -> dict[str, Tensor]:
    """Figures of the full gradient and of η against it, [L] each, by their names in the measurement's raw figures.

    read: gradients by position in the row of all layers' parameters, `unit` times those of the mean loss; none is zero.
    """
    positions = itertools.count()
    zero = torch.zeros((), device=unit.device)
    eta = [[whole - read.get(next(positions), zero) / unit for whole in layer] for layer in force]
    figures = {"force": power_sums(force, 2), "force_max": largest(force)}
    return figures | {f"eta_{power}": power_sums(eta, power) for power in (1, 2, 3, 4)}


def reversibility_gap(
    before: Tensors, layers: Parameters, ascent: Tensors, rates: Sequence[float] | Sequence[Tensor]
) -> Tensor:
    """‖θ† − θ_t‖²/‖θ_{t+1} − θ_t‖² by layer, [L]: θ† = θ_{t+1} + μ∇φ(b_t) at θ_{t+1} (Appendix A)."""
    forward = difference(layers, before)
    backward = [
        [f + rate * g for f, g in zip(*pair, strict=True)] for *pair, rate in zip(forward, ascent, rates, strict=True)
    ]
    return power_sums(backward, 2) / power_sums(forward, 2)
