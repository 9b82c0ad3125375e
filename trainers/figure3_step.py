"""One SGD step of K softmax classifiers, fused: the update is accumulated into the weights, no gradient is stored.

A weight gradient is as large as the weights; at |b| = 1 writing and reading it is most of a step's cost. Here it never
exists: W −= r Aᵀ Δ is one batched product that accumulates into W.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from trainers.batched import BatchedLinear

WARM_UP_STEPS = 3
"""Steps before a CUDA graph is captured, on a side stream, as PyTorch asks for."""


@torch.no_grad()
def sgd_step(layers: Sequence[BatchedLinear], inputs: Tensor, labels: Tensor, learning_rate: float) -> None:
    """θ ← θ − r ∇φ(b) of the mean cross entropy of each member's batch, in place.

    layers: linear layers with ReLU between them. inputs: [K, b, i]. labels: [K, b], int64.
    """
    activations = [inputs]
    for layer in layers[:-1]:
        activations.append(torch.baddbmm(layer.bias.unsqueeze(1), activations[-1], layer.weight).relu_())
    logits = torch.baddbmm(layers[-1].bias.unsqueeze(1), activations[-1], layers[-1].weight)
    deltas = logits.softmax(-1)
    deltas.scatter_add_(2, labels.unsqueeze(2), torch.full_like(deltas[..., :1], -1.0))
    deltas /= labels.shape[1]
    for index in range(len(layers) - 1, -1, -1):
        layer = layers[index]
        # The deltas below need the weights of before the step.
        below = (deltas @ layer.weight.mT).mul_(activations[index] > 0) if index else deltas
        layer.weight.baddbmm_(activations[index].mT, deltas, alpha=-learning_rate)
        layer.bias.sub_(deltas.sum(1), alpha=learning_rate)
        deltas = below


class Stepper:
    """Takes steps by sample indices; on CUDA as the replay of one captured graph."""

    def __init__(
        self, layers: Sequence[BatchedLinear], inputs: Tensor, labels: Tensor, *, batch_size: int, learning_rate: float
    ) -> None:
        """inputs: [N, i], labels: [N] of the data set that all members share."""
        self._layers = layers
        self._inputs = inputs
        self._labels = labels
        self._rate = learning_rate
        self._graph: torch.cuda.CUDAGraph | None = None
        if inputs.device.type == "cuda":
            self._indices = torch.zeros(layers[0].weight.shape[0], batch_size, dtype=torch.int64, device=inputs.device)
            self._capture()

    def __call__(self, indices: Tensor) -> None:
        """One step with the samples `indices` [K, b]."""
        if self._graph is None:
            sgd_step(self._layers, self._inputs[indices], self._labels[indices], self._rate)
        else:
            self._indices.copy_(indices)
            self._graph.replay()

    def _capture(self) -> None:
        parameters = [p for layer in self._layers for p in (layer.weight, layer.bias)]
        kept = [p.detach().clone() for p in parameters]
        new_stream: Callable[[], torch.cuda.Stream] = torch.cuda.Stream
        stream = new_stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP_STEPS):
                sgd_step(self._layers, self._inputs[self._indices], self._labels[self._indices], self._rate)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            sgd_step(self._layers, self._inputs[self._indices], self._labels[self._indices], self._rate)
        with torch.no_grad():
            for parameter, value in zip(parameters, kept, strict=True):
                parameter.copy_(value)
        self._graph = graph
