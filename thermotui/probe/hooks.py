"""Hooks that come and go with the steps that are measured."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from torch import Tensor
from torch.utils.hooks import RemovableHandle


class StaysBehind(partial[None]):
    """A hook that does not go along when its module is copied or pickled: there, one that does nothing takes its place.

    Loops keep their best model with `copy.deepcopy`, average models, or save them whole; what they get must neither
    drag the probe along nor need it where it is loaded.
    """

    def __deepcopy__(self, memo: dict[int, Any]) -> Callable[..., None]:
        return contextlib.nullcontext.__exit__

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, (contextlib.nullcontext, "__exit__")


def is_ours(hook: Any) -> bool:
    """Whether a hook is a probe's, or what is left of one on a copy."""
    return isinstance(hook, StaysBehind) or hook is contextlib.nullcontext.__exit__


class RestingHook:
    """A hook that can be taken off and put back, in a fraction of the time of registering it anew."""

    def __init__(
        self, register: Callable[[], RemovableHandle], owner: Any, places: tuple[str, ...], *, first: bool = False
    ) -> None:
        """register: puts it on. owner, places: what it is put on, and the names of the dictionaries it goes into there.

        first: it comes back before all other hooks instead of after them.

        Torch has no public word for those places: where a hook is not found in them, it is registered anew each time.
        """
        self._register, self._owner, self._places, self._first = register, owner, places, first
        self._put_on()

    def rest(self) -> None:
        """Take it off."""
        if not self._entries:
            self._handle.remove()
        for _, hooks, _ in self._entries:
            hooks.pop(self._key, None)

    def wake(self) -> None:
        """Put it back."""
        # Whoever copies, wraps or strips the owner may have given it other dictionaries.
        key, owner, entries = self._key, self._owner, self._entries
        for name, hooks, _ in entries:
            if getattr(owner, name, None) is not hooks:
                entries = []
        if not entries:
            self._put_on()
        for _, hooks, entry in entries:
            hooks[key] = entry
            if self._first:
                hooks.move_to_end(key, last=False)

    def _put_on(self) -> None:
        self._handle = self._register()
        self._key = key = self._handle.id
        found = [(name, getattr(self._owner, name, None)) for name in self._places]
        self._entries = [(name, hooks, hooks[key]) for name, hooks in found if hooks is not None and key in hooks]


def put_on(hooks: Iterable[Callable[[], RestingHook]]) -> list[RestingHook]:
    """Make them all, or none where one cannot be registered."""
    made: list[RestingHook] = []
    try:
        for make in hooks:
            made.append(make())
    except BaseException:
        for hook in made:
            hook.rest()
        raise
    return made


def when_gradient_comes(tensor: Tensor, node: Any, hook: Callable[[Tensor | None], None]) -> None:
    """Call it with the gradient of a tensor that is no leaf, and leave nothing of that on the tensor itself.

    node: its `grad_fn`.
    """
    if tensor._backward_hooks is None and hasattr(node, "_register_hook_dict"):
        # What `Tensor.register_hook` does but for the handle, which takes several times as long as all the rest.
        tensor._backward_hooks = OrderedDict([(-1, hook)])
        node._register_hook_dict(tensor)
        tensor._backward_hooks = None
    else:
        place = tensor.output_nr
        node.register_prehook(lambda gradients: hook(gradients[place]))
