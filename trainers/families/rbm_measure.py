"""Three ways to read an RBM's thermodynamics: every state, exact draws with exact ln Z, or weighted Gibbs chains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from thermotui.thermo.free_energy import free_energy_perturbation
from thermotui.thermo.information import WindowMixture, categorical_reading, categorical_transition
from thermotui.thermo.statistics import Array
from thermotui.thermo.transition import Reading, Transition
from trainers.families.draws import Draws, Parameters
from trainers.families.rbm_model import (
    exact_draws,
    exact_moments,
    free_energy_float64,
    numbers_to_states,
    state_log_weights,
)
from trainers.samplers.annealing import anneal, base_log_partition, base_samples, temperatures
from trainers.samplers.gibbs import block_gibbs
from trainers.samplers.population import Population, draw_by_weight, halves_of

CHECK_PARTICLES = 128
INITIAL_TEMPERATURES = 200
"""Of the annealing that brings the first chains and ln Z(θ_0); weights of a fresh machine are small."""


class Measure(Protocol):
    """Readings and transitions of K machines; θ in float64 throughout."""

    kinds: Mapping[str, str]
    """Kinds of the columns of `thermo`."""

    def begin(self, parameters: Parameters) -> Reading:
        """The reading at θ_0."""
        ...

    def transition(self, parameters: Parameters, sweeps: int) -> tuple[Transition, Reading]:
        """From the remembered θ; X takes `sweeps` Gibbs sweeps meanwhile, where it is a chain at all."""
        ...

    def samples(self, count: int, generator: torch.Generator) -> Tensor:
        """Samples of the remembered θ, [K, count, n_v], equally weighted."""
        ...

    def log_partition(self) -> Array:
        """ln Z of the remembered θ, [K]."""
        ...

    def moments(self, parameters: Parameters) -> tuple[dict[str, Tensor], ...]:
        """<v hᵀ>, <v>, <h> at θ near the remembered one, named as the parameters: exact, or two independent estimates
        of equal weight."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """All that the next transition depends on."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`."""
        ...


