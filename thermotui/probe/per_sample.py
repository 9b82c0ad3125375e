"""Per-sample gradients of a module without a rule: a few samples go through a copy of it once more, one by one."""

from __future__ import annotations

import copy
import itertools
import weakref
from collections.abc import Iterable, Iterator
from enum import Enum
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import Parameter

from thermotui.probe.random_numbers import random_numbers_put_back
from thermotui.probe.repeatable import obstacle_to_repeating
from thermotui.probe.rules import as_float
from thermotui.probe.sameness import differences

PLAIN = (type(None), bool, int, float, complex, str, bytes, slice, Enum, torch.dtype, torch.device, torch.Size)
"""Arguments that nothing can be done to."""

_compared: weakref.WeakSet[nn.Module] = weakref.WeakSet()
"""Modules of which the host has seen once that running them leaves them as they are."""


class UnreadableError(Exception):
    """The gradient of one sample cannot be read off; the text says why."""


def sampled_squared_norms(
    module: nn.Module,
    parameters: Iterable[str],
    arguments: tuple[tuple[Any, ...], dict[str, Any]],
    deltas: Tensor,
    chosen: list[int],
) -> Tensor:
    """‖G_n‖² over `parameters`, by their names, of the samples `chosen`, [len(chosen)].

    arguments: of the module's forward pass; tensors with the samples first are split. deltas: gradient of its (first)
    output, samples first. θ must still be that of the forward pass. One by one rather than by vmap, so that the forward
    pass may branch on its data. It is a copy's, so that whatever it does to itself does not reach the training; the
    random numbers of the training are left alone. Raises UnreadableError where it draws random numbers or changes
    itself or its arguments, since it then computes something else. On a device that the host has to wait for, changes
    to tensors are found at the first time; later they make the norms NaN.
    """
    reason = obstacle_to_repeating(module)
    if reason is not None:
        raise UnreadableError(f"it {reason}")
    twin = _copy_of(module)
    named = dict(twin.named_parameters(remove_duplicate=False))
    trained = [named[name] for name in parameters if named[name].requires_grad]
    others = [parameter for parameter in module.parameters() if parameter.requires_grad]
    norms: list[Tensor] = []
    changed: list[Tensor] = []
    with random_numbers_put_back(deltas.device) as drawn:
        for index in chosen:
            given = [_sample(part, index, deltas.shape[0]) for part in arguments]
            norms.append(_squared_norm(twin, trained, others, given, deltas[index : index + 1]))
            if index in (chosen[0], chosen[-1]):
                changed += differences(module, twin)
        if drawn():
            raise UnreadableError("its forward pass draws random numbers")
    return _unless_changed(module, torch.stack(norms), changed)


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


def in_short(error: Exception) -> str:
    """The first line of what it says."""
    return str(error).split("\n")[0] or type(error).__name__


def _copy_of(module: nn.Module) -> nn.Module:
    try:
        twin = copy.deepcopy(module)
    except Exception as error:
        raise UnreadableError(f"it cannot be copied ({type(error).__name__})") from error
    for child in twin.modules():
        if isinstance(child, nn.RNNBase):
            # On a GPU it complains aloud where the copies of its weights lie apart.
            child.flatten_parameters()
    return twin


def _squared_norm(
    twin: nn.Module, trained: list[Parameter], others: list[Parameter], given: list[Any], delta: Tensor
) -> Tensor:
    """‖G_n‖² over `trained`; others: parameters that the copy must not lead back to."""
    before = list(_tensors(given))
    if all(tensor.shape[:1] != delta.shape[:1] for tensor in before):
        raise UnreadableError("its input does not have the samples first")
    with torch.enable_grad():
        output = first_tensor(twin(*given[0], **given[1]))
    after = list(_tensors(given))
    if len(before) != len(after) or any(a is not b or a._version for a, b in zip(before, after, strict=True)):
        raise UnreadableError("its forward pass changes its arguments")
    if output.shape != delta.shape:
        raise UnreadableError("its output does not have the samples first")
    if not output.requires_grad:
        # It went another way with this sample.
        return delta.new_zeros((), dtype=as_float(delta).real.dtype)
    delta = delta.to(output.dtype).contiguous()
    gradients = torch.autograd.grad(output, [*trained, *others], delta, allow_unused=True)
    if any(gradient is not None for gradient in gradients[len(trained) :]):
        raise UnreadableError("its forward pass finds its way back from a copy of it")
    squares = [as_float(gradient).square().sum() for gradient in gradients if gradient is not None]
    return torch.stack(squares).sum() if squares else as_float(delta).new_zeros(())


def _unless_changed(module: nn.Module, norms: Tensor, changed: list[Tensor]) -> Tensor:
    """The norms, where nothing is true in `changed`."""
    known = module in _compared
    later = [one for one in changed if known and one.device.type != "cpu"]
    if any(bool(one) for one in changed if not known or one.device.type == "cpu"):
        raise UnreadableError("its forward pass changes the module")
    _compared.add(module)
    return norms.masked_fill(torch.stack(later).any(), torch.nan) if later else norms


def _sample(value: Any, index: int, samples: int) -> Any:
    """A copy of one sample's part of an argument; UnreadableError where it is of a kind that cannot be copied."""
    if isinstance(value, Tensor):
        value = value.detach()
        if value.dim() > 0 and value.shape[0] == samples:
            value = value[index : index + 1]
        # Torch takes one sample's strides with the channels last for something else in instance norms.
        return value.clone(memory_format=torch.contiguous_format)
    if type(value) in (list, tuple):
        return type(value)(_sample(part, index, samples) for part in value)
    if type(value) is dict:
        return {name: _sample(part, index, samples) for name, part in value.items()}
    if isinstance(value, PLAIN):
        return value
    raise UnreadableError(f"its arguments contain a {type(value).__name__}")


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple | dict):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _tensors(part)
