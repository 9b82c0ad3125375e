"""Whether two objects hold the same values, without waiting for the device that their tensors are on."""

from __future__ import annotations

import types
import weakref
from collections import deque
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

DIFFERENT = torch.ones((), dtype=torch.bool, device="cpu")


def differences(one: Any, other: Any) -> Iterator[Tensor]:
    """Boolean scalars, each on the device of what it compares, of which any is true where the two differ.

    By value, through modules (but for their hooks), containers and the attributes of other objects. What cannot be
    compared counts as different.
    """
    return _differences(one, other, {})


def _differences(one: Any, other: Any, seen: dict[tuple[int, int], Any]) -> Iterator[Tensor]:
    pair = (id(one), id(other))
    if one is other or pair in seen:
        return
    if type(one) is not type(other):
        yield DIFFERENT
        return
    # Held, so that no other objects get their numbers.
    seen[pair] = (one, other)
    if isinstance(one, Tensor):
        yield _tensors_differ(one, other)
    elif isinstance(one, np.ndarray):
        if not np.array_equal(one, other):
            yield DIFFERENT
    elif isinstance(one, dict):
        if one.keys() != other.keys():
            yield DIFFERENT
        else:
            for key, value in one.items():
                yield from _differences(value, other[key], seen)
    elif isinstance(one, list | tuple | deque):
        if len(one) != len(other):
            yield DIFFERENT
        else:
            for a, b in zip(one, other, strict=True):
                yield from _differences(a, b, seen)
    else:
        parts = _parts(one), _parts(other)
        if None not in parts:
            yield from _differences(*parts, seen)
        elif not _equal(one, other):
            yield DIFFERENT


def _parts(value: Any) -> Any:
    """What an object is made of; None where it is of one piece."""
    if isinstance(value, torch.Generator):
        return [value.get_state()]
    if isinstance(value, weakref.ref):
        return [value()]
    if isinstance(value, types.MethodType):
        return [value.__func__, value.__self__]
    if isinstance(value, partial):
        return [value.func, value.args, value.keywords]
    if isinstance(value, nn.Module):
        return {name: part for name, part in vars(value).items() if "_hooks" not in name}
    return getattr(value, "__dict__", None)


def _equal(one: Any, other: Any) -> bool:
    try:
        return bool(one == other) or bool(one != one and other != other)
    except Exception:  # noqa: BLE001 - a foreign object's comparison may do anything
        return False


def _tensors_differ(one: Tensor, other: Tensor) -> Tensor:
    alike = one.shape == other.shape and one.dtype == other.dtype and one.device == other.device
    if not alike or one.layout != torch.strided or other.layout != torch.strided:
        return DIFFERENT
    return (one.detach() != other.detach()).any()