class Enumerated:
    """Sums over all 2^n_v visible states: every figure is exact."""

    kinds: Mapping[str, str] = dict.fromkeys(
        ("work", "heat", "m_info", "entropy_conditional", "ep_conditional", "log_partition"), "exact"
    )

    def __init__(self, ensemble: int) -> None:
        self._log_p: Array | None = None
        self._log_z: Array = np.zeros(ensemble)
        self._window = WindowMixture() if ensemble == 1 else None

    def begin(self, parameters: Parameters) -> Reading:
        """See `Measure`."""
        table = state_log_weights(parameters, "visible")
        log_z = table.logsumexp(1, keepdim=True)
        self._log_z = log_z[:, 0].cpu().numpy()
        self._log_p = (table - log_z).cpu().numpy()[:, None]
        reading = categorical_reading(self._log_p, None if self._window is None else self._window.push(self._log_p[0]))
        return Reading(
            reading.entropy_conditional, reading.entropy_marginal, reading.l_info_upper, self._log_z[:, None]
        )

    def transition(self, parameters: Parameters, sweeps: int) -> tuple[Transition, Reading]:
        """See `Measure`; the sweeps do not matter where nothing is sampled."""
        before = self._log_p
        if before is None:
            raise RuntimeError("a transition needs a beginning")
        reading = self.begin(parameters)
        assert self._log_p is not None
        return categorical_transition(before, self._log_p), reading

    def samples(self, count: int, generator: torch.Generator) -> Tensor:
        """See `Measure`."""
        assert self._log_p is not None
        log_p = torch.from_numpy(self._log_p[:, 0]).to(generator.device)
        numbers = draw_by_weight(log_p.exp(), count, generator)
        units = log_p.shape[1].bit_length() - 1
        return numbers_to_states(numbers, torch.arange(units, device=numbers.device)).double()

    def log_partition(self) -> Array:
        """See `Measure`."""
        return self._log_z

    def moments(self, parameters: Parameters) -> tuple[dict[str, Tensor], ...]:
        """See `Measure`."""
        return (exact_moments(parameters),)

    def state_dict(self) -> dict[str, Any]:
        """See `Measure`."""
        window = None if self._window is None else self._window.state_dict()
        return {"log_p": self._log_p, "log_z": self._log_z, "window": window}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `Measure`."""
        self._log_p, self._log_z = state["log_p"], state["log_z"]
        if self._window is not None:
            self._window.load_state_dict(state["window"])


class ExactDraws:
    """Fresh exact draws at every reading, ln Z summed over the hidden states."""

    kinds: Mapping[str, str] = {"log_partition": "exact"}

    def __init__(self, draws: int, generator: torch.Generator) -> None:
        self._draws = Draws(
            lambda parameters: exact_draws(parameters, draws, generator),
            lambda parameters, log_z, visible: _phi(parameters, log_z, visible),
            lambda log_z: np.asarray(log_z.cpu().numpy()),
        )
        self._log_z: Array = np.zeros(0)

    def begin(self, parameters: Parameters) -> Reading:
        """See `Measure`."""
        return self._keep(self._draws.begin(parameters))

    def transition(self, parameters: Parameters, sweeps: int) -> tuple[Transition, Reading]:
        """See `Measure`; the sweeps do not matter where draws are independent."""
        transition, reading = self._draws.transition(parameters)
        return transition, self._keep(reading)

    def samples(self, count: int, generator: torch.Generator) -> Tensor:
        """See `Measure`; the first ones, since all are independent."""
        return self._draws.samples[:, :count]

    def log_partition(self) -> Array:
        """See `Measure`."""
        return self._log_z

    def moments(self, parameters: Parameters) -> tuple[dict[str, Tensor], ...]:
        """See `Measure`."""
        return (exact_moments(parameters),)

    def state_dict(self) -> dict[str, Any]:
        """See `Measure`."""
        return {"draws": self._draws.state_dict(), "log_z": self._log_z}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `Measure`."""
        self._draws.load_state_dict(state["draws"])
        self._log_z = state["log_z"]

    def _keep(self, reading: Reading) -> Reading:
        assert reading.log_partition is not None
        self._log_z = reading.log_partition.mean(1)
        return reading


