"""Where the probe's hooks are on a model, and in which steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn import Parameter
from torch.utils.hooks import RemovableHandle

from thermotui.probe.hooks import RestingHook, StaysBehind, put_on
from thermotui.probe.layers import Site
from thermotui.probe.track import Track

Called = Callable[..., None]


class Attachment:
    """Hooks on the model's input, on the modules that are read and on the gradients of parameters."""

    def __init__(
        self,
        model: nn.Module,
        tracks: Sequence[Track],
        *,
        on_input: Called,
        on_call: Callable[[int, Track, Site], Called],
        on_gradient: Callable[[int], Called],
    ) -> None:
        """tracks: of all layers. None of the hooks is on the model yet.

        on_input: a forward pre-hook of the model. on_call: makes the forward hook of a site, of the layer with that
        index. on_gradient: makes the hook of a gradient that is accumulated, by the parameter's position.
        """
        self._model, self._tracks = model, tracks
        self._on_input, self._on_call, self._on_gradient = on_input, on_call, on_gradient
        self._parameters = [parameter for track in tracks for parameter in track.layer.parameters]
        # Hooks that come and go would have a compiled module compiled anew each time.
        self._stays = any(site.compiled for track in tracks for site in track.layer.sites)
        self._forward_hooks: list[tuple[Track | None, RestingHook]] = []
        """Each with the layer that it reads; None for the one on the input."""
        self._gradient_hooks: list[RestingHook] = []
        self._unhooked = list(range(len(self._parameters)))
        """Parameters that have no hook yet."""
        self._on_modules = self._on_parameters = False

    def begin_step(self, *, modules: bool, gradients: bool) -> None:
        """Have the hooks on that this step needs, and no others where hooks can come and go."""
        if gradients and (self._unhooked or not self._on_parameters):
            self._attach_to_parameters()
        elif self._on_parameters and not (gradients or self._stays):
            self._leave_parameters()
        if modules and not self._on_modules:
            self._attach_to_modules()
        elif self._on_modules and not (modules or self._stays):
            self._leave_modules()

    def leave(self) -> None:
        """Take all hooks off the model."""
        self._leave_modules()
        self._leave_parameters()

    def _attach_to_parameters(self) -> None:
        if not self._on_parameters:
            for hook in self._gradient_hooks:
                hook.wake()
        # One that is frozen takes no hook; it may be trained later.
        ready = [at for at in self._unhooked if self._parameters[at].requires_grad]
        if ready:
            self._gradient_hooks += put_on(partial(self._on_parameter, at, self._parameters[at]) for at in ready)
            self._unhooked = [at for at in self._unhooked if at not in ready]
        self._on_parameters = True

    def _on_parameter(self, position: int, parameter: Parameter) -> RestingHook:
        register: Callable[..., RemovableHandle] = parameter.register_post_accumulate_grad_hook
        hook = self._on_gradient(position)
        return RestingHook(partial(register, hook), parameter, ("_post_accumulate_grad_hooks",))

    def _attach_to_modules(self) -> None:
        for track, hook in self._forward_hooks:
            if track is None or not track.obstacle:
                hook.wake()
        if not self._forward_hooks:
            # A hook inside a compiled module would be compiled with it.
            open_tracks = [(index, track) for index, track in enumerate(self._tracks) if not track.obstacle]
            sites = [(index, track, site) for index, track in open_tracks for site in track.layer.sites]
            makers: list[tuple[Track | None, Callable[[], RestingHook]]] = [
                (track, partial(self._on_site, index, track, site)) for index, track, site in sites
            ]
            # TorchScript takes no hooks of Python's.
            if not isinstance(self._model, torch.jit.ScriptModule):
                makers.insert(0, (None, self._on_model))
            hooks = put_on(make for _, make in makers)
            self._forward_hooks = [(track, hook) for (track, _), hook in zip(makers, hooks, strict=True)]
        self._on_modules = True

    def _on_model(self) -> RestingHook:
        register: Callable[..., Any] = self._model.register_forward_pre_hook
        hook = partial(register, StaysBehind(self._on_input), with_kwargs=True)
        return RestingHook(hook, self._model, ("_forward_pre_hooks", "_forward_pre_hooks_with_kwargs"))

    def _on_site(self, index: int, track: Track, site: Site) -> RestingHook:
        register: Callable[..., Any] = site.module.register_forward_hook
        # First, as other hooks may put something else into the place of the output.
        hook = partial(register, StaysBehind(self._on_call(index, track, site)), with_kwargs=True, prepend=True)
        return RestingHook(hook, site.module, ("_forward_hooks", "_forward_hooks_with_kwargs"), first=True)

    def _leave_parameters(self) -> None:
        self._on_parameters = False
        for hook in self._gradient_hooks:
            hook.rest()

    def _leave_modules(self) -> None:
        self._on_modules = False
        for _, hook in self._forward_hooks:
            hook.rest()
