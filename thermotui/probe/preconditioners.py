"""What optimizers multiply each component of the gradient by beside the learning rate, read off their state.

Those of torch whose step is, in the long run, −r p_i g_i with a p_i that their state holds. Momentum and the bias of a
running mean of the gradient, which it has for its first steps alone, are not part of p_i.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim import Optimizer

State = Mapping[str, Any]
"""What the optimizer keeps of one parameter."""
Group = Mapping[str, Any]
"""Its settings for the parameter."""


class Preconditioner(NamedTuple):
    """That of one kind of optimizer."""

    needs: tuple[str, ...]
    """Entries of the state without which nothing is known: the count of steps, and first what grows with gradients."""
    factors: Callable[[State, Group], Tensor]
    """p_i of every component of the parameter, a new tensor on its device; complex components are two."""
    least: str = ""
    """The setting that what grows with gradients begins with, in components that never had one; 0 without it."""
    grows_like_gradients: bool = False
    """Whether what grows is |g| itself instead of g²."""

    def known(self, state: State) -> bool:
        """Whether the optimizer has made a step with the parameter, as far as the host can tell without waiting."""
        # Adagrad has a state before its first step.
        return all(name in state for name in self.needs) and not _is_zero(state["step"])

    def weighted(self, state: State, group: Group) -> tuple[Tensor, Tensor, Tensor]:
        """Σ p_i w_i/w, Σ w_i/w and w, the largest w_i: scalars. w_i is the mean square of g_i as the optimizer has it.

        What moves the parameters is Σ p_i g_i². A component whose gradient is nothing but rounding, as the bias of an
        attention's keys, has a p_i of up to 1/ε, and would make the mean of all by itself. Squares of any size have
        their place in w, which has the dtype of the state, float32 at least.
        """
        begun = group[self.least] if self.least else 0.0
        grown = _real(state[self.needs[1]])
        seen = grown > begun
        wide = {name: _wide(value) for name, value in state.items()}
        sizes = torch.where(seen, _wide(grown) - begun, 0.0)
        largest = sizes.amax()
        weights = sizes / torch.where(largest > 0, largest, 1.0)
        if self.grows_like_gradients:
            weights, largest = weights.square(), largest.square()
        factors = torch.where(seen, self.factors(wide, group), 0.0)
        return (factors * weights).sum(), weights.sum(), largest


def preconditioner_of(optimizer: Optimizer) -> Preconditioner | None:
    """That of the optimizer's kind; None where it is not known, or there is none."""
    return next((found for kind, found in KINDS if isinstance(optimizer, kind)), None)


def _is_zero(step: Any) -> bool:
    # Only a step that is on the host can be looked at: the others would have it wait for the device.
    return bool(step == 0) if not isinstance(step, Tensor) or step.is_cpu else False


def _step(state: State) -> Any:
    """Steps made: a number where it is on the host, as exact as the optimizer has it."""
    step = state["step"]
    return step.item() if isinstance(step, Tensor) and step.is_cpu else step


def _wide(value: Any) -> Any:
    """Half precision has no room for ε, nor for sums."""
    half = isinstance(value, Tensor) and value.dtype in (torch.float16, torch.bfloat16)
    return value.float() if half else value


def _real(tensor: Tensor) -> Tensor:
    return torch.view_as_real(tensor) if tensor.is_complex() else tensor


def _adam(state: State, group: Group) -> Tensor:
    largest = group.get("amsgrad") and "max_exp_avg_sq" in state
    root = _real(state["max_exp_avg_sq" if largest else "exp_avg_sq"]).sqrt()
    return root.div_((1.0 - group["betas"][1] ** _step(state)) ** 0.5).add_(group["eps"]).reciprocal_()


def _sparse_adam(state: State, group: Group) -> Tensor:
    root = _real(state["exp_avg_sq"]).sqrt()
    return root.add_(group["eps"]).reciprocal_().mul_((1.0 - group["betas"][1] ** _step(state)) ** 0.5)


def _radam(state: State, group: Group) -> Tensor:
    beta, step = group["betas"][1], _step(state)
    steps = step if isinstance(step, Tensor) else torch.tensor(step, dtype=torch.float64, device="cpu")
    longest = 2.0 / (1.0 - beta) - 1.0
    length = longest - 2.0 * steps * beta**steps / (1.0 - beta**steps)
    ratio = (length - 4.0) * (length - 2.0) * longest / ((longest - 4.0) * (longest - 2.0) * length)
    # As the optimizer does: the gradient itself until there are enough squares to divide by.
    rectified = length > 5.0
    share = torch.where(rectified, ratio.sqrt(), torch.zeros_like(ratio))
    return _sparse_adam(state, group).mul_(share).add_((~rectified).to(share.dtype))


def _adamax(state: State, group: Group) -> Tensor:
    return _real(state["exp_inf"]).reciprocal()


def _adagrad(state: State, group: Group) -> Tensor:
    decay = 1.0 + (_step(state) - 1.0) * group["lr_decay"]
    return _real(state["sum"]).sqrt().add_(group["eps"]).mul_(decay).reciprocal_()


def _adadelta(state: State, group: Group) -> Tensor:
    eps = group["eps"]
    return _real(state["acc_delta"]).add(eps).div_(_real(state["square_avg"]).add(eps)).sqrt_()


def _rmsprop(state: State, group: Group) -> Tensor:
    moment = _real(state["square_avg"])
    if group.get("centered") and "grad_avg" in state:
        mean = _real(state["grad_avg"])
        moment = moment.addcmul(mean, mean, value=-1.0)
    return moment.sqrt().add_(group["eps"]).reciprocal_()


KINDS: tuple[tuple[type[Optimizer], Preconditioner], ...] = (
    (torch.optim.Adam, Preconditioner(("step", "exp_avg_sq"), _adam)),
    (torch.optim.AdamW, Preconditioner(("step", "exp_avg_sq"), _adam)),
    (torch.optim.NAdam, Preconditioner(("step", "exp_avg_sq"), _adam)),
    (torch.optim.RAdam, Preconditioner(("step", "exp_avg_sq"), _radam)),
    (torch.optim.SparseAdam, Preconditioner(("step", "exp_avg_sq"), _sparse_adam)),
    (torch.optim.Adamax, Preconditioner(("step", "exp_inf"), _adamax, "eps", grows_like_gradients=True)),
    (torch.optim.Adagrad, Preconditioner(("step", "sum"), _adagrad, "initial_accumulator_value")),
    (torch.optim.Adadelta, Preconditioner(("step", "square_avg", "acc_delta"), _adadelta)),
    (torch.optim.RMSprop, Preconditioner(("step", "square_avg"), _rmsprop)),
)
