"""Hooks that read a training step: per-sample norms from the backward pass, figures of the gradient as it accumulates.

Nothing the hooks compute enters the training: they return None, draw random numbers from generators of their own and
keep their results on the device.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import Parameter
from torch.utils.hooks import RemovableHandle

from thermotui.probe.forms import Form, squared_norms
from thermotui.probe.layers import ModelLayer, Site
from thermotui.probe.per_sample import UnreadableError, first_tensor, sampled_squared_norms
from thermotui.probe.rules import as_float

logger = logging.getLogger("thermotui")

EXACT = "within the batch, exact norms"
SKETCHED = "within the batch, random sketch"
SAMPLED = "within the batch, some samples one by one"


@dataclass(frozen=True)
class NoiseSums:
    """Sums over the samples of a step by layer, [L] each; G_n is sample n's part of the gradient, g = Σ_n G_n."""

    squares: Tensor
    """Σ_n ‖G_n‖²; NaN where it was not measured."""
    variance: Tensor
    """Variance of that sum as an estimate: the samples' spread and the sketch's."""
    contributing: Tensor
    """Samples with a gradient other than zero."""


@dataclass(frozen=True)
class _Part:
    """One micro-batch: ‖G_n‖² of the samples looked at, [m], each standing for `weight`, and the sketch's variance."""

    values: Tensor
    weight: float
    sketch_variance: Tensor | None = None


@dataclass(frozen=True)
class _Linear:
    """One micro-batch of a linear layer that each sample passes once: ‖a_n‖ and ‖G_n‖ of its output, [n] each."""

    inputs: Tensor
    deltas: Tensor
    bias: float
    """1 where the bias is trained too, 0 where there is none."""


