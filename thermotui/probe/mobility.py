"""The effective mobility of a layer: what one unit of gradient moves its parameters in the long run.

Vanilla SGD: μ = r, the paper's. Momentum β with dampening d: r(1 − d)/(1 − β). Optimizers that divide by a running root
mean square (Adam, RMSprop and their kin): r times the mean of 1/(√v̂ + ε) over the layer. All but the first are beyond
the paper: its Langevin reading holds for them only as far as the preconditioner is slow against the noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import Parameter
from torch.optim import Optimizer

SECOND_MOMENTS = ("exp_avg_sq", "square_avg")


class Mobility:
    """Reads the mobility of each layer off the optimizer."""

    def __init__(self, optimizer: Optimizer, layers: Sequence[Sequence[Parameter]]) -> None:
        # Accelerate hands out a wrapper that only forwards.
        inner = getattr(optimizer, "optimizer", None)
        self.optimizer = inner if isinstance(inner, Optimizer) else optimizer
        self._layers = layers
        self._shares = np.empty((0, 0))
        self._seen: list[float] = []
        self._rates = np.empty(0)

    def rates(self) -> NDArray[np.float64]:
        """Learning rate × momentum factor of each layer, [L]; 0 for parameters that the optimizer does not have."""
        groups = self.optimizer.param_groups
        if self._shares.shape[1] != len(groups):
            index = {id(p): column for column, group in enumerate(groups) for p in group["params"]}
            self._seen = []
            self._shares = np.zeros((len(self._layers), len(groups)))
            for row, layer in enumerate(self._layers):
                size = sum(p.numel() for p in layer)
                for parameter in layer:
                    if id(parameter) in index:
                        self._shares[row, index[id(parameter)]] += parameter.numel() / size
        rates = [_rate(group) for group in groups]
        if rates != self._seen:
            self._seen, self._rates = rates, np.asarray(self._shares @ rates)
        return self._rates

    def preconditioner(self) -> Tensor | None:
        """Mean of 1/(√v̂ + ε) over each layer, [L] on the device; None where the optimizer has no such state."""
        means = [self._mean(layer) for layer in self._layers]
        return None if any(mean is None for mean in means) else torch.stack([m for m in means if m is not None])

    @property
    def learning_rate(self) -> float:
        """That of the first parameter group."""
        return float(self.optimizer.param_groups[0]["lr"])

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
        if name != "SGD":
            return (
                f"{name}: the Langevin reading of the temperature is beyond the paper; the mobility is the learning "
                f"rate times the mean preconditioner where the optimizer has one; {unread}"
            )
        if any(group.get("momentum") for group in self.optimizer.param_groups):
            return (
                "Momentum: the Langevin reading of the temperature is beyond the paper; the mobility is r/(1 − β); "
                + unread
            )
        return f"The step is not the gradient's alone (weight decay): {unread}"

    def _mean(self, layer: Sequence[Parameter]) -> Tensor | None:
        groups = {id(p): group for group in self.optimizer.param_groups for p in group["params"]}
        sums = []
        for parameter in layer:
            state = self.optimizer.state.get(parameter, {})
            key = next((name for name in SECOND_MOMENTS if name in state), None)
            if key is None:
                return None
            group = groups[id(parameter)]
            moment = state[key]
            if "betas" in group:
                moment = moment / (1.0 - group["betas"][1] ** state["step"])
            sums.append((1.0 / (moment.sqrt() + group["eps"])).sum(dtype=torch.float32))
        return torch.stack(sums).sum() / sum(parameter.numel() for parameter in layer)


def _rate(group: dict[str, Any]) -> float:
    momentum = group.get("momentum")
    rate = float(group["lr"])
    return rate * ((1.0 - group.get("dampening", 0.0)) / (1.0 - momentum)) if momentum else rate
