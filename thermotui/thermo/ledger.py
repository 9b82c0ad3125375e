"""The ledger: work, heat, entropy productions and informations of a run, in float64, with standard errors.

Totals are kept slot by slot. A figure is the mean over members and slots; its standard error is that of the mean over
slots, after averaging the members slot by slot, so that probe inputs shared by the members count once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thermotui.thermo.transition import Reading, Slots, Transition

EFFICIENCY_ERRORS = 3.0
"""How many standard errors M-info must exceed zero by before a ratio to it means something."""


class Ledger:
    """Running totals of one run of K members.

    With K = 1 the mixture of a reading is the window of the run's own past: it serves `l_info_window`, never the
    ensemble's bounds.
    """

    def __init__(self, ensemble: int) -> None:
        self._ensemble = ensemble
        self._transitions = 0
        self._work: Slots = np.zeros((ensemble, 1))
        self._heat: Slots = np.zeros((ensemble, 1))
        self._half_variance: NDArray[np.float64] | None = None
        self._rounding = 0.0
        self._first: Reading | None = None
        self._last: Reading | None = None

    def begin(self, step: int, reading: Reading) -> dict[str, float]:
        """Row 0 of `thermo`, without its time: totals zero, entropies and informations those of θ_0."""
        self._first = self._last = reading
        return self._row(step, reading, None)

    def advance(self, step: int, transition: Transition, reading: Reading) -> dict[str, float]:
        """Enter one transition; the row of `thermo` at its end, without its time. RuntimeError before `begin`."""
        with np.errstate(invalid="ignore", over="ignore"):
            self._work = self._work + transition.work
            self._heat = self._heat + transition.heat
            if transition.work_half_variance is not None:
                previous = 0.0 if self._half_variance is None else self._half_variance
                self._half_variance = previous + transition.work_half_variance
            self._transitions += 1
            self._rounding = float(np.hypot(self._rounding, transition.first_law_rounding))
            self._last = reading
            return self._row(step, reading, transition)

    def member_row(self) -> dict[str, NDArray[np.float64]]:
        """Each member's own totals and entropies, [K]: the fields of `members` that the ledger knows."""
        if self._last is None:
            raise RuntimeError("the ledger has not begun")
        marginal = self._last.entropy_marginal
        return {
            "work": self._work.mean(1),
            "heat": self._heat.mean(1),
            "entropy_conditional": self._last.entropy_conditional.mean(1),
            "entropy_marginal": np.full(self._ensemble, np.nan) if marginal is None else marginal.mean(1),
        }

    def state_dict(self) -> dict[str, Any]:
        """All that the next row depends on."""
        return {
            "transitions": self._transitions,
            "work": self._work,
            "heat": self._heat,
            "half_variance": self._half_variance,
            "rounding": self._rounding,
            "first": None if self._first is None else vars(self._first).copy(),
            "last": None if self._last is None else vars(self._last).copy(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`."""
        self._transitions = state["transitions"]
        self._work, self._heat = state["work"], state["heat"]
        self._half_variance = state["half_variance"]
        self._rounding = state["rounding"]
        self._first = None if state["first"] is None else Reading(**state["first"])
        self._last = None if state["last"] is None else Reading(**state["last"])

    def _row(self, step: int, now: Reading, transition: Transition | None) -> dict[str, float]:
        first = self._first
        if first is None:
            raise RuntimeError("the ledger has not begun")
        change = now.entropy_conditional - first.entropy_conditional
        figures: dict[str, Slots | None] = {
            "work": self._work,
            "heat": self._heat,
            "m_info": -self._heat,
            "entropy_conditional": now.entropy_conditional,
            "ep_conditional": change - self._heat,
            "log_partition": now.log_partition,
            "log_partition_forward": now.log_partition_forward,
            "log_partition_reverse": now.log_partition_reverse,
        }
        gained: Slots | None = None
        if now.entropy_marginal is not None and first.entropy_marginal is not None:
            information = now.entropy_marginal - now.entropy_conditional
            ep_marginal = now.entropy_marginal - first.entropy_marginal - self._heat
            gained = ep_marginal - (change - self._heat)
            figures["entropy_marginal"] = now.entropy_marginal
            figures["ep_marginal"] = ep_marginal
            figures["ep_ignorance"] = gained
            figures["l_info_lower" if self._ensemble > 1 else "l_info_window"] = information
            figures["l_info_upper"] = now.l_info_upper
        row: dict[str, float] = {"step": step}
        for name in FIGURES:
            row[name], row[f"{name}_se"] = mean_and_error(figures.get(name))
        residual, residual_error = mean_and_error(self._work + self._heat - change)
        row["first_law_residual"] = residual
        row["first_law_residual_se"] = float(np.hypot(residual_error, self._rounding))
        row["learning_efficiency"], row["learning_efficiency_se"] = self._efficiency(gained)
        row["work_half_variance"] = float("nan") if self._half_variance is None else float(self._half_variance.mean())
        samples = None if transition is None else transition.effective_sample_size
        row["effective_sample_size"] = float("nan") if samples is None else float(np.min(samples))
        relaxation = None if transition is None else transition.relaxation
        row["relaxation"] = float("nan") if relaxation is None else float(np.max(relaxation))
        return row

    def _efficiency(self, gained: Slots | None) -> tuple[float, float]:
        """L-info gained / M-info; NaN until M-info stands clear of its error and of rounding."""
        memorised, memorised_error = mean_and_error(-self._heat)
        floor = max(EFFICIENCY_ERRORS * memorised_error, 1e3 * self._rounding)
        if gained is None or not memorised > floor:
            return float("nan"), float("nan")
        ratio = float(gained.mean()) / memorised
        _, error = mean_and_error((gained + ratio * self._heat) / memorised)
        return ratio, error


FIGURES = (
    "work",
    "heat",
    "entropy_conditional",
    "entropy_marginal",
    "ep_conditional",
    "ep_marginal",
    "ep_ignorance",
    "l_info_lower",
    "l_info_upper",
    "l_info_window",
    "m_info",
    "log_partition",
    "log_partition_forward",
    "log_partition_reverse",
)
"""Columns of `thermo` that are plain means over slots."""


def mean_and_error(slots: Slots | None) -> tuple[float, float]:
    """Mean of [K, P] over all, and the standard error of the mean over slots; 0 for one slot, NaN for None."""
    if slots is None:
        return float("nan"), float("nan")
    per_slot = slots.mean(0)
    if per_slot.size == 1:
        return float(per_slot[0]), 0.0
    return float(per_slot.mean()), float(per_slot.std(ddof=1) / np.sqrt(per_slot.size))