class Chains:
    """Persistent block-Gibbs chains with trajectory annealed importance sampling."""

    kinds: Mapping[str, str] = {}

    def __init__(
        self,
        chains: int,
        base_bias: Tensor,
        generator: torch.Generator,
        seed: int,
        *,
        check_every: int = 0,
        check_temperatures: int = 1000,
    ) -> None:
        """base_bias: [n_v], of the independent units that all annealing starts from. check_every: readings from one
        check of ln Z by independent annealing to the next; 0: never."""
        self._chains, self._base_bias = chains, base_bias
        self._check_every, self._check_temperatures = check_every, check_temperatures
        self._readings = 0
        self._generator, self._seed = generator, seed
        self._parameters: Parameters = {}
        self._population: Population | None = None

    @property
    def population(self) -> Population:
        """The chains; RuntimeError before `begin`."""
        if self._population is None:
            raise RuntimeError("a transition needs a beginning")
        return self._population

    def begin(self, parameters: Parameters) -> Reading:
        """See `Measure`: anneals the first chains from independent units."""
        self._parameters = {name: tensor.float() for name, tensor in parameters.items()}
        members = len(parameters["weights"])
        base = self._base_bias.float().expand(members, -1)
        start = base_samples(base, self._chains, self._generator)
        annealed = anneal(self._parameters, base, start, temperatures(INITIAL_TEMPERATURES), self._generator)
        log_z = base_log_partition(base, parameters["weights"].shape[2]).cpu().numpy()[:, None]
        log_partition = log_z + free_energy_perturbation(-annealed.log_weights.cpu().numpy())
        chosen = draw_by_weight(annealed.log_weights.softmax(1), self._chains, self._generator)
        visible = annealed.visible.gather(1, chosen.unsqueeze(-1).expand_as(annealed.visible))
        self._population = Population(
            free_energy_float64, self._sweep, parameters, self._sweep(visible, 20), log_partition, seed=self._seed
        )
        return self._population.reading()

    def transition(self, parameters: Parameters, sweeps: int) -> tuple[Transition, Reading]:
        """See `Measure`."""
        self._parameters = {name: tensor.float() for name, tensor in parameters.items()}
        transition = self.population.transition(parameters, sweeps)
        reading = self.population.reading()
        self._readings += 1
        if self._check_every and self._readings % self._check_every == 0:
            forward, reverse = self._check()
            reading = replace(reading, log_partition_forward=forward, log_partition_reverse=reverse)
        return transition, reading

    def samples(self, count: int, generator: torch.Generator) -> Tensor:
        """See `Measure`; drawn by the chains' weights."""
        return self.population.samples(count, generator)

    def log_partition(self) -> Array:
        """See `Measure`."""
        return self.population.trajectory.log_partition

    def moments(self, parameters: Parameters) -> tuple[dict[str, Tensor], ...]:
        """See `Measure`: weighted means over either half of the chains, reweighted from the remembered θ."""
        visible = self.population.positions.double()
        log_weights = torch.from_numpy(self.population.log_weights_at(parameters)).to(visible.device)
        halves = halves_of(visible.shape[1])
        return tuple(_moments(parameters, visible[:, half], log_weights[:, half].softmax(1)) for half in halves)

    def state_dict(self) -> dict[str, Any]:
        """See `Measure`."""
        held = None if self._population is None else self._population.state_dict()
        return {"population": held, "readings": self._readings}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `Measure`."""
        held, self._readings = state["population"], state["readings"]
        self._population = None if held is None else Population.from_state(free_energy_float64, self._sweep, held)

    def _check(self) -> tuple[Array, Array]:
        """ln Z by annealing from the base, and in reverse from the chains, as influence values [K, particles]."""
        members, _, hidden = self._parameters["weights"].shape
        base = self._base_bias.float().expand(members, -1)
        betas = temperatures(self._check_temperatures)
        reference = base_log_partition(base, hidden).cpu().numpy()[:, None]
        start = base_samples(base, CHECK_PARTICLES, self._generator)
        up = anneal(self._parameters, base, start, betas, self._generator)
        end = self.samples(CHECK_PARTICLES, self._generator)
        down = anneal(self._parameters, base, end, betas[::-1], self._generator)
        forward, reverse = (run.log_weights.cpu().numpy() for run in (up, down))
        return reference + free_energy_perturbation(-forward), reference - free_energy_perturbation(-reverse)

    def _sweep(self, visible: Tensor, sweeps: int) -> Tensor:
        weights, visible_bias, hidden_bias = (
            self._parameters[name] for name in ("weights", "visible_bias", "hidden_bias")
        )
        return block_gibbs(weights, visible_bias, hidden_bias, visible, sweeps, self._generator)


def _phi(parameters: Parameters, log_z: Tensor, visible: Tensor) -> Array:
    return np.asarray((free_energy_float64(parameters, visible) + log_z.unsqueeze(1)).cpu().numpy())


def _moments(parameters: Parameters, visible: Tensor, shares: Tensor) -> dict[str, Tensor]:
    """Weighted means <v hᵀ>, <v>, <h>: visible [K, N, n_v], shares [K, N] of sum 1."""
    share = shares.unsqueeze(-1)
    fields = torch.baddbmm(parameters["hidden_bias"].double().unsqueeze(1), visible, parameters["weights"].double())
    hidden = fields.sigmoid()
    return {
        "weights": (share * visible).mT @ hidden,
        "visible_bias": (share * visible).sum(1),
        "hidden_bias": (share * hidden).sum(1),
    }
