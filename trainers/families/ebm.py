"""Deep energy-based model: X is x ∈ R^d, φ = E(x) + ln Z with E(x) = f_θ(x) + ‖x − m‖²/2s².

f is a network whose last layer starts at zero, so that p_θ0 is the Gaussian base N(m, s²) and ln Z(θ_0) is known. The
gradient is contrastive, with persistent Langevin chains; other chains, which the gradient never sees, measure.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call

from thermotui.errors import InputError
from thermotui.runlog.schema import Layer
from thermotui.thermo.ledger import FIGURES
from thermotui.thermo.trajectory import BLOCKS
from thermotui.thermo.transition import Reading, Transition
from trainers.batched import BatchedLinear, fill_gradients, fill_gradients_and_noise, recording
from trainers.data.densities import draw_density
from trainers.data.images import load_images, refuse_directory
from trainers.families.draws import double
from trainers.families.options import EBMOptions
from trainers.families.ppm import Batch
from trainers.families.softmax import parse_widths
from trainers.samplers.langevin import langevin
from trainers.samplers.population import Parameters, Population, halves_of
from trainers.samplers.tracking import TRACKED, LogPartitionTracker
from trainers.setup import Setup
from trainers.state import on_device

CHUNK = 4096
DENSITY_SAMPLES = 5000
TARGET_ACCEPTANCE = 0.57
"""Where MALA moves fastest in many dimensions."""
ADAPTATION = 0.1
"""How fast the step size follows the acceptance of the learning chains, per gradient."""


def build(options: EBMOptions, setup: Setup) -> EBM:
    """The models of these options; InputError for those that cannot be."""
    for name in ("tau", "learning_chains"):
        if getattr(options, name) < 1:
            raise InputError(f"--{name.replace('_', '-')} {getattr(options, name)} must be at least 1.")
    if not options.step_size > 0:
        raise InputError(f"--step-size {options.step_size} must be positive.")
    if options.data_noise < 0:
        raise InputError(f"--data-noise {options.data_noise} must not be negative.")
    if options.data == "digits" or options.data == "mnist" or options.data == "fashion-mnist":
        data = load_images(options.data, options.data_dir).train
        noise = setup.numpy_generator("data").standard_normal(data.shape, dtype=np.float32)
        # Pixels that are the same in every image would make the likelihood unbounded.
        data = data + np.float32(options.data_noise) * noise
    else:
        refuse_directory(options.data, options.data_dir)
        data = draw_density(options.data, DENSITY_SAMPLES, setup.numpy_generator("data"))
    return EBM(data, options, setup)


BIASED_WITHOUT_METROPOLIS = (*FIGURES, "learning_efficiency")


class EnergyNetwork(nn.Module):
    """E of K members: [K, N, d] → [K, N]."""

    mean: Tensor
    variance: Tensor

    def __init__(self, widths: list[int], mean: Tensor, variance: float, setup: Setup) -> None:
        super().__init__()
        sizes = [len(mean), *widths, 1]
        generator = setup.generator("parameters")
        self.layers = nn.ModuleList(
            BatchedLinear(setup.ensemble, i, o, generator=generator, gain=math.sqrt(2) if index < len(widths) else 0.0)
            for index, (i, o) in enumerate(itertools.pairwise(sizes))
        )
        self.register_buffer("mean", mean)
        self.register_buffer("variance", torch.tensor(variance, device=mean.device))

    def forward(self, x: Tensor) -> Tensor:
        """Energies in nats, in the precision of x."""
        away = x - self.mean.to(x.dtype)
        # The network sees the standardised x.
        hidden = away / self.variance.to(x.dtype).sqrt()
        base = 0.5 * hidden.square().sum(-1)
        *inner, last = self.layers
        for layer in inner:
            hidden = nn.functional.silu(layer(hidden))
        output: Tensor = last(hidden)
        return output.squeeze(-1) + base


class EBM:
    """K energy-based models side by side (protocol `trainers.families.ppm.PPM`)."""

    name = "ebm"
    accuracy_name = "fraction of the mini-batch with lower energy than a chain beside it; ½ where the model matches"

    def __init__(self, data: NDArray[np.float32], options: EBMOptions, setup: Setup) -> None:
        """data: [n, d], finite; InputError for anything else."""
        if data.ndim != 2 or len(data) < 2 or not np.isfinite(data).all():
            raise InputError("an energy-based model learns from two or more rows of finite numbers.")
        if options.chains < BLOCKS or options.chains % BLOCKS:
            raise InputError(f"--chains {options.chains} must be a multiple of {BLOCKS}.")
        device = setup.device
        self.ensemble = setup.ensemble
        self._tau, self._metropolis, self._seed = options.tau, options.metropolis, setup.seed
        self._chain_count = options.chains
        self._data = torch.from_numpy(np.ascontiguousarray(data, dtype=np.float32)).to(device)
        samples = setup.member_samples(len(data))
        self._samples = None if samples is None else torch.from_numpy(samples).to(device)
        self.dataset_size = len(data) if samples is None else samples.shape[1]
        mean = self._data.mean(0)
        self._variance = float((self._data - mean).square().mean())
        if self._variance == 0:
            raise InputError("all rows of the data are the same; there is nothing to learn a density of.")
        widths = parse_widths(options.widths)
        self.module = EnergyNetwork(widths, mean, self._variance, setup)
        self._linear = [layer for layer in self.module.layers if isinstance(layer, BatchedLinear)]
        names = [f"hidden {index + 1}" for index in range(len(widths))] + ["energy"]
        self.layers = tuple(
            Layer(name, (layer.weight.numel() + layer.bias.numel()) // setup.ensemble)
            for name, layer in zip(names, self._linear, strict=True)
        )
        self.layer_parameters = tuple((f"layers.{i}.weight", f"layers.{i}.bias") for i in range(len(names)))
        # Unadjusted Langevin steps leave a density near p, not p itself, invariant: nothing measured along them is free
        # of that bias, and no standard error tells of it.
        biased = dict.fromkeys(BIASED_WITHOUT_METROPOLIS, "substitute") if not options.metropolis else {}
        self.figures: Mapping[str, str] = setup.figures | biased
        self._chain_generator = setup.generator("learning chains")
        self._generator = setup.generator("measurement")
        self._step_size = torch.full((setup.ensemble,), options.step_size * self._variance, device=device)
        self._chains = self._base_samples(options.learning_chains, self._chain_generator)
        self._population: Population | None = None
        self._updates = 0
        self._tracker = LogPartitionTracker()

    def gradient(self, indices: Tensor, *, measure_noise: bool) -> Batch:
        """Negative log-likelihood of the samples [K, b], up to the sampling of its second term, and its gradient."""
        data = self._rows(indices)
        self._updates += 1
        moved = langevin(
            self.module, self._chains, self._tau, self._step_size, self._chain_generator, metropolis=self._metropolis
        )
        self._chains = moved.positions
        if self._metropolis:
            # The chains that measure take this step size too; it knows nothing of where they are, so p stays invariant.
            self._step_size = self._step_size * (ADAPTATION * (moved.acceptance - TARGET_ACCEPTANCE)).exp()
        chain_energy, chain_noise = self._backward(self._chains, measure_noise)
        gradients = [parameter.grad for parameter in self.module.parameters()]
        energy, noise = self._backward(data, measure_noise)
        for parameter, of_chains in zip(self.module.parameters(), gradients, strict=True):
            if parameter.grad is not None and of_chains is not None:
                parameter.grad -= of_chains
        sampler_noise = None if chain_noise is None else chain_noise / self._chains.shape[1]
        beside = chain_energy[:, torch.arange(energy.shape[1], device=energy.device) % chain_energy.shape[1]]
        log_z = self._tracker.log_partition(self.module)
        return Batch(energy.mean(1) + log_z, (energy < beside).float().mean(1), noise, sampler_noise)

    def full_gradient(self) -> dict[str, Tensor]:
        """∇U_B: the whole data set against the measuring chains, reweighted to the present θ."""
        halves = self.full_gradient_halves()
        return {name: (first + halves[1][name]) / 2 for name, first in halves[0].items()}

    def full_gradient_halves(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """∇U_B twice: the whole data set against either half of the measuring chains."""
        parameters = dict(self.module.named_parameters())
        data = {name: torch.zeros_like(parameter) for name, parameter in parameters.items()}

        def add(totals: dict[str, Tensor], energies: Tensor, weights: Tensor | float) -> None:
            gradients = torch.autograd.grad((energies * weights).sum(), list(parameters.values()))
            for total, gradient in zip(totals.values(), gradients, strict=True):
                total += gradient

        for start in range(0, self.dataset_size, CHUNK):
            stop = min(start + CHUNK, self.dataset_size)
            positions = torch.arange(start, stop, device=self._data.device).expand(self.ensemble, -1)
            add(data, self.module(self._rows(positions)), 1.0 / self.dataset_size)
        population = self._held_population()
        log_weights = torch.from_numpy(population.log_weights_at(double(parameters))).to(self._data.device)
        first, second = data, {name: total.clone() for name, total in data.items()}
        for totals, half in zip((first, second), halves_of(population.positions.shape[1]), strict=True):
            add(totals, self.module(population.positions[:, half]), -log_weights[:, half].softmax(1).float())
        return first, second

    def begin(self) -> Reading:
        """The reading at the present θ, which must be the initial one: chains start as exact samples of the base."""
        theta = double(dict(self.module.named_parameters()))
        positions = self._base_samples(self._chain_count, self._generator)
        dimension = positions.shape[2]
        log_z = np.full((self.ensemble, 1), dimension / 2 * math.log(2 * math.pi * self._variance))
        self._population = Population(self._energy, self._sweep, theta, positions, log_z, seed=self._seed)
        return self._read(self._population)

    def transition(self) -> tuple[Transition, Reading]:
        """From the remembered θ; the measuring chains take τ steps for every update since."""
        population = self._held_population()
        theta = double(dict(self.module.named_parameters()))
        transition = population.transition(theta, self._tau * max(self._updates, 1))
        self._updates = 0
        return transition, self._read(population)

    def state_dict(self) -> dict[str, Any]:
        """Chains, step sizes, what is remembered, and generators."""
        return {
            "chains": self._chains,
            "step_size": self._step_size,
            "population": None if self._population is None else self._population.state_dict(),
            "tracker": self._tracker.state_dict(),
            "updates": self._updates,
            "generators": (self._chain_generator.get_state(), self._generator.get_state()),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`."""
        state = on_device(dict(state), self._data.device)
        self._chains, self._step_size, self._updates = state["chains"], state["step_size"], state["updates"]
        held = state["population"]
        self._population = None if held is None else Population.from_state(self._energy, self._sweep, held)
        self._tracker.load_state_dict(state["tracker"])
        for generator, kept in zip((self._chain_generator, self._generator), state["generators"], strict=True):
            generator.set_state(kept)

    def _held_population(self) -> Population:
        if self._population is None:
            raise RuntimeError("a transition needs a beginning")
        return self._population

    def _read(self, population: Population) -> Reading:
        samples = population.samples(TRACKED, self._generator)
        self._tracker.restart(self.module, samples, torch.from_numpy(population.trajectory.log_partition))
        return population.reading()

    def _backward(self, x: Tensor, measure_noise: bool) -> tuple[Tensor, Tensor | None]:
        """Energies [K, N], and `.grad` of their mean; the noise of each layer where asked for."""
        if not measure_noise or x.shape[1] < 2:
            energies = self.module(x)
            fill_gradients(self.module, energies)
            return energies.detach(), None
        with recording(self._linear) as tape:
            energies = self.module(x)
        return energies.detach(), fill_gradients_and_noise(self.module, energies, tape)

    def _energy(self, parameters: Parameters, x: Tensor) -> Tensor:
        energies: Tensor = functional_call(self.module, parameters, (x.double(),))
        return energies

    def _sweep(self, positions: Tensor, steps: int) -> Tensor:
        moved = langevin(self.module, positions, steps, self._step_size, self._generator, metropolis=self._metropolis)
        return moved.positions

    def _rows(self, indices: Tensor) -> Tensor:
        return self._data[indices if self._samples is None else self._samples.gather(1, indices)]

    def _base_samples(self, count: int, generator: torch.Generator) -> Tensor:
        shape = (self.ensemble, count, self._data.shape[1])
        noise = torch.randn(shape, generator=generator, device=self._data.device)
        mean: Tensor = self.module.mean
        return mean + math.sqrt(self._variance) * noise
