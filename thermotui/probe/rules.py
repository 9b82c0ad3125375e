"""Which per-sample gradients can be read off a module's input and the gradient of its output, without computing any.

A rule takes the module, its input and the gradient δ of its output, both with the samples first, and returns the form
of the gradient of each of the module's own parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from thermotui.probe.forms import Direct, Form, Outer, Rows

Rule = Callable[[nn.Module, Tensor, Tensor], dict[str, Form]]


def rule_for(module: nn.Module, trained: Iterable[str]) -> Rule | None:
    """The rule of exactly that type of module with those settings; None where there is none.

    trained: names of its own parameters that are trained. Weight norm, pruning and the like put others into the place
    of the weight, of which a rule knows nothing.
    """
    if "forward" in vars(module):
        return None
    for kind, (rule, applies, known) in _RULES.items():
        # A subclass may compute something else, unless it leaves the forward pass alone.
        if isinstance(module, kind) and type(module).forward is kind.forward:
            return rule if applies(module) and known.issuperset(trained) else None
    # Of transformers, known by name so that the package is not needed here.
    if type(module).__name__ == "Conv1D" and hasattr(module, "nf") and _AFFINE.issuperset(trained):
        return _transposed_linear
    return None


def _positions(tensor: Tensor) -> Tensor:
    """[n, …, f] → [n, t, f]."""
    return tensor.flatten(1, -2) if tensor.dim() > 2 else tensor.unsqueeze(1)


def _linear(module: nn.Module, inputs: Tensor, deltas: Tensor) -> dict[str, Form]:
    positions = _positions(deltas)
    forms: dict[str, Form] = {"weight": Outer(_positions(inputs), positions)}
    if module.bias is not None:
        forms["bias"] = Direct(positions, summed=True)
    return forms


def _transposed_linear(module: nn.Module, inputs: Tensor, deltas: Tensor) -> dict[str, Form]:
    """y = xW + b: the weight's gradient is the transpose of a linear layer's."""
    deltas = _positions(deltas)
    return {"weight": Outer(deltas, _positions(inputs)), "bias": Direct(deltas, summed=True)}


def _convolution(module: nn.Module, inputs: Tensor, deltas: Tensor) -> dict[str, Form]:
    if not isinstance(module, nn.Conv1d | nn.Conv2d):
        raise TypeError(f"no convolution of one or two dimensions: {type(module).__name__}")
    kernel, dilation, stride = (_pair(v) for v in (module.kernel_size, module.dilation, module.stride))
    if inputs.dim() == 3:
        inputs, deltas = inputs.unsqueeze(2), deltas.unsqueeze(2)
    if isinstance(module.padding, str):
        total = [d * (k - 1) if module.padding == "same" else 0 for k, d in zip(kernel, dilation, strict=True)]
        inputs = F.pad(inputs, [total[1] // 2, total[1] - total[1] // 2, total[0] // 2, total[0] - total[0] // 2])
        padding = (0, 0)
    else:
        padding = _pair(module.padding, fill=0)
    patches = F.unfold(inputs, kernel, dilation=dilation, padding=padding, stride=stride)
    samples, groups = inputs.shape[0], module.groups
    patches = patches.view(samples, groups, -1, patches.shape[-1]).mT
    outputs = deltas.flatten(2)
    forms: dict[str, Form] = {"weight": Outer(patches, outputs.view(samples, groups, -1, outputs.shape[-1]).mT)}
    if module.bias is not None:
        forms["bias"] = Direct(outputs.sum(2))
    return forms


def _pair(values: tuple[int, ...], fill: int = 1) -> tuple[int, int]:
    return (fill, values[0]) if len(values) == 1 else (values[0], values[1])


def _embedding(module: nn.Module, inputs: Tensor, deltas: Tensor) -> dict[str, Form]:
    if not isinstance(module, nn.Embedding):
        raise TypeError(f"no embedding: {type(module).__name__}")
    ids = inputs.flatten(1) if inputs.dim() > 1 else inputs.unsqueeze(1)
    deltas = deltas.reshape(*ids.shape, -1)
    if module.padding_idx is not None:
        deltas = deltas * (ids != module.padding_idx).unsqueeze(2)
    return {"weight": Rows(ids, deltas, module.num_embeddings)}


def _affine(normalised: Tensor, deltas: Tensor, first: int, module: nn.Module) -> dict[str, Form]:
    """Scale and shift over the axes from `first` on; all axes between the samples and those add up."""
    summed = tuple(range(1, first))
    # In place: making room for another tensor of that size takes longer than the product.
    forms: dict[str, Form] = {"weight": Direct(_sum(normalised.mul_(deltas), summed))}
    if getattr(module, "bias", None) is not None:
        forms["bias"] = Direct(_sum(deltas, summed))
    return forms


def _sum(values: Tensor, axes: tuple[int, ...]) -> Tensor:
    return values.sum(axes) if axes else values


def _layer_norm(module: nn.Module, inputs: Tensor, deltas: Tensor) -> dict[str, Form]:
    if not isinstance(module, nn.LayerNorm):
        raise TypeError(f"no layer norm: {type(module).__name__}")
    normalised = F.layer_norm(inputs, module.normalized_shape, eps=module.eps)
    return _affine(normalised, deltas, inputs.dim() - len(module.normalized_shape), module)


def _rms_norm(module: nn.Module, inputs: Tensor, deltas: Tensor) -> dict[str, Form]:
    if not isinstance(module, nn.RMSNorm):
        raise TypeError(f"no RMS norm: {type(module).__name__}")
    normalised = F.rms_norm(inputs, list(module.normalized_shape), eps=module.eps)
    return _affine(normalised, deltas, inputs.dim() - len(module.normalized_shape), module)


def _group_norm(module: nn.Module, inputs: Tensor, deltas: Tensor) -> dict[str, Form]:
    if not isinstance(module, nn.GroupNorm):
        raise TypeError(f"no group norm: {type(module).__name__}")
    normalised = F.group_norm(inputs, module.num_groups, eps=module.eps)
    # Channels come second: what adds up lies behind them.
    summed = tuple(range(2, inputs.dim()))
    return {"weight": Direct(_sum(normalised.mul_(deltas), summed)), "bias": Direct(_sum(deltas, summed))}


def _always(module: nn.Module) -> bool:
    return True


def _zero_padded(module: nn.Module) -> bool:
    return getattr(module, "padding_mode", None) == "zeros"


def _dense(module: nn.Module) -> bool:
    return isinstance(module, nn.Embedding) and not (
        module.sparse or module.scale_grad_by_freq or module.max_norm is not None
    )


_AFFINE = frozenset(("weight", "bias"))
_WEIGHT = frozenset(("weight",))

_RULES: dict[type[nn.Module], tuple[Rule, Callable[[nn.Module], bool], frozenset[str]]] = {
    nn.Linear: (_linear, _always, _AFFINE),
    nn.Conv1d: (_convolution, _zero_padded, _AFFINE),
    nn.Conv2d: (_convolution, _zero_padded, _AFFINE),
    nn.Embedding: (_embedding, _dense, _WEIGHT),
    nn.LayerNorm: (_layer_norm, _always, _AFFINE),
    nn.RMSNorm: (_rms_norm, _always, _WEIGHT),
    nn.GroupNorm: (_group_norm, _always, _AFFINE),
}
"""By type: the rule, the settings that it is for, and the parameters that it gives."""


WIDE = frozenset((torch.float32, torch.float64))


def as_float(tensor: Tensor) -> Tensor:
    """At least float32: squares of half-precision gradients overflow or vanish."""
    return tensor if tensor.dtype in WIDE else tensor.float()
