"""Layers of K models side by side: every parameter has the member axis first, every product is one batched product."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from thermotui.probe.gradient_norms import linear_squared_norms, sample_noise_trace


class BatchedLinear(nn.Module):
    """K linear layers: [K, …, i] → [K, …, o].

    Weights are drawn from N(0, gain²/i), biases start at zero.
    """

    def __init__(
        self, ensemble: int, inputs: int, outputs: int, *, generator: torch.Generator, gain: float = 1.0
    ) -> None:
        super().__init__()
        device = generator.device
        # [K, i, o] and not torch's [o, i]: autograd then hands out contiguous weight gradients, and everything that
        # touches them (the update, norms, projections) takes half the time.
        weight = torch.randn(ensemble, inputs, outputs, generator=generator, device=device)
        self.weight = nn.Parameter(weight * (gain / math.sqrt(inputs)))
        self.bias = nn.Parameter(torch.zeros(ensemble, outputs, device=device))
        self.tape: list[tuple[Tensor, Tensor]] | None = None

    def forward(self, inputs: Tensor) -> Tensor:
        """The layer's outputs; noted on the tape with their inputs while one is running."""
        flat = inputs.flatten(1, -2) if inputs.dim() > 3 else inputs
        outputs = torch.baddbmm(self.bias.unsqueeze(1), flat, self.weight)
        if inputs.dim() > 3:
            outputs = outputs.reshape(*inputs.shape[:-1], -1)
        if self.tape is not None:
            self.tape.append((inputs, outputs))
        return outputs


class BatchedMLP(nn.Module):
    """K multilayer perceptrons with ReLU between their linear layers: [K, b, widths[0]] → [K, b, widths[-1]]."""

    def __init__(
        self, ensemble: int, widths: Sequence[int], *, generator: torch.Generator, output_gain: float = 1.0
    ) -> None:
        super().__init__()
        # He's gain keeps the activations' scale through the ReLUs.
        gains = [math.sqrt(2)] * (len(widths) - 2) + [output_gain]
        self.layers = nn.ModuleList(
            BatchedLinear(ensemble, inputs, outputs, generator=generator, gain=gain)
            for (inputs, outputs), gain in zip(itertools.pairwise(widths), gains, strict=True)
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """The last layer's outputs."""
        *hidden, last = self.layers
        for layer in hidden:
            inputs = torch.relu(layer(inputs))
        outputs: Tensor = last(inputs)
        return outputs


@contextmanager
def recording(layers: Sequence[BatchedLinear]) -> Iterator[list[tuple[Tensor, Tensor]]]:
    """While open, the layers note their inputs and outputs, in the order of the forward pass."""
    tape: list[tuple[Tensor, Tensor]] = []
    for layer in layers:
        layer.tape = tape
    try:
        yield tape
    finally:
        for layer in layers:
            layer.tape = None


def fill_gradients(module: nn.Module, losses: Tensor) -> None:
    """Put the gradient of each member's mean loss into `.grad` of every parameter. losses: [K, b], attached."""
    parameters = list(module.parameters())
    _assign(parameters, torch.autograd.grad(losses.mean(1).sum(), parameters))


def fill_gradients_and_noise(module: nn.Module, losses: Tensor, tape: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """As `fill_gradients`, and the trace of the per-sample gradient covariance of each recorded layer, [K, L].

    The tape must hold linear layers in the order of `module.parameters()` (weight, bias each) that every sample passed
    once. Only row norms of what backpropagation computes anyway; ValueError for batches of one.
    """
    parameters = list(module.parameters())
    batch_size = losses.shape[1]
    gradients = torch.autograd.grad(losses.mean(1).sum(), [*parameters, *(outputs for _, outputs in tape)])
    _assign(parameters, gradients[: len(parameters)])
    columns = []
    for index, ((inputs, _), deltas) in enumerate(zip(tape, gradients[len(parameters) :], strict=True)):
        squared = linear_squared_norms(inputs.detach(), deltas * batch_size, bias=True).sum(-1)
        weight, bias = gradients[2 * index], gradients[2 * index + 1]
        mean = torch.linalg.vector_norm(weight, dim=(1, 2)).square() + torch.linalg.vector_norm(bias, dim=1).square()
        columns.append(sample_noise_trace(squared, mean, batch_size))
    return torch.stack(columns, dim=1)


def _assign(parameters: Sequence[nn.Parameter], gradients: Sequence[Tensor]) -> None:
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
