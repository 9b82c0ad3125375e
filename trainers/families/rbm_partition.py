"""ln Z of an RBM's weights, with an interval: exact where it can be enumerated, else by annealing both ways."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike

from thermotui.errors import InputError
from thermotui.thermo.free_energy import annealed_ratio, bennett_acceptance_ratio
from thermotui.thermo.statistics import Array, Estimate
from trainers.families.rbm_model import ENUMERABLE, RBM, exact_log_partition
from trainers.samplers.annealing import anneal, base_log_partition, base_samples, temperatures
from trainers.samplers.gibbs import block_gibbs

LEVEL_ERRORS = 1.96


@dataclass(frozen=True)
class LogPartition:
    """ln Z in nats with its 95 % interval.

    forward and reverse: annealed importance sampling from the base and from the model, a stochastic lower and upper
    bound; None where the value is exact. `apart`: they differ by more than 3 standard errors, so that one of the two
    did not reach what the other saw, and no interval can be trusted; anneal more slowly.
    """

    value: float
    standard_error: float
    interval: tuple[float, float]
    forward: Estimate | None = None
    reverse: Estimate | None = None

    @property
    def exact(self) -> bool:
        """Whether every state was summed over."""
        return self.forward is None

    @property
    def apart(self) -> bool:
        """Whether forward and reverse disagree beyond 3 standard errors."""
        if self.forward is None or self.reverse is None:
            return False
        gap = abs(self.forward.value - self.reverse.value)
        return gap > 3 * float(np.hypot(self.forward.standard_error, self.reverse.standard_error))


def estimate_log_partition(
    rbm: RBM,
    *,
    particles: int = 128,
    steps: int = 5000,
    base_bias: ArrayLike | None = None,
    enumerate_states: bool = True,
    seed: int = 0,
) -> LogPartition:
    """ln Z of one machine (K = 1).

    Up to 20 units on the smaller side every state is summed over, unless `enumerate_states` is off. Beyond that
    `particles` are annealed over `steps` temperatures from independent visible units with `base_bias` [n_v] (the
    machine's own visible bias by default; the logit of the data's mean is better), relaxed, and annealed back; both
    sides' work goes into Bennett's ratio, whose interval is widened to hold the forward and the reverse figure. About
    4 · particles · steps · n_v · n_h multiplications. InputError for numbers below their minimum.
    """
    weights = rbm.weights.detach()
    if len(weights) != 1:
        raise InputError(f"estimate_log_partition takes one machine, not an ensemble of {len(weights)}.")
    for name, number in (("particles", particles), ("steps", steps)):
        if number < 2:
            raise InputError(f"{name} must be at least 2, not {number}.")
    if enumerate_states and rbm.smaller_side <= ENUMERABLE:
        value = float(exact_log_partition(rbm.parameters_by_name)[0])
        return LogPartition(value, 0.0, (value, value))
    parameters = {name: tensor.float() for name, tensor in rbm.parameters_by_name.items()}
    base = parameters["visible_bias"]
    if base_bias is not None:
        base = torch.as_tensor(np.asarray(base_bias), dtype=torch.float32, device=weights.device)[None]
        if base.shape != parameters["visible_bias"].shape or not torch.isfinite(base).all():
            raise InputError(f"base_bias must be {weights.shape[1]} finite numbers, one for each visible unit.")
    generator = torch.Generator(weights.device).manual_seed(seed)
    betas = temperatures(steps)
    reference = float(base_log_partition(base, weights.shape[2])[0])
    forward = anneal(parameters, base, base_samples(base, particles, generator), betas, generator)
    # The reverse runs start from the model: the forward particles by their weights, relaxed for a tenth of the path.
    chosen = torch.multinomial(forward.log_weights.softmax(1)[0], particles, replacement=True, generator=generator)
    start = block_gibbs(
        parameters["weights"],
        parameters["visible_bias"],
        parameters["hidden_bias"],
        forward.visible[:, chosen],
        max(steps // 10, 1),
        generator,
    )
    reverse = anneal(parameters, base, start, betas[::-1], generator)
    return combine(reference, forward.log_weights[0].cpu().numpy(), reverse.log_weights[0].cpu().numpy())


def combine(reference: float, forward: Array, reverse: Array) -> LogPartition:
    """ln Z from ln Z_0 and the log weights of forward and reverse runs, [N] each."""
    up, down = annealed_ratio(forward), annealed_ratio(reverse)
    both = bennett_acceptance_ratio(-forward, reverse).estimate()
    low = Estimate(reference + up.value, up.standard_error, up.effective_sample_size)
    high = Estimate(reference - down.value, down.standard_error, down.effective_sample_size)
    value, error = reference + both.value, both.standard_error
    interval = (
        min(low.value, value - LEVEL_ERRORS * error),
        max(high.value, value + LEVEL_ERRORS * error),
    )
    return LogPartition(value, error, interval, low, high)
