"""The balance sheet of a run: work, heat, entropies, productions and information, and whether they add up."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from thermotui.runlog.schema import THERMO, Header
from thermotui.thermo.ledger import EFFICIENCY_ERRORS

if TYPE_CHECKING:
    from thermotui.runlog.reader import RunLogReader

ROUNDING = 1e-9
"""Nats: what float64 sums over a whole run may leave of an identity that holds exactly."""


class Figure(NamedTuple):
    """One figure of the balance at one step, in nats (`learning_efficiency` is a ratio).

    standard_error is NaN where none is known and 0 where the figure is exact. kind: "estimate", or one of
    `Header.figures`.
    """

    name: str
    value: float
    standard_error: float
    unit: str
    kind: str
    description: str


@dataclass(frozen=True)
class Check:
    """One identity or inequality, its residual in nats and what is allowed: rounding or three standard errors."""

    name: str
    statement: str
    residual: float
    allowed: float
    holds: bool
    assumption: bool = False
    """True for what physics assumes of the reservoir and a run may break; False for what must hold of any run."""


class BalanceSheet(NamedTuple):
    """The balance at `step`, of a process read every `stride` optimizer steps."""

    step: int
    stride: int
    marginal: str
    ensemble: int
    ensemble_varies: str
    figures: tuple[Figure, ...]
    checks: tuple[Check, ...]

    @property
    def adds_up(self) -> bool:
        """Whether every identity and law holds; a broken assumption is the run's news, not an error of the books."""
        return all(check.holds for check in self.checks if not check.assumption)


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
    "learning_efficiency",
    "log_partition",
)
TOTALS = ("ep_conditional", "ep_marginal", "ep_ignorance", "heat", "m_info", "work")
"""Running totals since step 0; the other figures are values at the step."""


def balance_sheet(log: RunLogReader) -> BalanceSheet | None:
    """The balance at the last row of `thermo`; None while there is no row or the log has no physics.

    Raises RunLogError where the file cannot be read.
    """
    rows = log.length("thermo")
    if rows == 0:
        return None
    first, last = log.read("thermo", start=0, stop=1)[0], log.read("thermo", start=rows - 1, stop=rows)[0]
    return balance_between(log.header, first, last)


def balance_between(header: Header, first: np.void, last: np.void) -> BalanceSheet:
    """The balance of the interval between two rows of `thermo`: totals as gains and the efficiency as that of these
    gains, entropies and L-info as values.

    With row 0 of a run as `first` the totals are those since step 0.
    """
    since_step_0 = int(first["step"]) == 0
    figures = tuple(
        _figure(header, name, last) if since_step_0 else _of_interval(header, name, first, last) for name in FIGURES
    )
    return BalanceSheet(
        step=int(last["step"]),
        stride=header.stride,
        marginal=header.marginal,
        ensemble=header.ensemble,
        ensemble_varies=header.ensemble_varies,
        figures=tuple(figure for figure in figures if not math.isnan(figure.value)),
        checks=tuple(_checks(header, first, last)),
    )


def _figure(header: Header, name: str, row: np.void) -> Figure:
    field = THERMO.field(name)
    kind = header.figures.get(name, "estimate")
    error = 0.0 if kind == "exact" else float(row[f"{name}_se"])
    return Figure(name, float(row[name]), error, field.unit, kind, field.description)


def _of_interval(header: Header, name: str, first: np.void, last: np.void) -> Figure:
    if name == "learning_efficiency":
        return _efficiency(header, first, last)
    return _gain(header, name, first, last) if name in TOTALS else _figure(header, name, last)


def _efficiency(header: Header, first: np.void, last: np.void) -> Figure:
    """L-info gained / M-info gained from `first` to `last`: ΔΣ_ign / ΔM, as Σ_ign is the L-info gained since step 0.

    NaN unless ΔM stands clear of its error and of rounding. The error (σ_I + |efficiency| σ_M) / ΔM bounds what the
    gains' errors leave, which are bounds themselves and correlated in unknown measure.
    """
    learnt, memorised = (_gain(header, name, first, last) for name in ("ep_ignorance", "m_info"))
    known = memorised.standard_error if math.isfinite(memorised.standard_error) else 0.0
    shown = _figure(header, "learning_efficiency", last)
    if not memorised.value > max(ROUNDING, EFFICIENCY_ERRORS * known):
        return shown._replace(value=math.nan, standard_error=math.nan)
    value = learnt.value / memorised.value
    error = (learnt.standard_error + abs(value) * memorised.standard_error) / memorised.value
    return shown._replace(value=value, standard_error=error)


def _gain(header: Header, name: str, first: np.void, last: np.void) -> Figure:
    """The increment of a running total; the totals' errors are correlated in unknown measure, their sum bounds it."""
    end, start = _figure(header, name, last), _figure(header, name, first)
    error = end.standard_error + start.standard_error
    return Figure(name, end.value - start.value, error, end.unit, end.kind, end.description)


def _checks(header: Header, first: np.void, last: np.void) -> list[Check]:
    checks = []

    def identity(name: str, statement: str, residual: float, allowed: float) -> None:
        if not math.isnan(residual):
            checks.append(Check(name, statement, residual, allowed, abs(residual) <= allowed))

    error = float(last["first_law_residual_se"])
    identity(
        "first law",
        "W + Q = ΔS_{X|Θ}, each by its own route",
        float(last["first_law_residual"]),
        max(ROUNDING, 3 * error if math.isfinite(error) else 0.0),
    )
    identity(
        "work is conditional entropy production",
        "W = Σ_{X|Θ} (books)",
        float(last["work"] - last["ep_conditional"]),
        # Σ_{X|Θ} = ΔS − Q: where W has a route of its own the two differ by the first law's residual, and by its error.
        max(ROUNDING, 3 * error if math.isfinite(error) else 0.0),
    )
    information = "l_info_window" if header.marginal == "window" else "l_info_lower"
    identity(
        "L-info is ignorance entropy production",
        "I(t) − I(0) = Σ_X − Σ_{X|Θ} (books)",
        float(last[information] - first[information] - (last["ep_marginal"] - last["ep_conditional"])
              + (first["ep_marginal"] - first["ep_conditional"])),
        ROUNDING,
    )  # fmt: skip
    work, work_error = float(last["work"] - first["work"]), float(last["work_se"])
    if not math.isnan(work):
        allowed = max(ROUNDING, 3 * work_error if math.isfinite(work_error) else 0.0)
        checks.append(Check("second law", "Σ_{X|Θ} ≥ 0", min(0.0, work), allowed, work >= -allowed))
    gained = float(last[information] - first[information])
    memorized = float(last["m_info"] - first["m_info"])
    if not math.isnan(gained) and not math.isnan(memorized):
        errors = [float(last[f"{name}_se"]) for name in (information, "m_info")]
        allowed = max(ROUNDING, 3 * math.hypot(*(error for error in errors if math.isfinite(error))))
        slack = memorized - gained
        statement = "M-info gained ≥ L-info gained; where not, the reservoir assumption failed"
        checks.append(Check("data processing", statement, min(0.0, slack), allowed, slack >= -allowed, assumption=True))
    return checks
