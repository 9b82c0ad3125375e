"""From what backpropagation left of a layer to ‖G_n‖² of every sample, and their sums over the step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from thermotui.probe.forms import Form, squared_norms
from thermotui.probe.layers import Site
from thermotui.probe.per_sample import UnreadableError, sampled_squared_norms
from thermotui.probe.rules import as_float

EXACT = "within the batch, exact norms"
SKETCHED = "within the batch, random sketch"
SAMPLED = "within the batch, some samples one by one"

Call = tuple[Site, tuple[tuple[Any, ...], dict[str, Any]], Tensor]
"""A module's call: the site, its arguments, and the gradient of its output."""

NOISE = ("squares", "variance", "contributing")
"""By layer, with G_n sample n's part of the gradient, g = Σ_n G_n: Σ_n ‖G_n‖² (NaN where it was not measured), the
variance of that sum as an estimate (the samples' spread and the sketch's), the number of samples with a gradient."""


@dataclass(frozen=True)
class Part:
    """One micro-batch: ‖G_n‖² of the samples looked at, [m], each standing for `weight`, and the sketch's variance."""

    values: Tensor
    weight: float
    sketch_variance: Tensor | None = None


LinearPart = tuple[Tensor, Tensor]
"""One micro-batch of a linear layer that each sample passes once: ‖a_n‖ and ‖G_n‖ of its output, [n] each."""


def general_part(part: Part | LinearPart, bias: float) -> Part:
    """The same as squared norms of the whole layer; bias: 1 where the bias is trained too, 0 where there is none."""
    if isinstance(part, Part):
        return part
    inputs, deltas = part
    return Part((inputs.square() + bias) * deltas.square(), 1.0)


def part_of_calls(calls: Sequence[Call], samples: int, *, sketch: int, generator: torch.Generator) -> tuple[Part, str]:
    """A layer's norms from all its calls in one pass by the rules of its modules, and what the estimator is called."""
    forms: dict[int, list[Form]] = {}
    for site, (args, kwargs), deltas in calls:
        if site.rule is None:
            raise UnreadableError("its module has no rule")
        inputs = args[0] if args else next(iter(kwargs.values()))
        inputs, deltas = _samples_first(samples, inputs.detach(), deltas)
        for name, form in site.rule(site.module, inputs, deltas).items():
            parameter = site.parameters.get(name)
            if parameter is not None:
                forms.setdefault(id(parameter), []).append(form)
    norms = [squared_norms(uses, sketch=sketch, generator=generator) for uses in forms.values()]
    values = norms[0].values
    for other in norms[1:]:
        values = values + other.values
    sketches = [n.columns.var() / sketch for n in norms if n.columns is not None]
    estimator = f"{SKETCHED} of {sketch}" if sketches else EXACT
    return Part(values, 1.0, torch.stack(sketches).sum() if sketches else None), estimator


def part_of_samples(calls: Sequence[Call], samples: int, *, count: int, generator: torch.Generator) -> tuple[Part, str]:
    """The same of a module without a rule: at most `count` samples, drawn from `generator`, go through it once more."""
    if len(calls) > 1:
        raise UnreadableError("a module without a rule is called more than once in a step")
    site, arguments, deltas = calls[0]
    if deltas.shape[0] != samples:
        raise UnreadableError("its output does not have the samples first")
    count = min(count, samples)
    chosen = torch.randperm(samples, generator=generator)[:count].tolist()
    values = sampled_squared_norms(site.module, site.parameters, arguments, deltas, chosen)
    return Part(values, samples / count), f"{SAMPLED} ({count})"


def part_sums(parts: Sequence[Part], missing: Tensor) -> Tensor:
    """The rows `NOISE` of one layer from its micro-batches, [3]; `missing` is NaN on the device."""
    if not parts:
        return missing.expand(len(NOISE))
    squares = torch.stack([part.values.sum() * part.weight for part in parts]).sum()
    contributing = torch.stack([(part.values > 0).sum() * part.weight for part in parts]).sum()
    weights = {part.weight for part in parts}
    if len(weights) == 1:
        variances = [spread(torch.cat([part.values for part in parts])) * weights.pop() ** 2]
    else:
        variances = [spread(part.values) * part.weight**2 for part in parts]
    variances += [part.sketch_variance for part in parts if part.sketch_variance is not None]
    return torch.stack([squares.float(), torch.stack(variances).sum().float(), contributing.float()])


def spread(values: Tensor) -> Tensor:
    """Variance of the sum over the last axis, from its m independent terms; NaN for one."""
    count = values.shape[-1]
    if count < 2:
        return torch.full_like(values[..., 0], torch.nan)
    # Tensor.var goes number by number and takes ten times as long.
    return (values - values.mean(-1, keepdim=True)).square_().sum(-1) * (count / (count - 1))


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
