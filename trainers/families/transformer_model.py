"""A pre-norm autoregressive transformer, K members side by side: p(x) = Π_i p(x_i | x_<i) from a learnt start token."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainers.batched import BatchedLinear


@dataclass
class Tape:
    """What one forward pass leaves for the per-sample gradient norms: (layer, kind, inputs, outputs) of every tap."""

    taps: list[tuple[int, str, Tensor, Tensor]] = field(default_factory=list)


class BatchedNorm(nn.Module):
    """K layer norms: [K, …, d] → the same shape."""

    def __init__(self, ensemble: int, width: int, device: torch.device) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(ensemble, width, device=device))
        self.bias = nn.Parameter(torch.zeros(ensemble, width, device=device))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs, and the normalised inputs that the gain multiplies."""
        normalised = F.layer_norm(x, x.shape[-1:])
        shape = (x.shape[0], *(1,) * (x.dim() - 2), x.shape[-1])
        return normalised * self.gain.view(shape) + self.bias.view(shape), normalised


class Block(nn.Module):
    """Attention and a feed-forward layer of four widths, each on a normalised residual stream."""

    def __init__(self, ensemble: int, width: int, heads: int, depth: int, generator: torch.Generator) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention = BatchedNorm(ensemble, width, generator.device)
        self.query_key_value = BatchedLinear(ensemble, width, 3 * width, generator=generator)
        # Twice `depth` residual branches add up on the stream.
        gain = 1 / math.sqrt(2 * depth)
        self.projection = BatchedLinear(ensemble, width, width, generator=generator, gain=gain)
        self.norm_feed_forward = BatchedNorm(ensemble, width, generator.device)
        self.expand = BatchedLinear(ensemble, width, 4 * width, generator=generator)
        self.contract = BatchedLinear(ensemble, 4 * width, width, generator=generator, gain=gain)


