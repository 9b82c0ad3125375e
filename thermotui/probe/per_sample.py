"""Per-sample gradients of a module without a rule: a few samples go through it once more, one by one."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import Parameter

from thermotui.probe.rules import as_float


class UnreadableError(Exception):
    """The gradient of one sample cannot be read off; the text says why."""


def sampled_squared_norms(
    module: nn.Module,
    parameters: dict[str, Parameter],
    arguments: tuple[tuple[Any, ...], dict[str, Any]],
    deltas: Tensor,
    chosen: list[int],
) -> Tensor:
    """‖g_n‖² over `parameters` of the samples `chosen`, [len(chosen)].

    arguments: of the module's forward pass; tensors with the samples first are split. deltas: gradient of its (first)
    output, samples first. θ must still be that of the forward pass. `.grad`, buffers and the random numbers of the
    training are left alone. One by one rather than by vmap, so that the forward pass may branch on its data. Raises
    UnreadableError where the forward pass draws random numbers, since it then computes something else.
    """
    samples = deltas.shape[0]
    positional, keyword = arguments
    norms = []
    devices = [deltas.device] if deltas.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        before = _random_states(deltas.device)
        for index in chosen:
            args = [_sample(value, index, samples) for value in positional]
            kwargs = {name: _sample(value, index, samples) for name, value in keyword.items()}
            values = {name: p.detach().requires_grad_() for name, p in parameters.items()}
            buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
            with torch.enable_grad():
                output = first_tensor(functional_call(module, {**values, **buffers}, tuple(args), kwargs))
                delta = deltas[index : index + 1].to(output.dtype)
                gradients = torch.autograd.grad(output, list(values.values()), delta, allow_unused=True)
            norms.append(torch.stack([as_float(g).square().sum() for g in gradients if g is not None]).sum())
        if any(not torch.equal(a, b) for a, b in zip(before, _random_states(deltas.device), strict=True)):
            raise UnreadableError("its forward pass draws random numbers")
    return torch.stack(norms)


def first_tensor(output: Any) -> Tensor:
    """The output itself or the first of several; UnreadableError where that is no tensor."""
    first = output[0] if isinstance(output, tuple | list) and output else output
    if not isinstance(first, Tensor):
        raise UnreadableError(f"its output is of type {type(first).__name__} instead of a tensor")
    return first


def further_tensors(output: Any) -> Iterator[Tensor]:
    """All tensors of an output but the one that `first_tensor` finds."""
    if isinstance(output, tuple | list):
        yield from itertools.islice(_tensors(output), 1, None)


def _tensors(output: Any) -> Iterator[Tensor]:
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, tuple | list | dict):
        for one in output.values() if isinstance(output, dict) else output:
            yield from _tensors(one)


def in_short(error: Exception) -> str:
    """The first line of what it says."""
    return str(error).split("\n")[0] or type(error).__name__


def _random_states(device: torch.device) -> list[Tensor]:
    states = [torch.get_rng_state()]
    return [*states, torch.cuda.get_rng_state(device)] if device.type == "cuda" else states


def _sample(value: Any, index: int, samples: int) -> Any:
    if isinstance(value, Tensor):
        value = value.detach()
        return value[index : index + 1] if value.dim() > 0 and value.shape[0] == samples else value
    return value
