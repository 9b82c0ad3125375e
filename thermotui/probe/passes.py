"""What the hooks read in the passes of a step: per-sample norms as gradients come back, and which passes count.

Nothing the hooks compute enters the training: they return None, draw random numbers from generators of their own and
keep their results on the device.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import Parameter

from thermotui.probe.agreement import Directions
from thermotui.probe.hooks import when_gradient_comes
from thermotui.probe.layers import ModelLayer, Site
from thermotui.probe.linear_norms import LinearNorms
from thermotui.probe.noise import EXACT, Call, looks_up_positions, part_of_calls, part_of_samples
from thermotui.probe.per_sample import UnreadableError, first_tensor, further_tensors, in_short
from thermotui.probe.precision import full_precision
from thermotui.probe.signs import RandomSigns
from thermotui.probe.track import Track

logger = logging.getLogger("thermotui")

# Looked up once: the hooks run many times a step, and each look touches memory that the training has driven out.
gradients_wanted = torch.is_grad_enabled
backward_pass: Callable[[], int] = torch._C._current_graph_task_id
graph_is_kept: Callable[[], bool] = torch._C._autograd._get_current_graph_task_keep_graph
# What is there tells whether autograd keeps what it saves; PyTorch says so from 2.8 on.
repacked: Callable[[bool], object] = getattr(
    torch._C._autograd, "_top_saved_tensors_default_hooks", lambda ignore_tracing: None
)
at_end_of_pass: Callable[[Callable[[], None]], None] = torch.autograd.Variable._execution_engine.queue_callback

UNKNOWN = -1
"""Samples of a forward pass that has no tensor to count them by."""


class Passes:
    """Reads the forward and backward passes of the steps during which `measuring` is set."""

    def __init__(
        self,
        layers: Sequence[ModelLayer],
        *,
        sketch: int,
        per_sample: int,
        seed: int,
        at_once: bool,
        norms: LinearNorms,
        directions: Directions,
        on_gradients: Callable[[Sequence[int]], None],
        on_thrown_away: Callable[[], None],
    ) -> None:
        """Take a model's layers.

        on_gradients(positions) is called when a backward pass has accumulated the parameters at these positions of all
        the layers' parameters in a row, before the loop goes on.
        on_thrown_away() where a further pass of the step finds that those gradients are gone.
        at_once: call on_gradients for each parameter by itself instead, before anything else (such as other ranks'
        gradients) is mixed into it.
        norms: where those of linear layers alone wait to be summed up.
        directions: along which the samples' parts of a gradient are compared with it.
        """
        self.measuring = False
        self.checking = False
        """Whether this step shows if gradients are the sums of their samples' parts."""
        self.samples = UNKNOWN
        """Samples of the present forward pass."""
        self.samples_seen = 0
        """Samples of all forward passes of the step."""
        self.reached = False
        """Whether a gradient arrived in the step."""
        self.held = False
        """Whether `norms` has all that was read in the step."""
        self.tracks = [Track(layer, layer.obstacle) for layer in layers]
        """Of all layers."""
        self._owners = [track for track in self.tracks for _ in track.layer.parameters]
        self._parameters = [parameter for layer in layers for parameter in layer.parameters]
        self._at_once = at_once
        self._on_gradients, self._on_thrown_away = on_gradients, on_thrown_away
        self._arrivals: dict[int, list[int]] = {}
        """Parameters whose gradient was accumulated, by the backward pass that is not over; passes may be nested."""
        self._last_pass: tuple[Parameter, int] | None = None
        """A parameter that the last pass of the step accumulated, and the version of its gradient then."""
        self._looked_back = -1
        """The backward pass that found out whether the ones before it still count."""
        self._sketch = sketch
        self._per_sample = per_sample
        self._signs = RandomSigns(torch.Generator(device=self._parameters[0].device).manual_seed(seed))
        self._choice = torch.Generator().manual_seed(seed)
        self._directions = directions
        self._norms = norms
        self._told = False
        self._square = False
        """Whether the model's input has as many positions as samples."""

    def begin_step(self, *, measuring: bool, checking: bool) -> None:
        """Forget the last step, and read this one where `measuring`."""
        self._arrivals.clear()
        self._last_pass = None
        self.measuring = measuring
        self.checking = checking
        self._told = False
        self.samples = UNKNOWN
        self.samples_seen = 0
        self.reached = False

    def count(self, samples: int) -> None:
        """Take the number of samples of the next micro-batch from the caller instead of the model's input."""
        self._told = True
        self.samples = samples
        self.samples_seen += samples

    def abandon(self) -> None:
        """Read nothing until the next step, and let go of what this one left."""
        self.measuring = self.held = False
        self._arrivals.clear()
        for track in self.tracks:
            track.forget()

    def count_samples(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """The hook of the model's input."""
        if not self.measuring or self._told or not gradients_wanted():
            return
        self.samples = UNKNOWN
        for value in (*args, *kwargs.values()):
            if isinstance(value, Tensor) and value.dim() > 0:
                # A nested tensor has no shape.
                self.samples = value.size(0)
                self._square = value.dim() > 1 and not value.is_nested and value.size(1) == self.samples
                break
        self.samples_seen += max(self.samples, 0)

    def call_hook(self, index: int, track: Track, site: Site) -> Callable[..., None]:
        """The hook of one module's forward pass; index: the layer's."""
        rows = site.plain_linear and len(track.layer.sites) == 1
        # A weight's gradient takes the input: where that is freed, there is no second backward pass.
        freed = site.rule is not None and "weight" in site.parameters
        norms = self._norms

        def called(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            samples = self.samples
            if not self.measuring or track.obstacle or samples == 0 or not gradients_wanted():
                return
            if self.checking and repacked(False):
                # Whoever takes away what autograd saves wants the memory: the inputs must not be kept here either.
                self.give_up(track, "its inputs are not kept until the backward pass (checkpointing or offloading)")
                return
            tensor = output
            if not isinstance(output, Tensor):
                try:
                    tensor = first_tensor(output)
                except UnreadableError as error:
                    self.give_up(track, str(error))
                    return
                self._watch(track, output)
            node = tensor.grad_fn
            if node is None:
                return
            track.passes += 1
            held = [(args, kwargs)]
            if not freed:
                track.held.append(held)
            before = -1

            def received(delta: Tensor | None) -> None:
                nonlocal before
                if delta is None or not held or not self.measuring:
                    return
                if track.obstacle:
                    held.clear()
                    return
                if delta.requires_grad:
                    self.give_up(track, "its gradient is differentiated once more")
                    return
                backward = backward_pass()
                first = not track.parts
                if backward != track.backward:
                    track.begin_pass(backward)
                    if not first:
                        self._look_back(backward)
                        first = not track.parts
                        if before in track.settled:
                            self.give_up(track, "several backward passes go through one forward pass")
                            return
                part = None
                arguments = held[0]
                if rows and track.passes == 1 and arguments[0] and not self.checking:
                    try:
                        part = norms.read(index, arguments[0][0], delta, samples, first and not track.pending)
                    except Exception as error:  # noqa: BLE001 - the input may be of any kind
                        self.give_up(track, in_short(error))
                        return
                if part is None:
                    self._received(track, (site, arguments, delta), samples)
                else:
                    track.estimator = EXACT
                    track.samples_of_pass = samples
                    track.pending.append(part)
                if freed and not graph_is_kept():
                    # A loop that keeps its loss keeps the graph: the activations would outlive the backward pass.
                    held.clear()
                else:
                    before = backward

            when_gradient_comes(tensor, node, received)

        return called

    def _watch(self, track: Track, output: Any) -> None:
        """A module without a rule goes through again by its first output: give up where another one has a gradient."""
        for tensor in further_tensors(output):
            if tensor.grad_fn is not None:
                tensor.grad_fn.register_prehook(partial(self._arrived_elsewhere, track, tensor.output_nr))

    def _arrived_elsewhere(self, track: Track, place: int, deltas: tuple[Tensor | None, ...]) -> None:
        if self.measuring and not track.obstacle and deltas[place] is not None:
            self.give_up(track, "several of its outputs are used")

    def _look_back(self, backward: int) -> None:
        """A step's further pass begins: what those before it left counts if it is still in the gradients.

        Optimizers that look at a step from two places, such as SAM, set the gradients to zero between their passes.
        """
        if backward != self._looked_back:
            self._looked_back = backward
            if self._last_pass is not None and self._thrown_away(*self._last_pass):
                self._on_thrown_away()
                self.held = False
                for track in self.tracks:
                    track.begin_anew()

    def _thrown_away(self, parameter: Parameter, version: int) -> bool:
        """Whether the gradients are gone that a parameter among them had at that version."""
        if parameter.grad is None:
            return True
        if parameter.grad._version == version or not parameter.grad.is_cpu:
            # A device would have to be waited for; `Directions` will tell.
            return False
        gradients = [one.grad for one in self._parameters if one.grad is not None]
        return not any(gradient.is_sparse or gradient.any() for gradient in gradients)

    def _received(self, track: Track, call: Call, samples: int) -> None:
        if track.calls and samples != track.samples_of_pass:
            self.give_up(track, "its calls in one backward pass are of different numbers of samples")
            return
        track.calls.append(call)
        track.samples_of_pass = samples
        if track.passes == 1 and len(track.layer.sites) == 1 and call[0].rule is not None:
            # At once, so that neither activations nor deltas outlive their place in the backward pass.
            self._read_calls(track)

    def _read_calls(self, track: Track) -> None:
        calls, track.calls = track.calls, []
        samples = track.samples_of_pass
        # What the modules do when they are called once more is not the loop's.
        self.measuring = False
        try:
            if samples == UNKNOWN:
                raise UnreadableError("the model's input has no tensor to count samples by")
            if self._square and any(looks_up_positions(call) for call in calls):
                raise UnreadableError("its input may be positions, of which there are as many as samples")
            if all(site.rule is not None for site, _, _ in calls):
                directions = self._directions if self.checking else None
                with full_precision(calls[0][2].device):
                    part, name = part_of_calls(
                        calls, samples, sketch=self._sketch, signs=self._signs, directions=directions
                    )
                track.by_length |= part.by_length
            else:
                part, name = part_of_samples(calls, samples, count=self._per_sample, generator=self._choice)
        except Exception as error:  # noqa: BLE001 - whatever a foreign module does here, the training must go on
            self.give_up(track, in_short(error))
        else:
            track.estimator = name
            track.pending.append(part)
        finally:
            self.measuring = True

    def accumulation_hook(self, position: int) -> Callable[[Tensor], None]:
        """The hook of one parameter's gradient."""

        arrivals, over = self._arrivals, self._pass_is_over

        def accumulated(parameter: Tensor) -> None:
            backward = backward_pass()
            arrived = arrivals.get(backward)
            if arrived is None:
                arrived = arrivals[backward] = []
                at_end_of_pass(partial(over, backward))
            arrived.append(position)
            if self._at_once:
                self._on_gradients((position,))

        return accumulated

    def _pass_is_over(self, backward: int) -> None:
        # The gradients that came last are still in the processor's cache. None are left where the step is abandoned.
        arrived = self._arrivals.pop(backward, [])[::-1]
        if not arrived:
            return
        self.reached = True
        if not self._at_once:
            self._on_gradients(arrived)
        if not self.measuring:
            return
        witness = self._parameters[arrived[0]]
        self._last_pass = None if witness.grad is None else (witness, witness.grad._version)
        tracks = self.tracks
        if len(arrived) < len(self._owners):
            tracks = list({id(track): track for track in map(self._owners.__getitem__, arrived)}.values())
        for track in tracks:
            if not track.obstacle:
                self._settle(track, backward)
        # Now, as all that this looks at is at hand.
        self.held = self._norms.hold(self.tracks)

    def _settle(self, track: Track, backward: int) -> None:
        """A pass has accumulated the layer's gradients: what was read in it counts."""
        if track.backward != backward:
            # What is there is of a pass to other ends, whose graph the present one goes through elsewhere.
            track.begin_pass(backward)
        if track.calls:
            self._read_calls(track)
        if track.pending:
            track.settle()
        elif not track.obstacle and self.samples != 0:
            self.give_up(track, "its parameters are used without calling the module")
        track.passes = 0

    def give_up(self, track: Track, reason: str) -> None:
        """Measure a layer from successive gradients from now on, and say why."""
        track.obstacle = reason
        track.forget()
        self.held = False
        logger.warning("layer %s: its noise is not measured within the batch: %s", track.layer.name, reason)
