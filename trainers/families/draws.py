"""Thermodynamics from exact independent draws of a model whose φ = −ln p(x|θ) is known, constants included."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from thermotui.thermo.information import log_mixture, sampled_reading
from thermotui.thermo.statistics import Array
from thermotui.thermo.transition import Reading, Transition

Parameters = dict[str, Tensor]

LARGEST = 0.5
"""Variance of Δφ above which exp(−Δφ) has too long a tail to be relied on."""
WINDOW = 16
"""Past θ in the mixture of a single run."""


class Draws:
    """P fresh draws of each of K members at every reading.

    draw(θ) → (samples [K, P, …], whatever `negative_log_p` needs to know of θ); negative_log_p(θ, known, samples) → φ
    [K, P] as float64 on the host.
    """

    def __init__(
        self,
        draw: Callable[[Parameters], tuple[Tensor, Any]],
        negative_log_p: Callable[[Parameters, Any, Tensor], Array],
        log_partition: Callable[[Any], Array | None],
        *,
        unbiased: bool = True,
    ) -> None:
        """log_partition(known) → ln Z [K], or None. unbiased: <exp(−Δφ)> = 1, which a bound of φ does not keep."""
        self._draw, self._phi, self._log_partition = draw, negative_log_p, log_partition
        self._unbiased = unbiased
        self._samples: Tensor | None = None
        self._phi_before: Array | None = None
        self._window: list[tuple[Parameters, Any]] = []

    @property
    def samples(self) -> Tensor:
        """The draws of the last reading, [K, P, …]; RuntimeError before `begin`."""
        if self._samples is None:
            raise RuntimeError("a transition needs a beginning")
        return self._samples

    def begin(self, parameters: Parameters) -> Reading:
        """Draw at θ and read."""
        self._samples, known = self._draw(parameters)
        self._phi_before = self._phi(parameters, known, self._samples)
        return self._reading(parameters, known)

    def transition(self, parameters: Parameters) -> tuple[Transition, Reading]:
        """Work and heat since the remembered θ.

        The work is the mean of Δφ, by `less_noisy` where <exp(−Δφ)> = 1 holds.
        """
        old = self.samples
        before = self._phi_before
        if before is None:
            raise RuntimeError("a transition needs a beginning")
        self._samples, known = self._draw(parameters)
        carried = self._phi(parameters, known, old)
        self._phi_before = self._phi(parameters, known, self._samples)
        delta = carried - before
        transition = Transition(
            work=less_noisy(delta) if self._unbiased else delta,
            heat=self._phi_before - carried,
            work_half_variance=0.5 * delta.var(axis=1, ddof=1),
            effective_sample_size=np.full(len(delta), float(delta.shape[1])),
        )
        return transition, self._reading(parameters, known)

    def state_dict(self) -> dict[str, Any]:
        """The draws, their φ and the window."""
        return {"samples": self._samples, "phi": self._phi_before, "window": list(self._window)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`."""
        self._samples, self._phi_before = state["samples"], state["phi"]
        self._window = list(state["window"])

    def _reading(self, parameters: Parameters, known: Any) -> Reading:
        samples, phi = self.samples, self._phi_before
        assert phi is not None
        members = len(phi)
        log_z = self._log_partition(known)
        log_partition = None if log_z is None else log_z[:, None]
        if members > 1:
            rows = [self._phi(parameters, known, own.expand_as(samples)) for own in samples]
            reading = sampled_reading(-np.stack(rows))
        else:
            self._window.append(({name: tensor.clone() for name, tensor in parameters.items()}, known))
            self._window = self._window[-WINDOW:]
            past = np.stack([-self._phi(theta, of, samples)[0] for theta, of in self._window])
            reading = Reading(phi, phi + (-phi[0] - log_mixture(past))[None])
        return Reading(reading.entropy_conditional, reading.entropy_marginal, reading.l_info_upper, log_partition)


def less_noisy(delta: Array) -> Array:
    """Δφ + c(exp(−Δφ) − 1) of the draws [K, P]: of the same mean as Δφ, since <exp(−Δφ)> = 1, and less noise.

    c = v/(exp(v) − 1), with the variance v of Δφ, leaves least where Δφ is Gaussian: next to nothing for small steps.
    It is 0 beyond `LARGEST`, where a few draws, which may be missing, make up much of exp(−Δφ). Either half of the
    draws takes the v of the other, so that the mean stays exact; with fewer than four it is Δφ itself.
    """
    count = delta.shape[1]
    if count < 4:
        return delta
    halves = delta[:, : count // 2], delta[:, count // 2 :]
    parts = []
    for own, other in (halves, halves[::-1]):
        variance = other.var(axis=1, ddof=1)
        small = (variance > 0) & (variance <= LARGEST)
        share = variance[small] / np.expm1(variance[small])
        part = own.copy()
        part[small] += share[:, None] * np.expm1(-own[small])
        parts.append(part)
    return np.concatenate(parts, axis=1)


def double(parameters: Mapping[str, torch.nn.Parameter | Tensor]) -> Parameters:
    """Detached float64 copies by name."""
    return {name: tensor.detach().double().clone() for name, tensor in parameters.items()}
