"""An alert: what happened, where, from when to when, and the evidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

Severity = Literal["minor", "warning", "critical"]
SEVERITIES: tuple[Severity, ...] = ("minor", "warning", "critical")


class Kind(NamedTuple):
    """A kind of alert. `breaks_interval`: the reservoir assumption does not hold while it lasts."""

    name: str
    description: str
    breaks_interval: bool


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("loss_spike", "the loss jumped up and came back", True),
        Kind("outlier", "the loss jumped for one or two steps", False),
        Kind("step_up", "the loss moved to a higher level and stayed", True),
        Kind("step_down", "the loss fell to a lower level: a phase transition", True),
        Kind("divergence", "the loss keeps rising", True),
        Kind("non_finite", "the loss is not a number, or infinite", True),
        Kind("stall", "the loss is the same number again and again", True),
        Kind("temperature_jump", "the reservoir's temperature changed abruptly", True),
        Kind("temperature_drift", "the reservoir's temperature is not stationary", True),
        Kind("coloured_noise", "η is correlated beyond its white-noise bounds", True),
        Kind("heavy_tail", "η has heavy tails", False),
        Kind("estimator_change", "a layer's temperature is measured in another way than the header says", False),
        Kind("reversibility_loss", "a step back does not return: the dynamics is no longer lazy", True),
        Kind("second_law_violation", "conditional entropy production below zero beyond three standard errors", True),
        Kind("first_law_residual", "W + Q differs from ΔS beyond three standard errors", True),
        Kind("l_info_saturated", "the lower bound of L-info nears ln K: the ensemble is too small", False),
        Kind("m_info_below_l_info", "M-info fell below L-info: the reservoir assumption failed", False),
        Kind("sampler_not_equilibrated", "the sampler has not relaxed within τ steps", True),
        Kind("stalled", "the run lives but logs no rows", False),
        Kind("crashed", "the run ended without closing its log", False),
    )
}
OF_STATE = ("stalled", "crashed")
"""Kinds that no row shows: that of a run's state."""


@dataclass(frozen=True)
class Alert:
    """One alert. The same (kind, layer, start) again, with `end` set, says that it is over.

    Steps are optimizer steps; the interval is [start, end); `end` is None while it lasts. `step` is when it was
    raised. `p_value` is NaN where the rule is no test. `message` holds the evidence in one sentence with its numbers.
    An alert with `end` equal to `start` is withdrawn: what it flagged turned out to be of another kind, which has an
    alert of its own (a spike that stays up becomes a step).
    """

    kind: str
    layer: int
    start: int
    end: int | None
    step: int
    severity: Severity
    p_value: float
    message: str

    @property
    def key(self) -> tuple[str, int, int]:
        """What the beginning and the end of one alert share."""
        return self.kind, self.layer, self.start

    @property
    def withdrawn(self) -> bool:
        """Whether a later look took this alert back."""
        return self.end == self.start


def alert_of_row(row: np.void) -> Alert:
    """The alert that one row of the `alerts` stream holds; text that is not UTF-8 is kept with escapes."""
    values = {name: row[name].item() for name in row.dtype.names or ()}
    text = {name: values[name].decode("utf-8", "backslashreplace") for name in ("kind", "severity", "message")}
    # A log is not trusted input: an unknown severity must neither raise nor pass for a mild one.
    severity: Severity = next((known for known in SEVERITIES if known == text["severity"]), "critical")
    return Alert(
        kind=text["kind"],
        layer=int(values["layer"]),
        start=int(values["start"]),
        end=None if values["end"] < 0 else int(values["end"]),
        step=int(values["step"]),
        severity=severity,
        p_value=float(values["p_value"]),
        message=text["message"],
    )
