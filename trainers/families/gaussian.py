"""A Gaussian, p(x|θ) = N(m, σ² 1) with θ = m, or θ = (m, ln σ): the oracle, where every figure has a closed form.

SGD on φ with a = r/σ² makes m an autoregressive process: its variance obeys v' = (1 − a)² v + a² C/b. Work, heat and
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
from thermotui.thermo.information import Array, log_mixture, rounding, sampled_reading
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


class _Parameters(nn.Module):
    def __init__(self, mean: Tensor, log_scale: Tensor, learn_scale: bool) -> None:
        super().__init__()
        self.mean = nn.Parameter(mean)
        self.log_scale = nn.Parameter(log_scale, requires_grad=learn_scale)


class Gaussian:
    """K Gaussians side by side, in float64 (protocol `trainers.families.ppm.PPM`)."""

    name = "gaussian"
    accuracy_name = "distance of the mean from that of the data set"

    def __init__(self, options: GaussianOptions, setup: Setup) -> None:
        self.ensemble = setup.ensemble
        self._dimension = options.dimension
        generator = setup.numpy_generator("data")
        noise = generator.standard_normal((options.dataset_size, options.dimension))
        data = torch.from_numpy(options.data_sigma * noise).to(setup.device)
        samples = setup.member_samples(options.dataset_size)
        positions = np.arange(options.dataset_size)[None] if samples is None else samples
        self.data = data[torch.from_numpy(positions).to(setup.device)]
        """The members' data sets, [K, N, d], or [1, N, d] where all have the same."""
        self.dataset_size = self.data.shape[1]
        self._rows = torch.arange(len(self.data), device=setup.device).unsqueeze(1)
        mean = torch.full((setup.ensemble, options.dimension), options.start, dtype=torch.float64)
        log_scale = torch.full((setup.ensemble, 1), math.log(options.sigma), dtype=torch.float64)
        self.module = _Parameters(mean.to(setup.device), log_scale.to(setup.device), options.learn_scale)
        self.layers: tuple[Layer, ...] = (Layer("mean", options.dimension),)
        self.layer_parameters: tuple[tuple[str, ...], ...] = (("mean",),)
        if options.learn_scale:
            self.layers += (Layer("log scale", 1),)
            self.layer_parameters += (("log_scale",),)
        self._learn_scale = options.learn_scale
        exact = ("work", "heat", "m_info", "entropy_conditional", "ep_conditional")
        self.figures: Mapping[str, str] = setup.figures | dict.fromkeys(exact, "exact") | {"log_partition": "none"}
        # Each member has its own draws, so that the mean over the members is sharper than each; pairs ±ε, so that what
        # is linear in ε cancels.
        shape = (setup.ensemble, options.dimension, (setup.probe_size + 1) // 2)
        half = setup.numpy_generator("draws").standard_normal(shape)
        self._draws: Array = np.concatenate([half, -half], axis=2)
        self._before: Array | None = None
        self._past: Array = np.empty((0, options.dimension + 1))

    def gradient(self, indices: Tensor, *, measure_noise: bool) -> Batch:
        """∂φ/∂m = (m − x)/σ² and, where it is learnt, ∂φ/∂ln σ = d − ‖x − m‖²/σ², over the samples [K, b]."""
        samples = self.data[self._rows, indices]
        mean, log_scale = self.module.mean.detach(), self.module.log_scale.detach()
        variance = torch.exp(2 * log_scale)
        away = (mean.unsqueeze(1) - samples) / variance.unsqueeze(2)
        squares = variance * away.square().sum(2)
        self.module.mean.grad = away.mean(1)
        if self._learn_scale:
            self.module.log_scale.grad = self._dimension - squares.mean(1, keepdim=True)
        noise = None
        if measure_noise and indices.shape[1] > 1:
            noise = away.var(1).sum(1, keepdim=True)
            if self._learn_scale:
                noise = torch.cat([noise, squares.var(1).unsqueeze(1)], dim=1)
        energy = squares.mean(1) / 2 + self._dimension * (log_scale[:, 0] + math.log(2 * math.pi) / 2)
        return Batch(energy, (mean - self.data.mean(1)).norm(dim=1), noise)

    def full_gradient(self) -> dict[str, Tensor]:
        """The same over each member's whole data set."""
        mean, variance = self.module.mean.detach(), torch.exp(2 * self.module.log_scale.detach())
        away = mean - self.data.mean(1)
        full = {"mean": away / variance}
        if self._learn_scale:
            squares = away.square().sum(1) + self.data.var(1, unbiased=False).sum(1)
            full["log_scale"] = self._dimension - squares.unsqueeze(1) / variance
        return full

    def begin(self) -> Reading:
        """Entropies and informations at the present θ."""
        self._before = self._parameters()
        return self._reading(self._before)

    def transition(self) -> tuple[Transition, Reading]:
        """Work as the KL divergence of two Gaussians, heat <φ_t>_t − <φ_t>_{t−1} from the moments; both exact.

        At constant σ the work is ‖Δm‖²/2σ². RuntimeError before `begin`.
        """
        if self._before is None:
            raise RuntimeError("a transition needs a beginning")
        before, now = self._before, self._parameters()
        self._before = now
        growth = now[:, -1:] - before[:, -1:]
        away = np.square(now[:, :-1] - before[:, :-1]).sum(1, keepdims=True) / np.exp(2 * now[:, -1:])
        # e^{−2g} − 1 + 2g without the cancellation that would swamp a small step.
        work = away / 2 + self._dimension / 2 * (np.expm1(-2 * growth) + 2 * growth)
        relaxed, driven = self._mean_energy(now, now), self._mean_energy(now, before)
        return Transition(work, relaxed - driven, first_law_rounding=rounding(relaxed, driven)), self._reading(now)

    def state_dict(self) -> dict[str, Any]:
        """The remembered θ and, for a single run, the window of past ones."""
        return {"before": self._before, "past": self._past}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`."""
        self._before, self._past = state["before"], state["past"]

    def _parameters(self) -> Array:
        """(m, ln σ) of every member, [K, d + 1]."""
        return np.concatenate([p.detach().cpu().numpy() for p in (self.module.mean, self.module.log_scale)], axis=1)

    def _mean_energy(self, of: Array, under: Array) -> Slots:
        """<φ_θ> for θ = `of` under the model of θ' = `under`: (‖m − m'‖² + dσ'²)/2σ² + d ln σ + d/2 ln 2π; [K, 1]."""
        squares = np.square(of[:, :-1] - under[:, :-1]).sum(1, keepdims=True)
        squares += self._dimension * np.exp(2 * under[:, -1:])
        norm = self._dimension * (of[:, -1:] + math.log(2 * math.pi) / 2)
        return np.asarray(squares / (2 * np.exp(2 * of[:, -1:])) + norm)

    def _reading(self, now: Array) -> Reading:
        exact = self._dimension / 2 * (math.log(2 * math.pi * math.e) + 2 * now[:, -1:])
        if self.ensemble > 1:
            return _fold(exact, sampled_reading(self._log_p(now, now), exact))
        self._past = np.concatenate([self._past, now])[-WINDOW:]
        log_p = self._log_p(now, self._past)[0]
        own = self._log_p(now, now)[0, 0]
        return _fold(exact, Reading(exact, exact + (own - log_mixture(log_p))[None]))

    def _log_p(self, under: Array, of: Array) -> Array:
        """ln p(x|θ_j) for x = m_k + σ_k ε, at [k, j, draw]; k over `under`, j over `of`."""
        scale_under, scale_of = np.exp(under[:, -1])[:, None, None], np.exp(of[:, -1])[:, None]
        shift = under[:, None, :-1] - of[None, :, :-1]
        squares = np.square(shift).sum(-1)[..., None] + scale_under**2 * np.square(self._draws).sum(1)[:, None]
        squares += 2 * scale_under * (shift @ self._draws)
        norm = self._dimension * (of[:, -1] + math.log(2 * math.pi) / 2)
        return np.asarray(-squares / (2 * scale_of**2) - norm[:, None])


def _fold(exact: Slots, reading: Reading) -> Reading:
    """One slot for each antithetic pair, since the two draws of a pair are not independent."""

    def fold(slots: Slots | None) -> Slots | None:
        return None if slots is None else slots.reshape(len(slots), 2, -1).mean(1)

    return Reading(exact, fold(reading.entropy_marginal), fold(reading.l_info_upper))
