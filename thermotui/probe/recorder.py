"""Hooks that read a training step: per-sample norms from the backward pass, figures of the gradient as it accumulates.

Nothing the hooks compute enters the training: they return None, draw random numbers from generators of their own and
keep their results on the device. A step with nothing to read takes them off the model when it begins; between
steps they may be on it but read nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import Parameter
from torch.utils.hooks import RemovableHandle

from thermotui.probe.general_norms import GeneralNorms
from thermotui.probe.hooks import RestingHook, StaysBehind, put_on
from thermotui.probe.layers import ModelLayer, Site
from thermotui.probe.linear_norms import LinearNorms
from thermotui.probe.noise import EXACT, Call, general_part, part_of_calls, part_of_samples, part_sums
from thermotui.probe.per_sample import UnreadableError, first_tensor
from thermotui.probe.signs import RandomSigns
from thermotui.probe.track import Track

logger = logging.getLogger("thermotui")

# Looked up once: the hooks run many times a step, and each look touches memory that the training has driven out.
gradients_wanted = torch.is_grad_enabled
backward_pass: Callable[[], int] = torch._C._current_graph_task_id
graph_is_kept: Callable[[], bool] = torch._C._autograd._get_current_graph_task_keep_graph
at_end_of_pass: Callable[[Callable[[], None]], None] = torch.autograd.Variable._execution_engine.queue_callback


class StepRecorder:
    """Attaches to a model and reads the steps during which `measuring` is set."""

    def __init__(
        self,
        model: nn.Module,
        layers: tuple[ModelLayer, ...],
        *,
        sketch: int,
        per_sample: int,
        seed: int,
        at_once: bool,
        norms: LinearNorms,
        general: GeneralNorms,
        on_gradients: Callable[[Sequence[int]], None],
    ) -> None:
        """Take a model and its layers; the hooks come with the first step.

        on_gradients(positions) is called when a backward pass has accumulated the parameters at these positions of all
        the layers' parameters in a row, before the loop goes on.
        at_once: call it for each parameter by itself instead, before anything else (such as other ranks' gradients)
        is mixed into it.
        norms, general: where those of linear layers alone, and of layers of any kind, wait to be summed up.
        """
        self.measuring = False
        self.samples = 0
        """Samples of the present micro-batch."""
        self.step_samples = 0
        """Samples of the step so far."""
        self._model = model
        self._tracks = [Track(layer, layer.obstacle) for layer in layers]
        self._every = frozenset(range(len(layers)))
        self.unserved = self._every
        """Layers whose noise the last measured step did not measure within the batch: all of them where |b| = 1."""
        self._owners = [track for track in self._tracks for _ in track.layer.parameters]
        self._parameters = [parameter for layer in layers for parameter in layer.parameters]
        self._at_once = at_once
        self._on_gradients = on_gradients
        self._arrived: list[int] = []
        self._last_pass: tuple[Parameter, int] | None = None
        """A parameter that the last pass of the step accumulated, and the version of its gradient then."""
        self._samples_of_passes = 0
        """Those of the step's passes that are over."""
        self._looked_back = -1
        """The backward pass that found out whether the ones before it still count."""
        self._sketch = sketch
        self._per_sample = per_sample
        device = layers[0].parameters[0].device
        self._signs = RandomSigns(torch.Generator(device=device).manual_seed(seed))
        self._choice = torch.Generator().manual_seed(seed)
        self._missing = torch.full((), torch.nan, device=device)
        self._norms = norms
        self._general = general
        self._told = False
        # Hooks that come and go would have a compiled module compiled anew each time.
        self._stays = any(site.compiled for layer in layers for site in layer.sites)
        self._forward_hooks: list[tuple[Track | None, RestingHook]] = []
        """Each with the layer that it reads; None for the one that counts samples."""
        self._gradient_hooks: list[RestingHook] = []
        self._on_modules = self._on_parameters = False

    @property
    def estimators(self) -> tuple[str, ...]:
        """How each layer's noise was measured in the steps so far; empty where it was not."""
        return tuple("" if track.obstacle else track.estimator for track in self._tracks)

    @property
    def obstacles(self) -> dict[str, str]:
        """Layer name → why its noise is not measured within the batch."""
        return {t.layer.name: t.obstacle or "no gradient reached it" for t in self._tracks if not t.served}

    def begin_step(self, *, measuring: bool, gradients: bool) -> None:
        """Forget the last step; measuring: read per-sample norms in this one, gradients: hand over the gradients."""
        if gradients and not self._on_parameters:
            self._attach_to_parameters()
        elif self._on_parameters and not (gradients or self._stays):
            self._leave_parameters()
        if measuring and not self._on_modules:
            self._attach_to_modules()
        elif self._on_modules and not (measuring or self._stays):
            self._leave_modules()
        if self.measuring:
            # The last step did not come to its end.
            self.abandon()
        self._arrived.clear()
        self._last_pass = None
        self.measuring = measuring
        self._told = False
        self.step_samples = 0

    def count(self, samples: int) -> None:
        """Take the number of samples of the next micro-batch from the caller instead of the model's input."""
        self._told = True
        self.samples = samples
        self.step_samples += samples

    def take_noise(self) -> Tensor | LinearNorms | GeneralNorms:
        """The step's sums, the rows `NOISE` by layer, [3, L], or where the norms wait that they are to be made of.

        The hooks rest from now on.
        """
        noise: Tensor | LinearNorms | GeneralNorms
        several = self.step_samples > 1
        if self._norms.hold(self._tracks):
            noise = self._norms
            self.unserved = frozenset() if several else self._every
        else:
            parts = [[general_part(part, track.layer.bias) for part in track.parts] for track in self._tracks]
            if self._general.hold(parts):
                noise = self._general
            else:
                noise = torch.stack([part_sums(layer, self._missing) for layer in parts], dim=1)
            served = {i for i, track in enumerate(self._tracks) if track.served and several}
            self.unserved = self._every - served
        self.abandon()
        return noise

    def abandon(self) -> None:
        """Read nothing until the next step, and let go of what this one left."""
        self.measuring = False
        self._arrived.clear()
        for track in self._tracks:
            track.forget()

    def detach(self) -> None:
        """Take all hooks off the model, and let go of what the last step left."""
        self.abandon()
        self._leave_modules()
        self._leave_parameters()

    def _attach_to_parameters(self) -> None:
        for hook in self._gradient_hooks:
            hook.wake()
        if not self._gradient_hooks:
            self._gradient_hooks = put_on(partial(self._on_parameter, *each) for each in enumerate(self._parameters))
        self._on_parameters = True

    def _on_parameter(self, position: int, parameter: Parameter) -> RestingHook:
        register: Callable[..., RemovableHandle] = parameter.register_post_accumulate_grad_hook
        hook = self._accumulation_hook(position)
        return RestingHook(partial(register, hook), parameter, ("_post_accumulate_grad_hooks",))

    def _attach_to_modules(self) -> None:
        for track, hook in self._forward_hooks:
            if track is None or not track.obstacle:
                hook.wake()
        if not self._forward_hooks:
            # A hook inside a compiled module would be compiled with it.
            open_tracks = [(index, track) for index, track in enumerate(self._tracks) if not track.obstacle]
            sites = [(index, track, site) for index, track in open_tracks for site in track.layer.sites]
            makers: list[Callable[[], RestingHook]] = [
                self._on_model,
                *(partial(self._on_site, *each) for each in sites),
            ]
            readers = [None, *(track for _, track, _ in sites)]
            self._forward_hooks = list(zip(readers, put_on(makers), strict=True))
        self._on_modules = True

    def _on_model(self) -> RestingHook:
        hook = StaysBehind(self._count_samples)
        register = partial(self._model.register_forward_pre_hook, hook, with_kwargs=True)
        return RestingHook(register, self._model, ("_forward_pre_hooks", "_forward_pre_hooks_with_kwargs"))

    def _on_site(self, index: int, track: Track, site: Site) -> RestingHook:
        hook = StaysBehind(self._call_hook(index, track, site))
        # First, as other hooks may put something else into the place of the output.
        register = partial(site.module.register_forward_hook, hook, with_kwargs=True, prepend=True)
        return RestingHook(register, site.module, ("_forward_hooks", "_forward_hooks_with_kwargs"), first=True)

    def _leave_parameters(self) -> None:
        self._on_parameters = False
        for hook in self._gradient_hooks:
            hook.rest()

    def _leave_modules(self) -> None:
        self._on_modules = False
        for _, hook in self._forward_hooks:
            hook.rest()

    def _count_samples(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not self.measuring or self._told or not gradients_wanted():
            return
        self.samples = 0
        for value in (*args, *kwargs.values()):
            if isinstance(value, Tensor) and value.dim() > 0:
                self.samples = value.shape[0]
                break
        self.step_samples += self.samples

    def _call_hook(self, index: int, track: Track, site: Site) -> Callable[..., None]:
        """The hook of one module's forward pass; index: the layer's."""
        rows = site.plain_linear and len(track.layer.sites) == 1
        # A weight's gradient takes the input: where that is freed, there is no second backward pass.
        freed = site.rule is not None and "weight" in site.parameters
        norms = self._norms

        def called(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            if not self.measuring or track.obstacle or not gradients_wanted():
                return
            tensor = output
            if not isinstance(output, Tensor):
                try:
                    tensor = first_tensor(output)
                except UnreadableError as error:
                    self._give_up(track, str(error))
                    return
            node, place = tensor.grad_fn, tensor.output_nr
            if node is None:
                return
            track.passes += 1
            held = [(args, kwargs)]

            # A hook on the node takes a third of the time of one on the tensor.
            def received(deltas: tuple[Tensor | None, ...]) -> None:
                delta = deltas[place]
                if delta is None or not held or not self.measuring or track.obstacle:
                    return
                if delta.requires_grad:
                    self._give_up(track, "its gradient is differentiated once more")
                    return
                backward = backward_pass()
                if backward != track.backward:
                    track.begin_pass(backward)
                    if track.parts and backward != self._looked_back:
                        self._look_back(backward)
                part = None
                arguments = held[0]
                if rows and arguments[0] and track.passes == 1:
                    first = not (track.parts or track.pending)
                    part = norms.read(index, arguments[0][0], delta, self.samples, first=first)
                if part is None:
                    self._received(track, (site, arguments, delta))
                else:
                    track.estimator = EXACT
                    track.pending.append(part)
                if freed and not graph_is_kept():
                    # A loop that keeps its loss keeps the graph: the activations would outlive the backward pass.
                    held.clear()

            node.register_prehook(received)

        return called

    def _look_back(self, backward: int) -> None:
        """A step's further pass begins: what those before it left counts if it is still in the gradients.

        Optimizers that look at a step from two places, such as SAM, set the gradients to zero between their passes.
        """
        self._looked_back = backward
        if self._last_pass is None:
            return
        parameter, version = self._last_pass
        # Other ranks' gradients come into them at a time that is not known here.
        if parameter.grad is None or not (self._at_once or parameter.grad._version == version):
            for track in self._tracks:
                track.parts.clear()
            self.step_samples -= self._samples_of_passes

    def _received(self, track: Track, call: Call) -> None:
        track.calls.append(call)
        if track.passes == 1 and len(track.layer.sites) == 1 and call[0].rule is not None:
            # At once, so that neither activations nor deltas outlive their place in the backward pass.
            self._read_calls(track)

    def _read_calls(self, track: Track) -> None:
        calls, track.calls = track.calls, []
        # What the modules do when they are called once more is not the loop's.
        self.measuring = False
        try:
            if self.samples == 0:
                raise UnreadableError("the model's input has no tensor to count samples by")
            if all(site.rule is not None for site, _, _ in calls):
                part, name = part_of_calls(calls, self.samples, sketch=self._sketch, signs=self._signs)
            else:
                part, name = part_of_samples(calls, self.samples, count=self._per_sample, generator=self._choice)
        except Exception as error:  # noqa: BLE001 - whatever a foreign module does here, the training must go on
            self._give_up(track, str(error).split("\n")[0] or type(error).__name__)
        else:
            track.estimator = name
            track.pending.append(part)
        finally:
            self.measuring = True

    def _accumulation_hook(self, position: int) -> Callable[[Tensor], None]:
        """The hook of one parameter's gradient."""

        arrived, over = self._arrived, self._pass_is_over

        def accumulated(parameter: Tensor) -> None:
            if not arrived:
                at_end_of_pass(over)
            arrived.append(position)
            if self._at_once:
                self._on_gradients((position,))

        return accumulated

    def _pass_is_over(self) -> None:
        # The gradients that came last are still in the processor's cache.
        arrived = self._arrived[::-1]
        self._arrived.clear()
        if not self._at_once:
            self._on_gradients(arrived)
        if not self.measuring:
            return
        witness = self._parameters[arrived[0]]
        self._last_pass = None if witness.grad is None else (witness, witness.grad._version)
        self._samples_of_passes = self.step_samples
        tracks = self._tracks
        if len(arrived) < len(self._owners):
            tracks = list({id(track): track for track in map(self._owners.__getitem__, arrived)}.values())
        for track in tracks:
            if not track.obstacle:
                self._settle(track)

    def _settle(self, track: Track) -> None:
        """A pass has accumulated the layer's gradients: what was read in it counts."""
        if track.calls:
            self._read_calls(track)
        if track.pending:
            track.parts += track.pending
            track.pending.clear()
        elif not track.obstacle:
            self._give_up(track, "its parameters are used without calling the module")
        track.passes = 0

    def _give_up(self, track: Track, reason: str) -> None:
        track.obstacle = reason
        track.forget()
        logger.warning("layer %s: its noise is not measured within the batch: %s", track.layer.name, reason)
