"""The layers of a model as the probe sees them: modules that own parameters, joined where they share one."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn
from torch.nn import Parameter

from thermotui.probe.rules import Rule, dropout_inside, rule_for

UNITS = (nn.MultiheadAttention,)
"""Modules that use their children's parameters without calling the children."""


@dataclass(frozen=True)
class Site:
    """A module with parameters of its own (`parameters`: by the name that the module gives them) and its rule."""

    name: str
    module: nn.Module
    parameters: dict[str, Parameter]
    rule: Rule | None
    compiled: bool

    @property
    def plain_linear(self) -> bool:
        """Whether it is a linear layer whose weight is trained: then two row norms are all that its noise takes."""
        return isinstance(self.module, nn.Linear) and self.rule is not None and "weight" in self.parameters


@dataclass(frozen=True)
class ModelLayer:
    """One layer of the log: trainable parameters that no other layer has, and the modules that use them."""

    name: str
    sites: tuple[Site, ...]
    parameters: tuple[Parameter, ...]

    @property
    def size(self) -> int:
        """Number of parameters."""
        return sum(parameter.numel() for parameter in self.parameters)

    @property
    def bias(self) -> float:
        """1 where the one module that a layer is has a bias to train, 0 where it has none."""
        return float("bias" in self.sites[0].parameters)

    @property
    def obstacle(self) -> str | None:
        """Why its per-sample gradients can never be had, in words; None where nothing is in the way yet."""
        for site in self.sites:
            if site.compiled:
                return f"{site.name} is compiled"
            if site.rule is None and dropout_inside(site.module):
                return f"{site.name} draws its own dropout masks"
            if isinstance(site.module, nn.modules.batchnorm._BatchNorm):
                return f"{site.name} couples the samples of a batch"
        if len(self.sites) > 1 and any(site.rule is None for site in self.sites):
            return "its parameters are shared with a module that has no rule"
        return None


def model_layers(model: nn.Module) -> tuple[ModelLayer, ...]:
    """All layers with trainable parameters, in the order of `named_modules`."""
    groups: list[list[Site]] = []
    for site in _sites(model):
        own = {id(parameter) for parameter in site.parameters.values()}
        shared = [g for g in groups if any(id(p) in own for other in g for p in other.parameters.values())]
        merged = [member for group in shared for member in group] + [site]
        if shared:
            groups[groups.index(shared[0])] = merged
            for group in shared[1:]:
                groups.remove(group)
        else:
            groups.append(merged)
    return tuple(_layer(group) for group in groups)


def _sites(model: nn.Module) -> list[Site]:
    sites = []
    inside: set[int] = set()
    compiled: set[int] = set()
    for name, module in model.named_modules():
        # The wrapper of torch.compile is told by its attribute: importing its class takes seconds.
        if hasattr(module, "_orig_mod") or module._compiled_call_impl is not None:
            compiled |= {id(child) for child in module.modules()}
        if id(module) in inside:
            continue
        unit = isinstance(module, UNITS)
        if unit:
            inside |= {id(child) for child in module.modules()}
        named = module.named_parameters(recurse=unit, remove_duplicate=False)
        parameters = {key: parameter for key, parameter in named if parameter.requires_grad}
        if parameters:
            plain = name.replace("_orig_mod.", "").removesuffix("._orig_mod")
            plain = plain if plain not in ("", "_orig_mod") else type(module).__name__
            sites.append(Site(plain, module, parameters, rule_for(module), id(module) in compiled))
    return sites


def _layer(sites: list[Site]) -> ModelLayer:
    parameters = {id(p): p for site in sites for p in site.parameters.values()}
    return ModelLayer(" + ".join(site.name for site in sites), tuple(sites), tuple(parameters.values()))
