"""The Bernoulli restricted Boltzmann machine: its energies, and everything about it that enumeration can answer.

p(v, h) ∝ exp(aᵀv + cᵀh + vᵀWh) over v ∈ {0,1}^n_v, h ∈ {0,1}^n_h. Summed over h: p(v) = exp(−F(v))/Z with the free
energy F(v) = −aᵀv − Σ_j ln(1 + exp(c_j + (vW)_j)).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.nn import functional as F

from thermotui.errors import InputError

ENUMERABLE = 20
"""Units on the smaller side at most for an exact sum over its states."""

_CHUNK = 2**12


class RBM(nn.Module):
    """K machines side by side: weights [K, n_v, n_h], visible_bias [K, n_v], hidden_bias [K, n_h]."""

    def __init__(self, weights: Tensor, visible_bias: Tensor, hidden_bias: Tensor) -> None:
        super().__init__()
        self.weights = nn.Parameter(weights)
        self.visible_bias = nn.Parameter(visible_bias)
        self.hidden_bias = nn.Parameter(hidden_bias)

    @classmethod
    def from_weights(cls, weights: ArrayLike, visible_bias: ArrayLike, hidden_bias: ArrayLike) -> RBM:
        """One machine (K = 1) from anyone's arrays: W [n_v, n_h], visible biases [n_v], hidden biases [n_h].

        InputError, naming the array, for shapes that do not fit or values that are not finite.
        """
        arrays = {"weights": weights, "visible_bias": visible_bias, "hidden_bias": hidden_bias}
        tensors = {name: torch.from_numpy(np.array(array, dtype=np.float64)) for name, array in arrays.items()}
        w, a, c = tensors.values()
        if w.dim() != 2 or 0 in w.shape:
            raise InputError(f"weights must have the shape (visible, hidden), not {tuple(w.shape)}.")
        for name, bias, size in (("visible_bias", a, w.shape[0]), ("hidden_bias", c, w.shape[1])):
            if tuple(bias.shape) != (size,):
                raise InputError(
                    f"{name} must have the shape ({size},) to fit weights of shape {tuple(w.shape)}, "
                    f"not {tuple(bias.shape)}; are the weights transposed?"
                )
        for name, tensor in tensors.items():
            if not torch.isfinite(tensor).all():
                raise InputError(f"{name} holds values that are not finite.")
        return cls(w[None], a[None], c[None])

    @property
    def parameters_by_name(self) -> dict[str, Tensor]:
        """The three tensors, detached, by name."""
        return {name: parameter.detach() for name, parameter in self.named_parameters()}

    @property
    def smaller_side(self) -> int:
        """min(n_v, n_h)."""
        return min(self.weights.shape[1:])


def free_energy(parameters: Mapping[str, Tensor], visible: Tensor) -> Tensor:
    """F(v) of visible [K, N, n_v], [K, N], in the precision of `parameters`."""
    visible = visible.to(parameters["weights"].dtype)
    fields = torch.baddbmm(parameters["hidden_bias"].unsqueeze(1), visible, parameters["weights"])
    return free_energy_of_fields(parameters, visible, fields)


def free_energy_of_fields(parameters: Mapping[str, Tensor], visible: Tensor, fields: Tensor) -> Tensor:
    """F(v), [K, N], where c + vW, `fields` [K, N, n_h], is at hand already."""
    return -(visible @ parameters["visible_bias"].unsqueeze(-1)).squeeze(-1) - F.softplus(fields).sum(-1)


def free_energy_float64(parameters: Mapping[str, Tensor], visible: Tensor) -> Tensor:
    """As `free_energy`, in float64: a float32 energy of hundreds of nats swamps a small step."""
    return free_energy({name: tensor.double() for name, tensor in parameters.items()}, visible)


def require_enumerable(units: int) -> None:
    """InputError unless the states of so many units can be summed over."""
    if units > ENUMERABLE:
        raise InputError(
            f"exact enumeration would sum over 2^{units} states; it takes at most {ENUMERABLE} visible or hidden units."
        )


@torch.no_grad()
def state_log_weights(parameters: Mapping[str, Tensor], side: str) -> Tensor:
    """ln of the unnormalised probability of every state of one side ("visible" or "hidden"), [K, 2^n], float64.

    State number s has bit i of s as unit i. InputError for more than 20 units.
    """
    weights, visible_bias, hidden_bias = (
        parameters[name].double() for name in ("weights", "visible_bias", "hidden_bias")
    )
    if side == "hidden":
        weights, visible_bias, hidden_bias = weights.mT, hidden_bias, visible_bias
    own = {"weights": weights, "visible_bias": visible_bias, "hidden_bias": hidden_bias}
    require_enumerable(weights.shape[1])
    members = len(weights)
    return torch.cat(
        [-free_energy(own, states.expand(members, -1, -1)) for states in binary_states(weights.shape[1], weights)],
        dim=1,
    )


def binary_states(units: int, like: Tensor) -> Iterator[Tensor]:
    """All states of `units` binary units in order, in chunks [n, units] of the type and device of `like`."""
    bits = torch.arange(units, device=like.device)
    for start in range(0, 2**units, _CHUNK):
        numbers = torch.arange(start, min(start + _CHUNK, 2**units), device=like.device)
        yield numbers_to_states(numbers, bits).to(like.dtype)


def numbers_to_states(numbers: Tensor, bits: Tensor) -> Tensor:
    """[…] state numbers → […, units] bits as int64."""
    return (numbers.unsqueeze(-1) >> bits) & 1


def exact_log_partition(parameters: Mapping[str, Tensor]) -> Tensor:
    """ln Z of each machine by summing over the smaller side, [K], float64. InputError for more than 20 units there."""
    visible, hidden = parameters["weights"].shape[1:]
    require_enumerable(min(visible, hidden))
    return state_log_weights(parameters, "hidden" if hidden <= visible else "visible").logsumexp(1)


@torch.no_grad()
def exact_draws(parameters: Mapping[str, Tensor], draws: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Independent exact samples of v, [K, draws, n_v] float64, and ln Z [K]: h from its table, then v given h.

    InputError for more than 20 hidden units.
    """
    weights = parameters["weights"].double()
    table = state_log_weights(parameters, "hidden")
    log_partition = table.logsumexp(1)
    edges = (table - log_partition.unsqueeze(1)).exp().cumsum(1)
    device = weights.device
    points = torch.rand(len(weights), draws, generator=generator, dtype=torch.float64, device=device)
    numbers = torch.searchsorted(edges, points * edges[:, -1:]).clamp_max(edges.shape[1] - 1)
    hidden = numbers_to_states(numbers, torch.arange(weights.shape[2], device=device)).double()
    logits = torch.baddbmm(parameters["visible_bias"].double().unsqueeze(1), hidden, weights.mT)
    uniform = torch.rand(logits.shape, generator=generator, dtype=torch.float64, device=device)
    return (logits.sigmoid() > uniform).double(), log_partition