class Transformer(nn.Module):
    """Tokens [K, N, T] → logits [K, N, T, V] of the token at each position given those before it."""

    def __init__(
        self,
        ensemble: int,
        vocabulary: int,
        length: int,
        width: int,
        depth: int,
        heads: int,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        device = generator.device

        def table(rows: int) -> nn.Parameter:
            return nn.Parameter(0.02 * torch.randn(ensemble, rows, width, generator=generator, device=device))

        self.tokens = table(vocabulary + 1)
        """The last row is the start token."""
        self.positions = table(length)
        self.blocks = nn.ModuleList(Block(ensemble, width, heads, depth, generator) for _ in range(depth))
        self.norm = BatchedNorm(ensemble, width, device)
        self.head = BatchedLinear(ensemble, width, vocabulary, generator=generator, gain=0.02)
        self._tape: Tape | None = None

    @property
    def vocabulary(self) -> int:
        """V, without the start token."""
        return self.tokens.shape[1] - 1

    def layer_parameters(self) -> dict[str, tuple[str, ...]]:
        """Names of the parameters of each layer: the embedding, every block, the head."""
        groups: dict[str, list[str]] = {"embedding": [], **{f"block {i + 1}": [] for i in range(len(self.blocks))}}
        groups["head"] = []
        for name, _ in self.named_parameters():
            part = name.split(".")
            key = "embedding" if part[0] in ("tokens", "positions") else "head"
            groups[f"block {int(part[1]) + 1}" if part[0] == "blocks" else key].append(name)
        return {layer: tuple(names) for layer, names in groups.items()}

    @contextmanager
    def recording(self) -> Iterator[Tape]:
        """While open, a forward pass notes its taps."""
        self._tape = Tape()
        try:
            yield self._tape
        finally:
            self._tape = None

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits of every position at once."""
        members, _, length = tokens.shape
        start = torch.full_like(tokens[..., :1], self.vocabulary)
        inputs = torch.cat([start, tokens[..., :-1]], dim=2)
        embedded = self._embed(inputs)
        stream = embedded + self.positions[:, None, :length]
        self._tap(0, "tokens", inputs, embedded)
        self._tap(0, "positions", inputs, stream)
        for index, module in enumerate(self.blocks):
            block = _as_block(module)
            normal = self._norm(index + 1, block.norm_attention, stream)
            queries, keys, values = self._heads(self._linear(index + 1, block.query_key_value, normal), block.heads)
            mixed = F.scaled_dot_product_attention(
                queries.flatten(0, 1), keys.flatten(0, 1), values.flatten(0, 1), is_causal=True
            )
            mixed = _join(mixed, members)
            stream = stream + self._linear(index + 1, block.projection, mixed)
            stream = stream + self._feed_forward(index + 1, block, stream)
        last = len(self.blocks) + 1
        return self._linear(last, self.head, self._norm(last, self.norm, stream))

    @torch.no_grad()
    def generate(self, uniform: Tensor) -> Tensor:
        """Exact ancestral draws [K, N, T] from uniform numbers [K, N, T]: the same numbers, the same quantiles."""
        members, count, length = uniform.shape
        token = torch.full((members, count, 1), self.vocabulary, device=uniform.device)
        caches: list[tuple[Tensor, Tensor] | None] = [None] * len(self.blocks)
        drawn = []
        for position in range(length):
            stream = self._embed(token) + self.positions[:, None, position : position + 1]
            for index, module in enumerate(self.blocks):
                block = _as_block(module)
                normal, _ = block.norm_attention(stream)
                queries, keys, values = self._heads(block.query_key_value(normal), block.heads)
                held = caches[index]
                if held is not None:
                    keys, values = torch.cat([held[0], keys], dim=3), torch.cat([held[1], values], dim=3)
                caches[index] = keys, values
                mixed = F.scaled_dot_product_attention(queries.flatten(0, 1), keys.flatten(0, 1), values.flatten(0, 1))
                mixed = _join(mixed, members)
                stream = stream + block.projection(mixed)
                stream = stream + self._feed_forward(index + 1, block, stream)
            normal, _ = self.norm(stream)
            edges = self.head(normal).double().softmax(-1).cumsum(-1)
            edges = edges / edges[..., -1:]
            point = uniform[..., position, None, None].double()
            token = torch.searchsorted(edges.contiguous(), point).squeeze(-1).clamp_max(self.vocabulary - 1)
            drawn.append(token)
        return torch.cat(drawn, dim=2)

    def _embed(self, tokens: Tensor) -> Tensor:
        # Not by an index: the gradient of that adds up in an order of its own wherever there are several threads.
        first = torch.arange(len(tokens), device=tokens.device).view(-1, 1, 1) * self.tokens.shape[1]
        return F.embedding(tokens + first, self.tokens.flatten(0, 1))

    def _heads(self, joined: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor]:
        """[K, N, T, 3·d] → queries, keys and values [K, N, heads, T, d/heads]."""
        split = joined.reshape(*joined.shape[:-1], 3, heads, -1).permute(3, 0, 1, 4, 2, 5)
        return split[0], split[1], split[2]

    def _feed_forward(self, layer: int, block: Block, stream: Tensor) -> Tensor:
        normal = self._norm(layer, block.norm_feed_forward, stream)
        return self._linear(layer, block.contract, F.gelu(self._linear(layer, block.expand, normal)))

    def _linear(self, layer: int, linear: BatchedLinear, inputs: Tensor) -> Tensor:
        outputs: Tensor = linear(inputs)
        self._tap(layer, "linear", inputs, outputs)
        return outputs

    def _norm(self, layer: int, norm: BatchedNorm, inputs: Tensor) -> Tensor:
        outputs: Tensor
        outputs, normalised = norm(inputs)
        self._tap(layer, "norm", normalised, outputs)
        return outputs

    def _tap(self, layer: int, kind: str, inputs: Tensor, outputs: Tensor) -> None:
        if self._tape is not None:
            self._tape.taps.append((layer, kind, inputs.detach(), outputs))


def _join(mixed: Tensor, members: int) -> Tensor:
    """Attention's outputs [K·N, heads, T, d/heads] → [K, N, T, d]."""
    heads, length, size = mixed.shape[1:]
    joined: Tensor = mixed.transpose(1, 2).reshape(members, -1, length, heads * size)
    return joined


def _as_block(module: nn.Module) -> Block:
    assert isinstance(module, Block)
    return module
