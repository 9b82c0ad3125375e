"""Hooks that read a training step: per-sample norms from the backward pass, figures of the gradient as it accumulates.

Nothing the hooks compute enters the training: they return None, draw random numbers from generators of their own and
keep their results on the device. A step with nothing to read takes them off the model when it begins; between
steps they may be on it but read nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from thermotui.probe.layers import ModelLayer, Site
from thermotui.probe.noise import (
    EXACT,
    Call,
    LinearPart,
    LinearStep,
    Part,
    general_part,
    linear_part,
    linear_sums,
    part_of_calls,
    part_of_samples,
    part_sums,
)
from thermotui.probe.per_sample import UnreadableError, first_tensor

LATER = 2**13
"""Norms of a step that may wait to be summed up together with those of other steps; more are summed up at once."""

logger = logging.getLogger("thermotui")


@dataclass(slots=True)
class _Track:
    """What is known of one layer while a step runs."""

    layer: ModelLayer
    obstacle: str | None
    estimator: str = ""
    passes: int = 0
    """Forward passes whose gradients have not arrived yet."""
    backward: int = -1
    """The backward pass that `calls` and `pending` are of."""
    calls: list[Call] = field(default_factory=list)
    pending: list[Part | LinearPart] = field(default_factory=list)
    """Read, but not known yet to have gone into the parameters' gradients."""
    parts: list[Part | LinearPart] = field(default_factory=list)

    @property
    def bias(self) -> float:
        """1 where the one module that a layer is has a bias to train, 0 where it has none."""
        return float("bias" in self.layer.sites[0].parameters)

    @property
    def served(self) -> bool:
        """Whether its noise is measured within the batch."""
        return bool(self.estimator) and not self.obstacle

    def begin_pass(self, backward: int) -> None:
        """Passes that end in no parameter's gradient (a penalty's, say) leave nothing behind."""
        self.backward = backward
        self.calls.clear()
        self.pending.clear()

    def forget(self) -> None:
        """All of the last step."""
        self.passes = 0
        self.calls.clear()
        self.pending.clear()
        self.parts.clear()


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
        on_gradients: Callable[[Sequence[int]], None],
    ) -> None:
        """Take a model and its layers; the hooks come with the first step.

        on_gradients(positions) is called when a backward pass has accumulated the parameters at these positions of all
        the layers' parameters in a row, before the loop goes on.
        at_once: call it for each parameter by itself instead, before anything else (such as other ranks' gradients)
        is mixed into it.
        """
        self.measuring = False
        self.samples = 0
        """Samples of the present micro-batch."""
        self.step_samples = 0
        """Samples of the step so far."""
        self._model = model
        self._tracks = [_Track(layer, layer.obstacle) for layer in layers]
        self._owners = [track for track in self._tracks for _ in track.layer.parameters]
        self._at_once = at_once
        self._on_gradients = on_gradients
        self._arrived: list[int] = []
        self._sketch = sketch
        self._per_sample = per_sample
        device = layers[0].parameters[0].device
        self._generator = torch.Generator(device=device).manual_seed(seed)
        self._choice = torch.Generator().manual_seed(seed)
        self._missing = torch.full((), torch.nan, device=device)
        self._biases = torch.tensor([track.bias for track in self._tracks], device=device)
        self._told = False
        # Hooks that come and go would have a compiled module compiled anew each time.
        self._stays = any(site.compiled for layer in layers for site in layer.sites)
        self._forward_handles: list[RemovableHandle] = []
        self._gradient_handles: list[RemovableHandle] = []

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
        if gradients and not self._gradient_handles:
            self._attach_to_parameters()
        elif self._gradient_handles and not (gradients or self._stays):
            _remove(self._gradient_handles)
        if measuring and not self._forward_handles:
            self._attach_to_modules()
        elif self._forward_handles and not (measuring or self._stays):
            _remove(self._forward_handles)
        if self.measuring:
            # The last step did not come to its end.
            self.abandon()
        self._arrived.clear()
        self.measuring = measuring
        self._told = False
        self.step_samples = 0

    def count(self, samples: int) -> None:
        """Take the number of samples of the next micro-batch from the caller instead of the model's input."""
        self._told = True
        self.samples = samples
        self.step_samples += samples

    def take_noise(self) -> LinearStep | Tensor:
        """The step's sums, the rows `NOISE` by layer, [3, L], or what they are made of; the hooks rest from now on."""
        inputs, deltas = [], []
        for track in self._tracks:
            part = track.parts[0] if len(track.parts) == 1 else None
            if isinstance(part, tuple):
                inputs.append(part[0])
                deltas.append(part[1])
        noise: LinearStep | Tensor
        if len(inputs) == len(self._tracks) and len({norms.shape for norms in deltas}) == 1:
            noise = LinearStep((*inputs, *deltas), self._biases)
            if len(noise.norms) * deltas[0].numel() > LATER:
                noise = linear_sums(torch.stack(noise.norms), self._biases)
        else:
            general = [[general_part(part, track.bias) for part in track.parts] for track in self._tracks]
            noise = torch.stack([part_sums(layer, self._missing) for layer in general], dim=1)
        self.abandon()
        return noise

    def abandon(self) -> None:
        """Read nothing until the next step, and let go of what this one left."""
        self.measuring = False
        self._arrived.clear()
        for track in self._tracks:
            track.forget()

    def unserved(self) -> frozenset[int]:
        """Layers whose noise the last step did not measure within the batch: all of them where |b| = 1."""
        if self.step_samples <= 1:
            return frozenset(range(len(self._tracks)))
        return frozenset([i for i, track in enumerate(self._tracks) if track.obstacle or not track.estimator])

    def detach(self) -> None:
        """Take all hooks off the model, and let go of what the last step left."""
        self.abandon()
        _remove(self._forward_handles)
        _remove(self._gradient_handles)

    def _attach_to_parameters(self) -> None:
        parameters = [parameter for track in self._tracks for parameter in track.layer.parameters]
        for position, parameter in enumerate(parameters):
            register: Callable[..., RemovableHandle] = parameter.register_post_accumulate_grad_hook
            self._gradient_handles.append(register(self._accumulation_hook(position)))

    def _attach_to_modules(self) -> None:
        self._forward_handles.append(self._model.register_forward_pre_hook(self._count_samples, with_kwargs=True))
        for track in self._tracks:
            # A hook inside a compiled module would be compiled with it.
            for site in track.layer.sites if not track.obstacle else ():
                hook = self._call_hook(track, site)
                self._forward_handles.append(site.module.register_forward_hook(hook, with_kwargs=True))

    def _count_samples(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not self.measuring or self._told or not torch.is_grad_enabled():
            return
        tensors = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor) and value.dim() > 0]
        samples = tensors[0].shape[0] if tensors else 0
        self.samples = samples
        self.step_samples += samples

    def _call_hook(self, track: _Track, site: Site) -> Callable[..., None]:
        """The hook of one module's forward pass."""
        rows = site.plain_linear and len(track.layer.sites) == 1

        def called(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            if not self.measuring or track.obstacle or not torch.is_grad_enabled():
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

            # A hook on the node takes a third of the time of one on the tensor.
            def received(deltas: tuple[Tensor | None, ...]) -> None:
                delta = deltas[place]
                if delta is None or not self.measuring or track.obstacle:
                    return
                if delta.requires_grad:
                    self._give_up(track, "its gradient is differentiated once more")
                    return
                backward = torch._C._current_graph_task_id()
                if backward != track.backward:
                    track.begin_pass(backward)
                if rows and args and track.passes == 1:
                    part = linear_part(args[0], delta, self.samples)
                    if part is not None:
                        track.estimator = EXACT
                        track.pending.append(part)
                        return
                self._received(track, (site, (args, kwargs), delta))

            node.register_prehook(received)

        return called

    def _received(self, track: _Track, call: Call) -> None:
        track.calls.append(call)
        if track.passes == 1 and len(track.layer.sites) == 1 and call[0].rule is not None:
            # At once, so that neither activations nor deltas outlive their place in the backward pass.
            self._read_calls(track)

    def _read_calls(self, track: _Track) -> None:
        calls, track.calls = track.calls, []
        # What the modules do when they are called once more is not the loop's.
        self.measuring = False
        try:
            if self.samples == 0:
                raise UnreadableError("the model's input has no tensor to count samples by")
            if all(site.rule is not None for site, _, _ in calls):
                part, name = part_of_calls(calls, self.samples, sketch=self._sketch, generator=self._generator)
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

        arrived = self._arrived

        def accumulated(parameter: Tensor) -> None:
            if not arrived:
                torch.autograd.Variable._execution_engine.queue_callback(self._pass_is_over)
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
        tracks = self._tracks
        if len(arrived) < len(self._owners):
            tracks = list({id(track): track for track in map(self._owners.__getitem__, arrived)}.values())
        for track in tracks:
            if not track.obstacle:
                self._settle(track)

    def _settle(self, track: _Track) -> None:
        """A pass has accumulated the layer's gradients: what was read in it counts."""
        if track.calls:
            self._read_calls(track)
        if track.pending:
            track.parts += track.pending
            track.pending.clear()
        elif not track.obstacle:
            self._give_up(track, "its parameters are used without calling the module")
        track.passes = 0

    def _give_up(self, track: _Track, reason: str) -> None:
        track.obstacle = reason
        track.forget()
        logger.warning("layer %s: its noise is not measured within the batch: %s", track.layer.name, reason)


def _remove(handles: list[RemovableHandle]) -> None:
    for handle in handles:
        handle.remove()
    handles.clear()
