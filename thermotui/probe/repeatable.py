"""Whether a module's forward pass can be run again without the loop noticing, and with the same outcome."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from torch import jit, nn
from torch.nn import Parameter
from torch.nn.modules import module as module_hooks

from thermotui.probe.hooks import is_ours

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
"""Torch's names for a module's hooks, and with `_global` before them for those on every module."""


def obstacle_to_repeating(module: nn.Module) -> str | None:
    """What is in the way, as the rest of a sentence about the module; None where nothing is at present."""
    inside = list(module.modules())
    for stands_in_the_way, reason in _OBSTACLES:
        if stands_in_the_way(inside):
            return reason
    return None


def is_compiled(module: nn.Module) -> bool:
    """Whether it is the wrapper of torch.compile, or compiled in place."""
    # The wrapper is told by its attribute: importing its class takes seconds.
    return hasattr(module, "_orig_mod") or module._compiled_call_impl is not None


def _compiled_inside(inside: list[nn.Module]) -> bool:
    return any(isinstance(module, jit.ScriptModule) or is_compiled(module) for module in inside)


def _hooked(inside: list[nn.Module]) -> bool:
    anywhere = (getattr(module_hooks, f"_global{name}", None) for name in HOOKS)
    here = (getattr(module, name, None) for module in inside for name in HOOKS)
    return any(not is_ours(hook) for hooks in (*anywhere, *here) if hooks for hook in hooks.values())


def _replaced(inside: list[nn.Module]) -> bool:
    """Whether a forward pass is another function than its class's, which may hold on to the module itself."""
    patches = ((module, vars(module).get("forward")) for module in inside)
    return any(patch is not None and getattr(patch, "__self__", None) is not module for module, patch in patches)


def _draws_masks(inside: list[nn.Module]) -> bool:
    rates = (getattr(module, name, 0.0) for module in inside if module.training for name in ("p", "dropout"))
    return any(isinstance(rate, float) and rate > 0 for rate in rates)


def _couples_samples(inside: list[nn.Module]) -> bool:
    norms = (module for module in inside if isinstance(module, nn.modules.batchnorm._BatchNorm))
    return any(norm.training or norm.running_mean is None for norm in norms)


def _refers_elsewhere(inside: list[nn.Module]) -> bool:
    """Whether an attribute leads to modules or parameters that a copy would share or drag along."""
    own: set[int] = {id(module) for module in inside}
    own |= {id(parameter) for module in inside for parameter in module._parameters.values()}
    registered = ("_modules", "_parameters", "_buffers", "forward")
    for module in inside:
        attributes = [value for name, value in vars(module).items() if name not in registered and "_hooks" not in name]
        for value, bound in _reached(attributes, set()):
            if isinstance(value, nn.Module | Parameter) and (bound or id(value) not in own):
                return True
    return False


def _reached(values: Iterable[Any], seen: set[int]) -> Iterator[tuple[Any, bool]]:
    """What the values are and contain, and whether a function holds it, which no copy can give another one.

    seen: the containers that were looked into, as they may contain one another in circles.
    """
    for value in values:
        if isinstance(value, dict | list | tuple | set | frozenset):
            if id(value) not in seen:
                seen.add(id(value))
                yield from _reached(value.values() if isinstance(value, dict) else value, seen)
        elif isinstance(value, types.MethodType):
            yield value.__self__, False
        elif isinstance(value, types.FunctionType):
            # No further than one function: they may refer to one another in circles.
            yield from ((held, True) for held in (*map(_content, value.__closure__ or ()), *(value.__defaults__ or ())))
        else:
            yield value, False


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        # The variable has no value yet.
        return None


_OBSTACLES: tuple[tuple[Callable[[list[nn.Module]], bool], str], ...] = (
    (_draws_masks, "draws its own dropout masks"),
    (_couples_samples, "couples the samples of a batch"),
    (_compiled_inside, "has a compiled module inside"),
    (_hooked, "has hooks of the loop's own"),
    (_replaced, "has another forward method put into its place"),
    (_refers_elsewhere, "refers to modules beside those inside it"),
)
