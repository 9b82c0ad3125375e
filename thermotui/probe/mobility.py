"""The effective mobility of a layer: what one unit of gradient moves its parameters in the long run.

Vanilla SGD: μ = r, the paper's. Momentum β with dampening d: r(1 − d)/(1 − β). Optimizers that divide by something that
their state holds (Adam, RMSprop and their kin): r times the mean over the layer of what they multiply the gradient by,
each component weighed by the mean square of its gradient, so that μ‖g‖² = −Δθ·g. Of any other optimizer the
preconditioner is not known, and μ = r. All but the first are beyond the paper: its Langevin reading holds for them only
as far as the preconditioner is slow against the noise.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import Parameter
from torch.optim import SGD, Optimizer, RMSprop

from thermotui.errors import InputError
from thermotui.probe.preconditioners import Group, Preconditioner, preconditioner_of


def on_device(value: object) -> TypeGuard[Tensor]:
    """Whether the host would have to wait for it, as for a learning rate that a captured graph reads."""
    return isinstance(value, Tensor) and not value.is_cpu


class Mobility:
    """Reads the mobility of each layer off the optimizer."""

    def __init__(self, optimizer: Optimizer, layers: Sequence[Sequence[Parameter]]) -> None:
        """layers: the parameters of each. InputError where the optimizer does not tell of its steps."""
        # Accelerate hands out a wrapper that only forwards.
        inner = getattr(optimizer, "optimizer", None)
        self.optimizer = inner if isinstance(inner, Optimizer) else optimizer
        name = type(self.optimizer).__name__
        if not hasattr(self.optimizer, "register_step_pre_hook"):
            raise InputError(
                f"the probe cannot see the steps of an optimizer like {name}, which has no register_step_pre_hook: "
                "give it the torch.optim.Optimizer that makes them."
            )
        self._layers = layers
        self._sgd = isinstance(self.optimizer, SGD) or name == "SGD"
        self._preconditioner = preconditioner_of(self.optimizer)
        # `momentum` adds up steps here; elsewhere it may be that of a running mean.
        self._accumulates = self._sgd or isinstance(self.optimizer, RMSprop)
        self._lists: list[list[Parameter]] = []
        self._shares = np.empty((0, 0))
        self.absent: tuple[int, ...] = ()
        """Layers of which the optimizer had no parameter when `rates` was last called."""
        self._seen: list[tuple[int, int, float, bool]] | None = None
        self._rates = np.empty(0)
        self._weights: Tensor | None = None
        """What the learning rates of the groups are multiplied by, [L, groups], where one of them is on the device."""
        self._states = -1

    def rates(self) -> NDArray[np.float64]:
        """Learning rate × momentum factor of each layer, [L], parameters that the optimizer lacks counting as 0.

        NaN for a layer of which the optimizer has no parameter at all, and where `rates_on_device` has them.
        """
        groups = self.optimizer.param_groups
        # The lists are kept, so that no other one can have the identity of one that was looked at.
        seen = [
            (id(group["params"]), len(group["params"]), _rate(group, self._accumulates), on_device(group.get("lr")))
            for group in groups
        ]
        if seen != self._seen:
            if self._seen is None or [one[:2] for one in seen] != [one[:2] for one in self._seen]:
                self._share_out(groups)
            self._seen, self._rates = seen, np.asarray(self._shares @ [rate for _, _, rate, _ in seen])
            self._rates[list(self.absent)] = np.nan
            self._weights = None
            if any(lent for _, _, _, lent in seen):
                weights = torch.from_numpy(self._shares * [rate for _, _, rate, _ in seen]).float()
                weights[list(self.absent)] = torch.nan
                self._weights = weights.to(self._layers[0][0].device, non_blocking=True)
                self._rates = np.full_like(self._rates, np.nan)
        return self._rates

    def rates_on_device(self) -> Tensor | None:
        """The same as a new tensor, float32, where a learning rate lies on the device; after a call of `rates`."""
        if self._weights is None:
            return None
        one = torch.ones((), device=self._weights.device)
        # Those on the host are part of the weights.
        rates = [group.get("lr") for group in self.optimizer.param_groups]
        lent = [rate.detach().to(one).reshape(()) if on_device(rate) else one for rate in rates]
        return self._weights @ torch.stack(lent)

    def preconditioner(self) -> Tensor | None:
        """Mean over each layer of what the optimizer multiplies the gradient by beside `rates`, [L] on the device.

        Each component is weighed by the mean square of its gradient; of those parameters that the optimizer has made a
        step with. NaN for a layer without any gradient.
        None where the optimizer's kind has no preconditioner, or none that is known.
        """
        found = self._preconditioner
        if found is None:
            return None
        groups = {id(p): group for group in self.optimizer.param_groups for p in group["params"]}
        with torch.no_grad():
            means = [self._mean(found, layer, groups) for layer in self._layers]
            self._states = -1 if all(mean is None for mean in means) else len(self.optimizer.state)
            missing = torch.full((), torch.nan, device=self._layers[0][0].device)
            return torch.stack([missing if mean is None else mean for mean in means])

    @property
    def preconditioned(self) -> bool:
        """Whether the mobility is unknown until `preconditioner` was read."""
        return self._preconditioner is not None

    @property
    def more_is_known(self) -> bool:
        """Whether the optimizer has a preconditioner of more parameters, or fewer, than when it was last read."""
        return self._preconditioner is not None and len(self.optimizer.state) != self._states

    @property
    def learning_rate(self) -> float | Tensor:
        """That of the first parameter group; NaN where there is none. Where it lies on the device, a copy, []."""
        groups = self.optimizer.param_groups
        rate = groups[0].get("lr", np.nan) if groups else np.nan
        return rate.detach().clone().reshape(()) if on_device(rate) else float(rate)

    @property
    def plain(self) -> bool:
        """Whether a step is θ − rg and nothing else, as Appendix A and Yaida's relation take it: SGD alone."""
        return type(self.optimizer).__name__ == "SGD" and not any(
            group.get(name)
            for group in self.optimizer.param_groups
            for name in ("momentum", "weight_decay", "maximize")
        )

    def note(self) -> str | None:
        """What has to be said of the optimizer in the log; None for vanilla SGD."""
        if self.plain:
            return None
        name = type(self.optimizer).__name__
        unread = "reversibility_gap and fluctuation_dissipation are defined for plain SGD alone and not measured."
        beyond = "the Langevin reading of the temperature is beyond the paper"
        if self._preconditioner is not None:
            return (
                f"{name}: {beyond}; the mobility is the learning rate times the layer's mean preconditioner, "
                f"weighed by the squares of the gradient; {unread}"
            )
        if not self._sgd:
            return (
                f"{name}: {beyond}; its preconditioner is not known, so that the mobility is the learning rate alone; "
                + unread
            )
        if name != "SGD":
            return f"{name}: {beyond}; the mobility is that of SGD, r/(1 − β) with momentum; {unread}"
        if any(group.get("momentum") for group in self.optimizer.param_groups):
            return f"Momentum: {beyond}; the mobility is r/(1 − β); {unread}"
        return f"The step is not the gradient's alone (weight decay): {unread}"

    def _share_out(self, groups: Sequence[dict[str, Any]]) -> None:
        """Find out what share of each layer's components is in which group."""
        index = {id(p): column for column, group in enumerate(groups) for p in group["params"]}
        self._lists = [group["params"] for group in groups]
        self._shares = np.zeros((len(self._layers), len(groups)))
        for row, layer in enumerate(self._layers):
            size = max(sum(p.numel() for p in layer), 1)
            for parameter in layer:
                if id(parameter) in index:
                    self._shares[row, index[id(parameter)]] += parameter.numel() / size
        self.absent = tuple(
            row for row, layer in enumerate(self._layers) if not any(id(parameter) in index for parameter in layer)
        )

    def _mean(
        self, preconditioner: Preconditioner, layer: Sequence[Parameter], groups: Mapping[int, Group]
    ) -> Tensor | None:
        """Weighted mean over a layer's components, float32; None where nothing is known of any of its parameters."""
        found, sizes, rates = [], [], []
        for parameter in layer:
            state, group = self.optimizer.state.get(parameter), groups.get(id(parameter))
            if state is None or group is None or not parameter.numel() or not preconditioner.known(state):
                continue
            found.append(preconditioner.weighted(state, group))
            sizes.append(parameter.numel())
            rate = group.get("lr")
            factor = _rate(group, self._accumulates)
            rates.append(rate.detach().reshape(()) * factor if on_device(rate) else factor)
        if not found:
            return None
        dtype = functools.reduce(torch.promote_types, (each[2].dtype for each in found))
        moved, weights, largest = (torch.stack([one.to(dtype) for one in each]) for each in zip(*found, strict=True))
        shares = largest / largest.amax()
        moved = moved * shares
        if any(isinstance(rate, Tensor) for rate in rates) or len(set(rates)) > 1:
            moved = moved * _relative(rates, sizes, moved)
        return (moved.sum() / (weights * shares).sum()).float()


def _relative(rates: Sequence[float | Tensor], sizes: Sequence[int], like: Tensor) -> Tensor:
    """The rates of parameters by their mean over the components, which `Mobility.rates` has; 1 where that is 0."""
    each = torch.stack([like.new_full((), rate) if isinstance(rate, float) else rate.to(like) for rate in rates])
    total = sum(sizes)
    mean = torch.stack([rate * (size / total) for rate, size in zip(each, sizes, strict=True)]).sum()
    return torch.where(mean > 0, each / mean, 1.0)


def _rate(group: Mapping[str, Any], accumulates: bool) -> float:
    """Learning rate × momentum factor; the latter alone where the former lies on the device."""
    rate = 1.0 if on_device(group.get("lr")) else float(group.get("lr", np.nan))
    momentum = group.get("momentum") if accumulates else None
    if not momentum:
        return rate
    # Without friction what one gradient moves grows forever.
    return rate * ((1.0 - group.get("dampening", 0.0)) / (1.0 - momentum)) if momentum != 1.0 else np.nan
