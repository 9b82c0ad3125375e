"""What a family hands to the ledger: readings at a step and transitions between steps, slot by slot.

A slot is one independent sample position: a probe input, a Markov chain, an ancestral draw. Every estimator gives one
value per slot whose mean over the slots is the estimate (for a nonlinear estimator: the estimate plus the slot's
influence). Running totals are kept per slot, so the standard error of a total is right whether the slots are the same
inputs all along, autocorrelated chains or fresh draws. Exact figures have one slot.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Slots = NDArray[np.float64]
"""Shape [K, P] (members, slots), float64, in nats."""


@dataclass(frozen=True)
class Reading:
    """The state at one step, from which entropies and information are read.

    entropy_conditional: −ln p(x|θ_t) per slot. entropy_marginal: −ln p̄_t(x), the member itself in the mixture; None
    without a mixture. l_info_upper: ln p(x|θ_t) − ln of the mixture that leaves the member out; None where K < 3.
    log_partition: ln Z(θ_t) per slot (the mean is the estimate); None where the family has none.
    log_partition_forward, log_partition_reverse: checks of it by annealed importance sampling either way, one value per
    particle; None where none was made at this step.
    """

    entropy_conditional: Slots
    entropy_marginal: Slots | None = None
    l_info_upper: Slots | None = None
    log_partition: Slots | None = None
    log_partition_forward: Slots | None = None
    log_partition_reverse: Slots | None = None


@dataclass(frozen=True)
class Transition:
    """The increments of one transition θ_{t−stride} → θ_t.

    work: φ_t − φ_{t−1} under p_{t−1} (eq. 38). heat: φ_t under p_t minus φ_t under p_{t−1} (eq. 39).
    work_half_variance: ½ Var(ΔE), the second estimator of the step KL; None where exact.
    effective_sample_size: per member [K]; None where exact. relaxation: correlation [K] of the Markov chains' positions
    before and after the transition, 1 where they stood still; None where nothing is a chain. first_law_rounding: scale
    of the rounding error of one transition's first law, in nats, where both sides are exact.
    """

    work: Slots
    heat: Slots
    work_half_variance: NDArray[np.float64] | None = None
    effective_sample_size: NDArray[np.float64] | None = None
    relaxation: NDArray[np.float64] | None = None
    first_law_rounding: float = 1e-12
