"""Small models with every kind of layer the probe has to read, and per-sample gradients the long way."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Tensors this small gain nothing from threads, and waiting threads make a busy machine crawl.
torch.set_num_threads(1)

Loss = Callable[[nn.Module, Tensor, Tensor], Tensor]
"""(model, inputs, targets) → φ of each sample, [n]."""

VOCABULARY, POSITIONS, CLASSES = 11, 24, 3


class Attention(nn.Module):
    """One pre-norm transformer block whose sequences are too long for Gram matrices to be cheap."""

    def __init__(self, width: int = 12, tied: bool = False) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, width)
        self.norm = nn.LayerNorm(width)
        self.query, self.key, self.value = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.output = nn.Linear(width, width)
        self.scale = nn.RMSNorm(width)
        self.head = nn.Linear(width, VOCABULARY, bias=not tied)
        if tied:
            self.head.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        hidden = self.embedding(tokens)
        normed = self.norm(hidden)
        mixed = F.scaled_dot_product_attention(self.query(normed), self.key(normed), self.value(normed), is_causal=True)
        return self.head(self.scale(hidden + self.output(mixed)))


class Gate(nn.Module):
    """A parameter of its own, control flow that depends on the data, and no rule."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.linspace(0.5, 1.5, width))

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs * self.gain if inputs.abs().max() < 1e6 else inputs


def mlp() -> nn.Module:
    return nn.Sequential(
        nn.Linear(6, 8), nn.ReLU(inplace=True), nn.Linear(8, 8, bias=False), nn.Tanh(), nn.Linear(8, CLASSES)
    )


def gated() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 5), Gate(5), nn.Linear(5, CLASSES))


def cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, padding="same", dilation=2),
        nn.ReLU(),
        nn.Conv2d(6, 6, 3, stride=2, padding=1, groups=2),
        nn.GroupNorm(2, 6),
        nn.Flatten(2),
        nn.Conv1d(6, 4, 3, padding=1),
        nn.Flatten(),
        nn.Linear(4 * 9, CLASSES),
    )


def classification(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(model(inputs), targets, reduction="none")


def next_token(model: nn.Module, tokens: Tensor, targets: Tensor) -> Tensor:
    logits = model(tokens)
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view_as(targets).mean(1)


@dataclass(frozen=True)
class Case:
    """A model in float64, the φ of each sample, and a data set of 60 samples."""

    model: nn.Module
    loss: Loss
    inputs: Tensor
    targets: Tensor

    def phi(self, indices: Tensor) -> Tensor:
        return self.loss(self.model, self.inputs[indices], self.targets[indices])

    def exact_variance(self, parameters: Iterable[Tensor]) -> float:
        """Σ_i Var(∂_i φ) over the data set, divisor N, from the gradients of the samples one after the other."""
        gradients = per_sample_gradients(self)
        return float(sum(gradients[id(p)].var(0, unbiased=False).sum() for p in parameters))


def build(name: str) -> Case:
    torch.manual_seed(7)
    if name in ("transformer", "tied transformer"):
        tokens, targets = torch.randint(VOCABULARY, (2, 60, POSITIONS))
        return Case(Attention(tied=name.startswith("tied")).double(), next_token, tokens, targets)
    shape = (60, 2, 6, 6) if name == "cnn" else (60, 6)
    model = {"mlp": mlp, "cnn": cnn, "gated": gated}[name]()
    return Case(model.double(), classification, torch.randn(shape).double(), torch.randint(CLASSES, (60,)))


@pytest.fixture
def case() -> Callable[[str], Case]:
    return build


def per_sample_gradients(case: Case) -> dict[int, Tensor]:
    """By parameter, the gradients of the samples one after the other, [n, …]."""
    parameters = [p for p in case.model.parameters() if p.requires_grad]
    losses = (case.phi(torch.tensor([n])).sum() for n in range(len(case.inputs)))
    rows = [torch.autograd.grad(loss, parameters, materialize_grads=True) for loss in losses]
    return {id(p): torch.stack(column) for p, column in zip(parameters, zip(*rows, strict=True), strict=True)}
