"""Restricted Boltzmann machine: X is the visible layer v ∈ {0,1}^n, φ = F(v) + ln Z.

The gradient is contrastive: data against Gibbs chains, persistent (PCD-τ) or started at the data (CD-τ). The
thermodynamics is exact where the states can be enumerated; else it comes from chains of its own, see `rbm_measure`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from thermotui.errors import InputError
from thermotui.probe.gradient_norms import sample_noise_trace
from thermotui.runlog.schema import Layer
from thermotui.thermo.trajectory import BLOCKS
from thermotui.thermo.transition import Reading, Transition
from trainers.data.binary import load_binary
from trainers.families.draws import double
from trainers.families.options import RBMOptions
from trainers.families.ppm import Batch
from trainers.families.rbm_measure import Chains, Enumerated, ExactDraws, Measure
from trainers.families.rbm_model import ENUMERABLE, RBM, free_energy, free_energy_of_fields
from trainers.samplers.gibbs import block_gibbs
from trainers.samplers.tracking import TRACKED, LogPartitionTracker
from trainers.setup import Setup
from trainers.state import on_device

TABLE = 2**22
"""Visible states of all members together at most, to read every figure from the table of all probabilities."""

CHUNK = 4096


def build(options: RBMOptions, setup: Setup) -> RBMFamily:
    """The machines of these options; InputError for those that cannot be."""
    for name in ("hidden", "tau", "learning_chains", "check_temperatures"):
        if getattr(options, name) < 1:
            raise InputError(f"--{name.replace('_', '-')} {getattr(options, name)} must be at least 1.")
    if options.check_every < 0:
        raise InputError(f"--check-every {options.check_every} must not be negative.")
    if options.initial_scale < 0:
        raise InputError(f"--initial-scale {options.initial_scale} must not be negative.")
    return RBMFamily(load_binary(options.data, options.data_dir), options, setup)


class RBMFamily:
    """K machines side by side (protocol `trainers.families.ppm.PPM`)."""

    name = "rbm"
    accuracy_name = "fraction of the mini-batch's pixels that one sweep v → h → v, in probabilities, restores"
    layers: tuple[Layer, ...]
    layer_parameters = (("weights",), ("visible_bias",), ("hidden_bias",))

    def __init__(self, data: np.ndarray[Any, np.dtype[np.float32]], options: RBMOptions, setup: Setup) -> None:
        """data: [n, n_v] of 0 and 1; InputError for anything else."""
        if data.ndim != 2 or not np.isin(data, (0, 1)).all():
            raise InputError("an RBM learns from rows of 0 and 1; binarise the data first.")
        device = setup.device
        self.ensemble = setup.ensemble
        self._tau, self._persistent = options.tau, options.persistent
        self._data = torch.from_numpy(np.ascontiguousarray(data, dtype=np.float32)).to(device)
        samples = setup.member_samples(len(data))
        self._samples = None if samples is None else torch.from_numpy(samples).to(device)
        self.dataset_size = len(data) if samples is None else samples.shape[1]

        # Half a pseudo-count on either side keeps the logit of a pixel that never changes finite.
        mean = (data.sum(0) + 0.5) / (len(data) + 1)
        base_bias = torch.from_numpy(np.log(mean / (1 - mean)).astype(np.float32)).to(device)
        self.module = _fresh_machines(base_bias, options, setup)
        self.layers = tuple(
            Layer(name.replace("_", " "), parameter[0].numel()) for name, parameter in self.module.named_parameters()
        )
        self._chain_generator = setup.generator("learning chains")
        self._generator = setup.generator("measurement")
        self._chains = (
            torch.rand(
                setup.ensemble, options.learning_chains, data.shape[1], generator=self._chain_generator, device=device
            )
            < base_bias.sigmoid()
        ).float()
        self._measure = self._choose_measure(options, setup, base_bias)
        kinds = dict(self._measure.kinds)
        if setup.ensemble == 1:
            kinds = {name: kind for name, kind in kinds.items() if name != "entropy_marginal"}
        self.figures: Mapping[str, str] = setup.figures | kinds
        self._updates = 0
        self._tracker = LogPartitionTracker()

    def gradient(self, indices: Tensor, *, measure_noise: bool) -> Batch:
        """Negative log-likelihood of the samples [K, b], up to the sampling of its second term, and its gradient.

        The noise is that of the data and of the chains, each over its own number.
        """
        theta = {name: parameter.detach() for name, parameter in self.module.named_parameters()}
        data = self._rows(indices)
        self._updates += 1
        start = self._chains if self._persistent else data
        chains = block_gibbs(
            theta["weights"], theta["visible_bias"], theta["hidden_bias"], start, self._tau, self._chain_generator
        )
        if self._persistent:
            self._chains = chains
        fields = _hidden_fields(theta, data)
        hidden = fields.sigmoid()
        chain_hidden = _hidden_probabilities(theta, chains)
        positive, negative = _mean_moments(data, hidden), _mean_moments(chains, chain_hidden)
        for name, parameter in self.module.named_parameters():
            parameter.grad = negative[name] - positive[name]
        noise = sampler_noise = None
        if measure_noise and data.shape[1] > 1:
            pairs = (data, hidden), (chains, chain_hidden)
            noise, sampler_noise = self._noise(*pairs, positive, negative)
        restored = torch.baddbmm(theta["visible_bias"].unsqueeze(1), hidden, theta["weights"].mT) > 0
        accuracy = (restored == (data > 0.5)).float().mean((1, 2))
        loss = self._loss(theta, data, fields)
        return Batch(loss, accuracy, noise, sampler_noise, sampled=not self._persistent)

    def full_gradient(self) -> dict[str, Tensor]:
        """∇U_B: the whole data set against the model's moments, exact or from the measuring chains."""
        first, second = self.full_gradient_halves()
        return {name: (gradient + second[name]) / 2 for name, gradient in first.items()}

    def full_gradient_halves(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """∇U_B twice: against the moments of either half of the measuring chains, or the exact ones."""
        theta = {name: parameter.detach() for name, parameter in self.module.named_parameters()}
        totals = {name: torch.zeros_like(tensor) for name, tensor in theta.items()}
        for start in range(0, self.dataset_size, CHUNK):
            stop = min(start + CHUNK, self.dataset_size)
            positions = torch.arange(start, stop, device=self._data.device).expand(self.ensemble, -1)
            data = self._rows(positions)
            for name, mean in _mean_moments(data, _hidden_probabilities(theta, data)).items():
                totals[name] += mean * ((stop - start) / self.dataset_size)
        halves = [
            {name: moments[name].to(total.dtype) - total for name, total in totals.items()}
            for moments in self._measure.moments(double(theta))
        ]
        return halves[0], halves[-1]

    def begin(self) -> Reading:
        """Entropies, informations and ln Z at the present θ."""
        theta = double(dict(self.module.named_parameters()))
        reading = self._measure.begin(theta)
        self._track(theta)
        return reading

    def transition(self) -> tuple[Transition, Reading]:
        """From the remembered θ; the measuring chains take τ sweeps for every update since."""
        theta = double(dict(self.module.named_parameters()))
        transition, reading = self._measure.transition(theta, self._tau * max(self._updates, 1))
        self._updates = 0
        self._track(theta)
        return transition, reading

    def state_dict(self) -> dict[str, Any]:
        """Chains, remembered figures and generators."""
        return {
            "chains": self._chains,
            "measure": self._measure.state_dict(),
            "updates": self._updates,
            "tracker": self._tracker.state_dict(),
            "generators": (self._chain_generator.get_state(), self._generator.get_state()),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`."""
        state = on_device(dict(state), self._data.device)
        self._chains, self._updates = state["chains"], state["updates"]
        self._tracker.load_state_dict(state["tracker"])
        self._measure.load_state_dict(state["measure"])
        for generator, held in zip((self._chain_generator, self._generator), state["generators"], strict=True):
            generator.set_state(held.cpu())

    def _choose_measure(self, options: RBMOptions, setup: Setup, base_bias: Tensor) -> Measure:
        visible = self._data.shape[1]
        smaller = min(visible, options.hidden)
        if options.partition == "exact" and smaller > ENUMERABLE:
            raise InputError(
                f"--hidden {options.hidden}: --partition exact would sum over 2^{smaller} states; take at most "
                f"{ENUMERABLE} hidden units, or --partition sampled."
            )
        if options.partition != "sampled":
            if visible <= ENUMERABLE and setup.ensemble * 2**visible <= TABLE:
                return Enumerated(setup.ensemble)
            if options.hidden <= ENUMERABLE:
                return ExactDraws(max(setup.probe_size, TRACKED), self._generator)
        if options.partition == "exact":
            raise InputError(
                f"--ensemble {setup.ensemble}: --partition exact would hold {setup.ensemble} tables of 2^{visible} "
                f"probabilities; take at most {TABLE >> visible} members or {ENUMERABLE} hidden units, or "
                "--partition sampled."
            )
        if options.chains < BLOCKS or options.chains % BLOCKS:
            raise InputError(f"--chains {options.chains} must be a multiple of {BLOCKS}.")
        return Chains(
            options.chains,
            base_bias,
            self._generator,
            setup.seed,
            check_every=options.check_every,
            check_temperatures=options.check_temperatures,
        )

    def _rows(self, indices: Tensor) -> Tensor:
        return self._data[indices if self._samples is None else self._samples.gather(1, indices)]

    def _noise(
        self,
        data: tuple[Tensor, Tensor],
        chains: tuple[Tensor, Tensor],
        positive: Mapping[str, Tensor],
        negative: Mapping[str, Tensor],
    ) -> tuple[Tensor, Tensor | None]:
        """Trace of the covariance of a per-sample gradient, and what persistent chains add to the mean's, [K, 3]."""
        batch_size, count = data[0].shape[1], chains[0].shape[1]
        if self._persistent:
            noise = sample_noise_trace(_inner(data, data), _squares(positive), batch_size).T
            if count == 1:
                return noise, None
            return noise, sample_noise_trace(_inner(chains, chains), _squares(negative), count).T / count
        # Each chain started at a sample of the batch: the two belong to one gradient, and are correlated.
        squared = _inner(data, data) + _inner(chains, chains) - 2 * _inner(data, chains)
        difference = {name: positive[name] - negative[name] for name in positive}
        return sample_noise_trace(squared, _squares(difference), batch_size).T, None

    def _track(self, theta: dict[str, Tensor]) -> None:
        single = {name: tensor.float() for name, tensor in theta.items()}
        self._tracker.restart(
            lambda samples: free_energy(single, samples),
            self._measure.samples(TRACKED, self._generator).float(),
            torch.from_numpy(self._measure.log_partition()),
        )

    def _loss(self, theta: dict[str, Tensor], data: Tensor, fields: Tensor) -> Tensor:
        """−ln p of the samples, [K]; NaN before `begin`."""
        log_z = self._tracker.log_partition(lambda samples: free_energy(theta, samples))
        return free_energy_of_fields(theta, data, fields).mean(1) + log_z


def _fresh_machines(base_bias: Tensor, options: RBMOptions, setup: Setup) -> RBM:
    shape = (setup.ensemble, len(base_bias), options.hidden)
    generator = setup.generator("parameters")
    weights = options.initial_scale * torch.randn(shape, generator=generator, device=setup.device)
    return RBM(
        weights,
        base_bias.repeat(setup.ensemble, 1),
        torch.zeros(setup.ensemble, options.hidden, device=setup.device),
    )


def _hidden_fields(theta: Mapping[str, Tensor], visible: Tensor) -> Tensor:
    return torch.baddbmm(theta["hidden_bias"].unsqueeze(1), visible, theta["weights"])


def _hidden_probabilities(theta: Mapping[str, Tensor], visible: Tensor) -> Tensor:
    return _hidden_fields(theta, visible).sigmoid_()


def _mean_moments(visible: Tensor, hidden: Tensor) -> dict[str, Tensor]:
    """Means of v hᵀ, v and h over the samples [K, N, …]."""
    return {
        "weights": visible.mT @ hidden / visible.shape[1],
        "visible_bias": visible.mean(1),
        "hidden_bias": hidden.mean(1),
    }


def _inner(left: tuple[Tensor, Tensor], right: tuple[Tensor, Tensor]) -> Tensor:
    """Σ_n of the inner products of v hᵀ, of v and of h of the n-th samples, [3, K]: ⟨v hᵀ, v' h'ᵀ⟩ = (v·v')(h·h')."""
    rows, columns = (left[0] * right[0]).sum(2), (left[1] * right[1]).sum(2)
    return torch.stack([rows * columns, rows, columns]).sum(2)


def _squares(moments: Mapping[str, Tensor]) -> Tensor:
    """Squared norms of the three, [3, K]."""
    return torch.stack(
        [moments[name].flatten(1).square().sum(1) for name in ("weights", "visible_bias", "hidden_bias")]
    )
