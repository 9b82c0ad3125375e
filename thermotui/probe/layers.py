"""The layers of a model as the probe sees them: modules that own parameters, joined where they share one."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from torch import jit, nn
from torch.nn import Parameter
from torch.nn.parameter import is_lazy

from thermotui.errors import InputError
from thermotui.probe.repeatable import is_compiled, obstacle_to_repeating
from thermotui.probe.rules import Rule, rule_for

logger = logging.getLogger("thermotui")

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
            reason = _obstacle(site)
            if reason is not None:
                return f"{site.name} {reason}"
        if len(self.sites) > 1 and any(site.rule is None for site in self.sites):
            return "its parameters are shared with a module that has no rule"
        return None


def model_layers(model: nn.Module) -> tuple[ModelLayer, ...]:
    """All layers with trainable parameters, in the order of `named_modules`.

    Complex parameters are left out, with a warning. Raises InputError where they are all that there is to train, and
    where parameters have no shape yet.
    """
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
    left_out = False
    for name, module in model.named_modules():
        if is_compiled(module):
            compiled |= {id(child) for child in module.modules()}
        if id(module) in inside:
            continue
        unit = isinstance(module, UNITS)
        if unit:
            inside |= {id(child) for child in module.modules()}
        named = module.named_parameters(recurse=unit, remove_duplicate=False)
        trained = {key: parameter for key, parameter in named if parameter.requires_grad}
        if not trained:
            continue
        plain = name.replace("_orig_mod.", "").removesuffix("._orig_mod")
        plain = plain if plain not in ("", "_orig_mod") else type(module).__name__
        if any(is_lazy(parameter) for parameter in trained.values()):
            raise InputError(f"{plain} has parameters without a shape: run the model once before attaching the probe.")
        parameters = {key: parameter for key, parameter in trained.items() if not parameter.is_complex()}
        if len(parameters) < len(trained):
            left_out = True
            logger.warning("layer %s: its complex parameters are left out", plain)
        if parameters:
            sites.append(Site(plain, module, parameters, rule_for(module, trained), id(module) in compiled))
    if left_out and not sites:
        raise InputError("the probe was given a model whose trainable parameters are all complex.")
    return sites


def _obstacle(site: Site) -> str | None:
    """What will always be in the way of a module's per-sample gradients, as the rest of a sentence about it."""
    module = site.module
    if site.compiled:
        return "is compiled"
    if isinstance(module, jit.ScriptModule):
        return "is a TorchScript module"
    if site.rule is not None:
        # Hooks of this old kind may put another gradient into the place of the parameters'.
        return "has hooks of the loop's own" if module._is_full_backward_hook is False else None
    # Running it again would run those again as well, be it the whole model.
    if not isinstance(module, UNITS) and _trains_others(module):
        return "uses its own parameters beside those of other layers"
    return obstacle_to_repeating(module)


def _trains_others(module: nn.Module) -> bool:
    own = {id(parameter) for parameter in module.parameters(recurse=False)}
    return any(parameter.requires_grad and id(parameter) not in own for parameter in module.parameters())


def _layer(sites: list[Site]) -> ModelLayer:
    parameters = {id(p): p for site in sites for p in site.parameters.values()}
    return ModelLayer(" + ".join(site.name for site in sites), tuple(sites), tuple(parameters.values()))