@dataclass
class _Track:
    """What is known of one layer while a step runs."""

    layer: ModelLayer
    obstacle: str | None
    estimator: str = ""
    calls: list[tuple[Site, tuple[tuple[Any, ...], dict[str, Any]], Tensor]] = field(default_factory=list)
    waiting: set[int] = field(default_factory=set)
    passes: int = 0
    """Forward passes whose gradients have not arrived yet."""
    parts: list[_Part | _Linear] = field(default_factory=list)


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
        on_gradients: Callable[[Sequence[Parameter]], None],
    ) -> None:
        """Attach the hooks.

        on_gradients(parameters) is called when a backward pass has accumulated them, before the loop goes on.
        at_once: call it for each parameter by itself instead, before anything else (such as other ranks' gradients)
        is mixed into it.
        """
        self.measuring = False
        self.samples = 0
        """Samples of the present micro-batch."""
        self.step_samples = 0
        """Samples of the step so far."""
        self._tracks = [_Track(layer, layer.obstacle) for layer in layers]
        self._at_once = at_once
        self._on_gradients = on_gradients
        self._arrived: list[Parameter] = []
        self._sketch = sketch
        self._per_sample = per_sample
        device = layers[0].parameters[0].device
        self._generator = torch.Generator(device=device).manual_seed(seed)
        self._choice = torch.Generator().manual_seed(seed)
        self._missing = torch.full((), torch.nan, device=device)
        self._biases: tuple[list[float], Tensor] = [], self._missing
        self._reading = False
        self._told = False
        self._handles: list[RemovableHandle] = []
        self._attach(model)

    @property
    def estimators(self) -> tuple[str, ...]:
        """How each layer's noise was measured in the steps so far; empty where it was not."""
        return tuple("" if track.obstacle else track.estimator for track in self._tracks)

    @property
    def obstacles(self) -> dict[str, str]:
        """Layer name → why its noise is not measured within the batch."""
        return {t.layer.name: t.obstacle or "no gradient reached it" for t in self._tracks if not self._served(t)}

    def begin_step(self, *, measuring: bool) -> None:
        """Forget the last step."""
        self.measuring = measuring
        self.step_samples = 0
        self._told = False
        for track in self._tracks:
            track.calls.clear()
            track.waiting = {id(parameter) for parameter in track.layer.parameters}
            track.parts.clear()
            track.passes = 0
        self._arrived.clear()

    def count(self, samples: int) -> None:
        """Take the number of samples of the next micro-batch from the caller instead of the model's input."""
        self._told = True
        self.samples = samples
        self.step_samples += samples

    def take_noise(self) -> NoiseSums:
        """The step's sums; the hooks rest until the next step."""
        self.measuring = False
        for track in self._tracks:
            track.calls.clear()
        single = [track.parts[0] if len(track.parts) == 1 else None for track in self._tracks]
        linear = [part for part in single if isinstance(part, _Linear)]
        if len(linear) == len(single):
            # The most common case, for all layers in a few kernels.
            inputs, deltas = (torch.stack(norms).square() for norms in _columns(linear))
            biases = [part.bias for part in linear]
            if biases != self._biases[0]:
                self._biases = biases, torch.tensor(biases, device=inputs.device, dtype=inputs.dtype).unsqueeze(1)
            values = (inputs + self._biases[1]) * deltas
            return NoiseSums(values.sum(1), _spread(values), (values > 0).sum(1).float())
        sums = [self._layer_sums([_part(part) for part in track.parts]) for track in self._tracks]
        return NoiseSums(*(torch.stack(column) for column in zip(*sums, strict=True)))

    def _layer_sums(self, parts: list[_Part]) -> tuple[Tensor, Tensor, Tensor]:
        if not parts:
            return self._missing, self._missing, self._missing
        squares = torch.stack([part.values.sum() * part.weight for part in parts]).sum()
        contributing = torch.stack([(part.values > 0).sum() * part.weight for part in parts]).sum()
        weights = {part.weight for part in parts}
        if len(weights) == 1:
            variances = [_spread(torch.cat([part.values for part in parts])) * weights.pop() ** 2]
        else:
            variances = [_spread(part.values) * part.weight**2 for part in parts]
        variances += [part.sketch_variance for part in parts if part.sketch_variance is not None]
        return squares.float(), torch.stack(variances).sum().float(), contributing.float()

    def unserved(self) -> frozenset[int]:
        """Layers whose noise the last step did not measure within the batch: all of them where |b| = 1."""
        alone = self.step_samples <= 1
        return frozenset(i for i, track in enumerate(self._tracks) if alone or not self._served(track))

    def detach(self) -> None:
        """Take all hooks off the model."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    @staticmethod
    def _served(track: _Track) -> bool:
        return bool(track.estimator) and not track.obstacle

    def _attach(self, model: nn.Module) -> None:
        for index, track in enumerate(self._tracks):
            for parameter in track.layer.parameters:
                hook = partial(self._accumulated, index)
                register: Callable[..., RemovableHandle] = parameter.register_post_accumulate_grad_hook
                self._handles.append(register(hook))
        self._handles.append(model.register_forward_pre_hook(self._count_samples, with_kwargs=True))
        for track in self._tracks:
            # A hook inside a compiled module would be compiled with it.
            for site in track.layer.sites if not track.obstacle else ():
                called = partial(self._called, track, site)
                self._handles.append(site.module.register_forward_hook(called, with_kwargs=True))

    def _count_samples(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self._told or self._reading or not torch.is_grad_enabled():
            return
        tensors = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor) and value.dim() > 0]
        self.samples = tensors[0].shape[0] if tensors else 0
        self.step_samples += self.samples

    def _called(
        self,
        track: _Track,
        site: Site,
        module: nn.Module,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        output: Any,
    ) -> None:
        if not self.measuring or self._reading or track.obstacle or not torch.is_grad_enabled():
            return
        try:
            tensor = first_tensor(output)
        except UnreadableError as error:
            self._give_up(track, str(error))
            return
        if tensor.requires_grad:
            track.passes += 1
            register: Callable[..., RemovableHandle] = tensor.register_hook
            register(partial(self._received, track, site, (args, kwargs)))

    def _received(
        self, track: _Track, site: Site, arguments: tuple[tuple[Any, ...], dict[str, Any]], deltas: Tensor
    ) -> None:
        if not self.measuring or self._reading:
            return
        inputs = arguments[0][0] if arguments[0] else None
        alone = track.passes == 1 and len(track.layer.sites) == 1
        if site.plain_linear and alone and deltas.dim() == 2 and deltas.shape[0] == self.samples:
            part = _linear_norms(site, inputs, deltas)
            if part is not None:
                track.estimator = EXACT
                track.parts.append(part)
                return
        track.calls.append((site, arguments, deltas.detach()))

    def _accumulated(self, index: int, parameter: Parameter) -> None:
        if self._at_once:
            self._on_gradients([parameter])
        else:
            if not self._arrived:
                torch.autograd.Variable._execution_engine.queue_callback(self._pass_is_over)
            self._arrived.append(parameter)
        track = self._tracks[index]
        if not self.measuring or track.obstacle:
            return
        track.waiting.discard(id(parameter))
        if track.waiting:
            return
        track.waiting = {id(p) for p in track.layer.parameters}
        served = track.passes == 1 and not track.calls and bool(track.parts)
        track.passes = 0
        if served:
            return
        calls, track.calls = track.calls, []
        self._reading = True
        try:
            track.parts.append(self._noise(track, calls))
        except Exception as error:  # noqa: BLE001 - whatever a foreign module does here, the training must go on
            self._give_up(track, str(error).split("\n")[0] or type(error).__name__)
        finally:
            self._reading = False

    def _pass_is_over(self) -> None:
        arrived, self._arrived = self._arrived, []
        with torch.no_grad():
            self._on_gradients(arrived)

    def _noise(self, track: _Track, calls: list[tuple[Site, Any, Tensor]]) -> _Part:
        if not calls:
            raise UnreadableError("its parameters are used without calling the module")
        if self.samples == 0:
            raise UnreadableError("the model's input has no tensor to count samples by")
        if any(site.rule is None for site, _, _ in calls):
            return self._sampled(track, calls)
        forms: dict[int, list[Form]] = {}
        for site, (args, kwargs), deltas in calls:
            inputs = args[0] if args else next(iter(kwargs.values()))
            inputs, deltas = _samples_first(self.samples, inputs.detach(), deltas)
            if site.rule is None:
                raise UnreadableError("its module has no rule")
            for name, form in site.rule(site.module, inputs, deltas).items():
                parameter = site.parameters.get(name)
                if parameter is not None:
                    forms.setdefault(id(parameter), []).append(form)
        norms = [squared_norms(uses, sketch=self._sketch, generator=self._generator) for uses in forms.values()]
        values = norms[0].values
        for other in norms[1:]:
            values = values + other.values
        sketches = [n.columns.var() / self._sketch for n in norms if n.columns is not None]
        track.estimator = f"{SKETCHED} of {self._sketch}" if sketches else EXACT
        return _Part(values, 1.0, torch.stack(sketches).sum() if sketches else None)

    def _sampled(self, track: _Track, calls: list[tuple[Site, Any, Tensor]]) -> _Part:
        if len(calls) > 1:
            raise UnreadableError("a module without a rule is called more than once in a step")
        site, arguments, deltas = calls[0]
        if deltas.shape[0] != self.samples:
            raise UnreadableError("its output does not have the samples first")
        count = min(self._per_sample, self.samples)
        chosen = torch.randperm(self.samples, generator=self._choice)[:count].tolist()
        values = sampled_squared_norms(site.module, site.parameters, arguments, deltas, chosen)
        track.estimator = f"{SAMPLED} ({count})"
        return _Part(values, self.samples / count)

    def _give_up(self, track: _Track, reason: str) -> None:
        track.obstacle = reason
        track.parts.clear()
        track.calls.clear()
        logger.warning("layer %s: its noise is not measured within the batch: %s", track.layer.name, reason)


def _linear_norms(site: Site, inputs: Any, deltas: Tensor) -> _Linear | None:
    if not isinstance(inputs, Tensor) or inputs.dim() != 2 or inputs.shape[0] != deltas.shape[0]:
        return None
    inputs, deltas = as_float(inputs.detach()), as_float(deltas.detach())
    norms = torch.linalg.vector_norm(inputs, dim=1), torch.linalg.vector_norm(deltas, dim=1)
    return _Linear(*norms, float("bias" in site.parameters))


def _columns(parts: Sequence[_Linear]) -> tuple[list[Tensor], list[Tensor]]:
    return [part.inputs for part in parts], [part.deltas for part in parts]


def _part(part: _Part | _Linear) -> _Part:
    if isinstance(part, _Part):
        return part
    return _Part((part.inputs.square() + part.bias) * part.deltas.square(), 1.0)


def _spread(values: Tensor) -> Tensor:
    """Variance of the sum over the last axis, from its m independent terms; NaN for one."""
    count = values.shape[-1]
    return count * values.var(-1) if count > 1 else torch.full_like(values[..., 0], torch.nan)


def _samples_first(samples: int, inputs: Tensor, deltas: Tensor) -> tuple[Tensor, Tensor]:
    """Input and output gradient as [n, …], at least float32; UnreadableError where the samples cannot be told apart."""
    if inputs.is_floating_point():
        inputs = as_float(inputs)
    deltas = as_float(deltas)
    rows = inputs.shape[0]
    if rows != samples:
        # Sequences flattened to rows before a linear layer or norm: n·t rows, those of a sample together.
        if rows % samples or inputs.dim() != 2 or not inputs.is_floating_point() or deltas.shape[0] != rows:
            raise UnreadableError("its input does not have the samples first")
        inputs, deltas = (tensor.reshape(samples, -1, tensor.shape[1]) for tensor in (inputs, deltas))
    return inputs, deltas