@torch.no_grad()
def exact_moments(parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """<v hᵀ>, <v> and <h> under each machine, named as the parameters, float64, by summing over the smaller side."""
    weights, visible_bias, hidden_bias = (
        parameters[name].double() for name in ("weights", "visible_bias", "hidden_bias")
    )
    swap = weights.shape[1] < weights.shape[2]
    if swap:
        weights, visible_bias, hidden_bias = weights.mT, hidden_bias, visible_bias
    table = state_log_weights({"weights": weights, "visible_bias": visible_bias, "hidden_bias": hidden_bias}, "hidden")
    probabilities = table.softmax(1)
    products, outer, inner = torch.zeros_like(weights), torch.zeros_like(visible_bias), torch.zeros_like(hidden_bias)
    start = 0
    for states in binary_states(weights.shape[2], weights):
        share = probabilities[:, start : start + len(states)].unsqueeze(-1)
        start += len(states)
        other = torch.baddbmm(visible_bias.unsqueeze(1), states.expand(len(weights), -1, -1), weights.mT).sigmoid()
        products += (share * other).mT @ states
        outer += (share * other).sum(1)
        inner += (share * states).sum(1)
    if swap:
        products, outer, inner = products.mT, inner, outer
    return {"weights": products, "visible_bias": outer, "hidden_bias": inner}
