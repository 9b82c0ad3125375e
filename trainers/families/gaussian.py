"""The mean of a Gaussian, p(x|θ) = N(θ, σ² 1): the oracle, where every figure has a closed form.

SGD on φ with a = r/σ² makes θ an autoregressive process: its variance obeys v' = (1 − a)² v + a² C/b. Work, heat and
S_{X|Θ} are closed forms; the entropy of the mixture over the ensemble has none and is a mean over antithetic draws.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from thermotui.errors import InputError
from thermotui.runlog.schema import Layer
from thermotui.thermo.information import Array, log_mixture, sampled_reading
from thermotui.thermo.transition import Reading, Slots, Transition
from trainers.families.options import GaussianOptions
from trainers.families.ppm import Batch
from trainers.setup import Setup

WINDOW = 64
"""Past parameters in the mixture of a single run."""


def build(options: GaussianOptions, setup: Setup) -> Gaussian:
    """The model of these options; InputError for values that cannot be."""
    for name in ("dimension", "sigma", "data_sigma", "dataset_size"):
        if not getattr(options, name) > 0:
            raise InputError(f"--{name.replace('_', '-')} {getattr(options, name)} must be positive.")
    return Gaussian(options, setup)


class _Mean(nn.Module):
    def __init__(self, start: Tensor) -> None:
        super().__init__()
        self.mean = nn.Parameter(start)


class Gaussian:
    """K Gaussian means side by side, in float64 (protocol `trainers.families.ppm.PPM`)."""

    name = "gaussian"
    accuracy_name = "distance of θ from the mean of the data set"
    layer_parameters = (("mean",),)

    def __init__(self, options: GaussianOptions, setup: Setup) -> None:
        self.ensemble = setup.ensemble
        self._dimension, self._sigma = options.dimension, options.sigma
        generator = setup.numpy_generator("data")
        noise = generator.standard_normal((options.dataset_size, options.dimension))
        data = torch.from_numpy(options.data_sigma * noise).to(setup.device)
        samples = setup.member_samples(options.dataset_size)
        positions = np.arange(options.dataset_size)[None] if samples is None else samples
        self.data = data[torch.from_numpy(positions).to(setup.device)]
        """The members' data sets, [K, N, d], or [1, N, d] where all have the same."""
        self.dataset_size = self.data.shape[1]
        self._rows = torch.arange(len(self.data), device=setup.device).unsqueeze(1)
        start = torch.full((setup.ensemble, options.dimension), options.start, dtype=torch.float64)
        self.module = _Mean(start.to(setup.device))
        self.layers = (Layer("mean", options.dimension),)
        self.figures: Mapping[str, str] = setup.figures | {
            "work": "exact",
            "heat": "exact",
            "m_info": "exact",
            "entropy_conditional": "exact",
            "ep_conditional": "exact",
            "log_partition": "none",
        }
        # Each member has its own draws, so that the mean over the members is sharper than each; pairs ±ε, so that what
        # is linear in ε cancels.
        shape = (setup.ensemble, options.dimension, (setup.probe_size + 1) // 2)
        half = setup.numpy_generator("draws").standard_normal(shape)
        self._draws: Array = np.concatenate([half, -half], axis=2)
        self._before: Array | None = None
        self._past: Array = np.empty((0, options.dimension))

    def gradient(self, indices: Tensor, *, measure_noise: bool) -> Batch:
        """−(x̄ − θ)/σ² of the samples [K, b]."""
        samples = self.data[self._rows, indices]
        mean = self.module.mean.detach()
        away = mean.unsqueeze(1) - samples
        self.module.mean.grad = away.mean(1) / self._sigma**2
        noise = None
        if measure_noise and indices.shape[1] > 1:
            noise = away.var(1).sum(1, keepdim=True) / self._sigma**4
        energy = away.square().sum(2).mean(1) / (2 * self._sigma**2) + self._log_norm
        return Batch(energy, (mean - self.data.mean(1)).norm(dim=1), noise)

    def full_gradient(self) -> dict[str, Tensor]:
        """(θ − mean of B)/σ²."""
        return {"mean": (self.module.mean.detach() - self.data.mean(1)) / self._sigma**2}

    def begin(self) -> Reading:
        """Entropies and informations at the present θ."""
        self._before = self._means()
        return self._reading(self._before)

    def transition(self) -> tuple[Transition, Reading]:
        """Work ‖Δθ‖²/2σ² (the KL divergence) and heat <φ_t>_t − <φ_t>_{t−1} from the moments; both exact."""
        if self._before is None:
            raise RuntimeError("a transition needs a beginning")
        before, now = self._before, self._means()
        self._before = now
        work = np.square(now - before).sum(1, keepdims=True) / (2 * self._sigma**2)
        heat = self._mean_energy(now, now) - self._mean_energy(now, before)
        return Transition(work, heat), self._reading(now)

    def state_dict(self) -> dict[str, Any]:
        """The remembered means and, for a single run, the window of past ones."""
        return {"before": self._before, "past": self._past}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`."""
        self._before, self._past = state["before"], state["past"]

    @property
    def _log_norm(self) -> float:
        return self._dimension / 2 * math.log(2 * math.pi * self._sigma**2)

    def _means(self) -> Array:
        return np.array(self.module.mean.detach().cpu().numpy())

    def _mean_energy(self, of: Array, under: Array) -> Slots:
        """<φ_θ> for θ = `of` under the model of θ' = `under`: (‖θ − θ'‖² + dσ²)/2σ² + ln norm; [K, 1]."""
        squared = np.square(of - under).sum(1, keepdims=True) + self._dimension * self._sigma**2
        return np.asarray(squared / (2 * self._sigma**2) + self._log_norm)

    def _reading(self, means: Array) -> Reading:
        exact = np.full((self.ensemble, 1), self._dimension / 2 + self._log_norm)
        if self.ensemble > 1:
            return _fold(exact, sampled_reading(self._log_p(means, means), exact))
        self._past = np.concatenate([self._past, means])[-WINDOW:]
        log_p = self._log_p(means, self._past)[0]
        own = self._log_p(means, means)[0, 0]
        return _fold(exact, Reading(exact, exact + (own - log_mixture(log_p))[None]))

    def _log_p(self, under: Array, of: Array) -> Array:
        """ln p(x|θ_j) for x = θ_k + σε, at [k, j, draw]; k over `under`, j over `of`."""
        shift = (under[:, None] - of[None]) / self._sigma
        squares = np.square(shift).sum(-1)[..., None] + np.square(self._draws).sum(1)[:, None]
        return np.asarray(-squares / 2 - shift @ self._draws - self._log_norm)


def _fold(exact: Slots, reading: Reading) -> Reading:
    """One slot for each antithetic pair, since the two draws of a pair are not independent."""

    def fold(slots: Slots | None) -> Slots | None:
        return None if slots is None else slots.reshape(len(slots), 2, -1).mean(1)

    return Reading(exact, fold(reading.entropy_marginal), fold(reading.l_info_upper))
