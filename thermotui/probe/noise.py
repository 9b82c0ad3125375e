"""From what backpropagation left of a layer to ‖G_n‖² of every sample, and their sums over the step."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import Parameter

from thermotui.probe.agreement import Directions
from thermotui.probe.forms import Form, Norms, depends_on_length, layer_norms
from thermotui.probe.layers import Site
from thermotui.probe.per_sample import UnreadableError, sampled_squared_norms
from thermotui.probe.rules import as_float
from thermotui.probe.signs import RandomSigns

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
    """One micro-batch: norms of the m samples looked at, by groups of parameters, each sample standing for `weight`."""

    norms: tuple[Norms, ...]
    weight: float = 1.0
    totals: tuple[tuple[Parameter, Tensor], ...] = ()
    """Σ_n RᵀG_n, where it is to be seen whether the gradient is the sum of its samples' parts."""
    by_length: bool = False
    """Whether norms are exact or sketched by the number of positions; said along with `totals`."""

    def squares(self) -> Tensor:
        """‖G_n‖² of the whole layer, [m]."""
        return _total([one.squares.mean(1) if one.sketched else one.squares for one in self.norms])

    def sketch_variances(self) -> list[Tensor]:
        """Of Σ_n ‖G_n‖², what each sketch adds: its columns are so many estimates of that sum."""
        return [one.squares.sum(0).var() / one.values.shape[1] for one in self.norms if one.sketched]


LinearPart = tuple[Tensor, Tensor]
"""One micro-batch of a linear layer that each sample passes once: ‖a_n‖ and ‖G_n‖ of its output, [n] each."""


def general_part(part: Part | LinearPart, bias: float) -> Part:
    """The same as norms of the whole layer; bias: 1 where the bias is trained too, 0 where there is none."""
    if isinstance(part, Part):
        return part
    inputs, deltas = part
    return Part((Norms((inputs.square() + bias) * deltas.square(), squared=True),))


def looks_up_positions(call: Call) -> bool:
    """Whether it is an embedding of one number each: a sample's or, as likely, a position that all samples share."""
    site, (args, kwargs), _ = call
    ids = args[0] if args else next(iter(kwargs.values()))
    return isinstance(site.module, nn.Embedding) and isinstance(ids, Tensor) and ids.dim() == 1


def part_of_calls(
    calls: Sequence[Call], samples: int, *, sketch: int, signs: RandomSigns, directions: Directions | None = None
) -> tuple[Part, str]:
    """A layer's norms from all its calls in one pass by the rules of its modules, and what the estimator is called.

    directions: along which the samples' parts are added up as well.
    """
    forms: dict[Parameter, list[Form]] = {}
    for site, (args, kwargs), deltas in calls:
        if site.rule is None:
            raise UnreadableError("its module has no rule")
        inputs = args[0] if args else next(iter(kwargs.values()))
        inputs, deltas = _samples_first(samples, inputs.detach(), deltas)
        for name, form in site.rule(site.module, inputs, deltas).items():
            parameter = site.parameters.get(name)
            if parameter is not None:
                forms.setdefault(parameter, []).append(form)
    if forms.keys() != {parameter for site, _, _ in calls for parameter in site.parameters.values()}:
        raise UnreadableError("its rule does not give all its parameters")
    norms = layer_norms(list(forms.values()), sketch=sketch, signs=signs)
    estimator = f"{SKETCHED} of {sketch}" if any(one.sketched for one in norms) else EXACT
    if directions is None:
        return Part(tuple(norms)), estimator
    totals = tuple((one, directions.total(one, uses)) for one, uses in forms.items())
    by_length = any(depends_on_length(uses, sketch) for uses in forms.values())
    return Part(tuple(norms), totals=totals, by_length=by_length), estimator


def part_of_samples(calls: Sequence[Call], samples: int, *, count: int, generator: torch.Generator) -> tuple[Part, str]:
    """The same of a module without a rule: at most `count` samples, drawn from `generator`, go through it once more."""
    if len(calls) > 1:
        raise UnreadableError("a module without a rule is called more than once in a step")
    site, arguments, deltas = calls[0]
    if deltas.shape[0] != samples:
        raise UnreadableError("its output does not have the samples first")
    count = min(count, samples)
    chosen = torch.randperm(samples, generator=generator, device="cpu")[:count].tolist()
    values = sampled_squared_norms(site.module, site.parameters, arguments, deltas, chosen)
    return Part((Norms(values, squared=True),), samples / count), f"{SAMPLED} ({count})"


def part_sums(parts: Sequence[Part], missing: Tensor) -> Tensor:
    """The rows `NOISE` of one layer from its micro-batches, [3]; `missing` is NaN on the device."""
    if not parts:
        return missing.expand(len(NOISE))
    values = [part.squares() for part in parts]
    weights = [part.weight for part in parts]
    pairs = list(zip(values, weights, strict=True))
    squares = _total([one.sum() * weight for one, weight in pairs])
    contributing = _total([(one > 0).sum() * weight for one, weight in pairs])
    if len(set(weights)) == 1:
        variances = [spread(torch.cat(values)) * weights[0] ** 2]
    else:
        variances = [spread(one) * weight**2 for one, weight in pairs]
    variances += [variance for part in parts for variance in part.sketch_variances()]
    return torch.stack([squares.float(), _total(variances).float(), contributing.float()])


def _total(values: Sequence[Tensor]) -> Tensor:
    return functools.reduce(torch.add, values)


def spread(values: Tensor) -> Tensor:
    """Variance of the sum over the last axis, from its m independent terms; NaN for one."""
    count = values.shape[-1]
    if count < 2:
        return values.new_full(values.shape[:-1], torch.nan)
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
