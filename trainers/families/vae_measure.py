"""Thermodynamics of a VAE: of the pair (x, z), exact given z, or of x alone by importance-weighted bounds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from thermotui.thermo.information import log_mixture, sampled_reading
from thermotui.thermo.statistics import Array
from thermotui.thermo.transition import Reading, Transition
from trainers.families.draws import Draws, Parameters, double
from trainers.families.vae_pixels import Pixels

WINDOW = 16
"""Past θ in the mixture of a single run."""


class JointMeasure:
    """X = (x, z). P fixed draws of z are the slots; means over x given z are closed forms.

    The mixture over members is taken at one drawn x for each z. I(X, Z; Θ) is at least I(X; Θ): z is part of X here.
    """

    kinds: Mapping[str, str] = {}

    def __init__(self, module: nn.Module, pixels: Pixels, latent: int, slots: int, generator: torch.Generator) -> None:
        self._module, self._pixels, self._generator = module, pixels, generator
        z = torch.randn(slots, latent, generator=generator, dtype=torch.float64, device=generator.device)
        self._z = z
        self._prior = latent / 2 * math.log(2 * math.pi * math.e)
        self._outputs: Tensor | None = None
        self._window: list[Tensor] = []

    def begin(self) -> Reading:
        """The reading at the present θ."""
        self._outputs = self._decode()
        return self._reading(self._outputs)

    def transition(self) -> tuple[Transition, Reading]:
        """dW = KL(p_{t−1} ‖ p_t) and dQ, each slot exact for its z; RuntimeError before `begin`."""
        if self._outputs is None:
            raise RuntimeError("a transition needs a beginning")
        before, after = self._outputs, self._decode()
        self._outputs = after
        crossed = self._pixels.cross_entropy(before, after)
        transition = Transition(
            work=_host(crossed - self._pixels.cross_entropy(before, before)),
            heat=_host(self._pixels.cross_entropy(after, after) - crossed),
        )
        return transition, self._reading(after)

    def state_dict(self) -> dict[str, Any]:
        """The remembered outputs, the window and the generator."""
        return {
            "z": self._z,
            "outputs": self._outputs,
            "window": list(self._window),
            "generator": self._generator.get_state(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`."""
        self._z, self._outputs, self._window = state["z"], state["outputs"], list(state["window"])
        self._generator.set_state(state["generator"].cpu())

    def _decode(self) -> Tensor:
        theta = double(dict(self._module.named_parameters()))
        members = len(next(iter(theta.values())))
        with torch.no_grad():
            outputs: Tensor = functional_call(self._module, theta, (self._z.expand(members, -1, -1),))
        return outputs

    def _reading(self, outputs: Tensor) -> Reading:
        conditional = self._prior + _host(self._pixels.cross_entropy(outputs, outputs))
        drawn = self._pixels.draw(outputs, self._generator)
        if len(outputs) > 1:
            log_p = np.stack([-_host(self._pixels.negative_log_p(outputs, x.expand_as(outputs))) for x in drawn])
            return sampled_reading(log_p, conditional)
        self._window = [*self._window, outputs][-WINDOW:]
        past = np.stack([-_host(self._pixels.negative_log_p(of, drawn))[0] for of in self._window])
        return Reading(conditional, conditional + (past[-1] - log_mixture(past))[None])


class MarginalMeasure:
    """X = x. −ln p(x) is bounded from above by the importance-weighted bound with M draws of q(z|x)."""

    kinds: Mapping[str, str] = {
        "entropy_conditional": "upper bound",
        **dict.fromkeys(
            (
                "work",
                "heat",
                "m_info",
                "ep_conditional",
                "ep_marginal",
                "ep_ignorance",
                "entropy_marginal",
                "l_info_lower",
                "l_info_upper",
                "learning_efficiency",
            ),
            "substitute",
        ),
    }

    def __init__(
        self,
        module: nn.Module,
        pixels: Pixels,
        latent: int,
        slots: int,
        importance_samples: int,
        generator: torch.Generator,
    ) -> None:
        self._module, self._pixels, self._generator = module, pixels, generator
        self._latent, self._slots, self._count = latent, slots, importance_samples
        # The same noise for every θ and member: differences of bounds are then those of the θ, not of the noise.
        self._noise = self._normal(slots, importance_samples, latent)
        self._draws = Draws(self._draw, self._bound, lambda known: None, unbiased=False)

    def begin(self) -> Reading:
        """The reading at the present θ."""
        return self._draws.begin(double(dict(self._module.named_parameters())))

    def transition(self) -> tuple[Transition, Reading]:
        """Differences of the bounds on the same x: substitutes for work and heat, and labelled so."""
        return self._draws.transition(double(dict(self._module.named_parameters())))

    def state_dict(self) -> dict[str, Any]:
        """The draws and the generator."""
        return {"draws": self._draws.state_dict(), "noise": self._noise, "generator": self._generator.get_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`."""
        self._noise = state["noise"]
        self._draws.load_state_dict(state["draws"])
        self._generator.set_state(state["generator"].cpu())

    @torch.no_grad()
    def _draw(self, parameters: Parameters) -> tuple[Tensor, Any]:
        members = len(next(iter(parameters.values())))
        z = self._normal(members, self._slots, self._latent)
        outputs = functional_call(self._module, parameters, (z,))
        return self._pixels.draw(outputs, self._generator), None

    @torch.no_grad()
    def _bound(self, parameters: Parameters, known: Any, x: Tensor) -> Array:
        """−ln (1/M) Σ_m p(x|z_m) p(z_m)/q(z_m|x), [K, P]."""
        encoder = {name.removeprefix("encoder."): t for name, t in parameters.items() if name.startswith("encoder.")}
        mean, log_variance = functional_call(self._module.get_submodule("encoder"), encoder, (x,)).chunk(2, dim=-1)
        noise = self._noise
        z = mean.unsqueeze(2) + (0.5 * log_variance).exp().unsqueeze(2) * noise
        outputs = functional_call(self._module, parameters, (z.flatten(1, 2),)).view(
            len(x), self._slots, self._count, -1
        )
        log_weights = (
            -self._pixels.negative_log_p(outputs, x.unsqueeze(2))
            - 0.5 * z.square().sum(-1)
            + 0.5 * (noise.square() + log_variance.unsqueeze(2)).sum(-1)
        )
        return _host(math.log(self._count) - log_weights.logsumexp(2))

    def _normal(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self._generator, dtype=torch.float64, device=self._generator.device)


def _host(values: Tensor) -> Array:
    return np.asarray(values.detach().cpu().numpy())
