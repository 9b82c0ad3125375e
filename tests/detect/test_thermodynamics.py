"""The laws that rows of `thermo` must keep."""

from __future__ import annotations

import math

import numpy as np

from thermotui.detect.alert import Alert
from thermotui.detect.monitor import RunMonitor
from thermotui.runlog.schema import STREAMS, Header, row_dtype


def lawful(n: int = 300) -> np.ndarray:
    """Rows that break no law: exact figures of a learner that dissipates."""
    rng = np.random.default_rng(0)
    rows = np.zeros(n, row_dtype(STREAMS["thermo"], Header("run", 0.0, "any", ())))
    for name in rows.dtype.names or ():
        if name != "step":
            rows[name] = np.nan
    rows["step"] = np.arange(n) * 10
    work = np.cumsum(rng.exponential(0.01, n))
    rows["work"] = rows["ep_conditional"] = work
    rows["heat"], rows["m_info"] = -1.5 * work, 1.5 * work
    rows["l_info_lower"] = 0.1 + 0.4 * work / work[-1]
    for name in ("work", "heat", "ep_conditional", "m_info", "l_info_lower"):
        rows[f"{name}_se"] = 0.0
    rows["first_law_residual"] = 1e-15
    rows["first_law_residual_se"] = 1e-12
    return rows


def alerts_of(rows: np.ndarray, ensemble: int = 8) -> tuple[Alert, ...]:
    monitor = RunMonitor((), ensemble=ensemble)
    monitor.feed("thermo", rows)
    return monitor.alerts


def test_a_lawful_run_raises_nothing() -> None:
    assert alerts_of(lawful()) == ()


def test_entropy_production_that_falls_breaks_the_second_law() -> None:
    rows = lawful()
    rows["ep_conditional"][100:] -= 0.5
    (alert,) = alerts_of(rows)
    assert (alert.kind, alert.start, alert.severity) == ("second_law_violation", 990, "critical")
    assert alert.end is not None
    assert "nats" in alert.message


def test_noise_of_the_estimate_is_no_violation() -> None:
    rng = np.random.default_rng(1)
    rows = lawful(3000)
    noise = 0.02 * rng.standard_normal(3000)
    rows["work"] = rows["ep_conditional"] = np.cumsum(0.01 + noise)
    rows["work_se"] = rows["ep_conditional_se"] = 0.02 * np.sqrt(np.arange(1, 3001))
    rows["m_info"] = 100.0
    assert [alert for alert in alerts_of(rows) if alert.severity != "minor"] == []


def test_a_first_law_residual_beyond_its_error_is_critical() -> None:
    rows = lawful()
    rows["first_law_residual"][200:] = 1e-3
    alerts = [alert for alert in alerts_of(rows) if alert.kind == "first_law_residual"]
    assert [(alert.start, alert.end, alert.severity) for alert in alerts] == [(2000, None, "critical")]


def test_a_residual_within_its_error_is_none() -> None:
    rows = lawful()
    rows["first_law_residual"], rows["first_law_residual_se"] = 1e-3, 1e-3
    assert alerts_of(rows) == ()


def test_l_info_near_ln_k_says_that_the_ensemble_is_too_small() -> None:
    rows = lawful()
    rows["l_info_lower"] = np.linspace(0, 0.97 * math.log(8), 300)
    rows["m_info"] += 10
    (alert,) = alerts_of(rows)
    assert (alert.kind, alert.severity, alert.end) == ("l_info_saturated", "minor", None)
    assert "ln 8" in alert.message


def test_m_info_below_the_l_info_gained_is_said() -> None:
    rows = lawful()
    rows["m_info"] = 0.1 * (rows["l_info_lower"] - rows["l_info_lower"][0])
    assert [alert.kind for alert in alerts_of(rows)] == ["m_info_below_l_info"]


def test_a_collapsed_sample_size_says_that_the_sampler_is_not_equilibrated() -> None:
    rows = lawful()
    rows["effective_sample_size"] = 100.0
    rows["effective_sample_size"][150:170] = 2.0
    alerts = [alert for alert in alerts_of(rows) if alert.kind == "sampler_not_equilibrated"]
    assert [(alert.start, alert.end) for alert in alerts] == [(1500, 1700)]


def test_two_works_that_disagree_say_so_too() -> None:
    rows = lawful()
    rows["work_half_variance"] = 3 * rows["work"]
    assert "sampler_not_equilibrated" in [alert.kind for alert in alerts_of(rows)]


def test_chains_that_break_the_second_law_are_not_equilibrated() -> None:
    """Figures without chains break it for another reason."""
    rows = lawful()
    rows["ep_conditional"][100:] -= 0.5
    assert "sampler_not_equilibrated" not in [alert.kind for alert in alerts_of(rows)]
    rows["relaxation"] = 0.2
    (alert,) = (alert for alert in alerts_of(rows) if alert.kind == "sampler_not_equilibrated")
    assert alert.start == 1000 and alert.end is not None
    assert "second law" in alert.message
