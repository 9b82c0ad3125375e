"""The detectors of the loss on curves whose disturbances are known."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.detect.curves import HELD_OUT_SEEDS, NOISES, labelled_curve
from tests.detect.scoring import Score, add, median_delay
from thermotui.detect.alert import Alert
from thermotui.detect.book import AlertBook
from thermotui.detect.loss import LossDetector
from thermotui.detect.settings import PRESETS, Settings


def alerts_of(loss: NDArray[np.float64], settings: Settings | None = None) -> tuple[Alert, ...]:
    book = AlertBook()
    LossDetector(settings or Settings(), book).feed(np.arange(len(loss), dtype=np.int64), loss)
    return book.alerts


def decay(samples: int = 4000, scatter: float = 0.05, seed: int = 0) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    t = np.arange(samples)
    return np.asarray(2 * (1 + t / 50) ** -0.3 * np.exp(scatter * rng.standard_normal(samples)))


def above_minor(alerts: tuple[Alert, ...]) -> list[Alert]:
    return [alert for alert in alerts if alert.severity != "minor"]


def test_a_clean_decay_raises_nothing_above_minor() -> None:
    for seed in range(5):
        assert above_minor(alerts_of(decay(seed=seed))) == []


def test_a_spike_is_found_at_its_sample_and_ends_with_it() -> None:
    loss = decay()
    loss[2000:2030] *= 2
    (alert,) = above_minor(alerts_of(loss))
    assert (alert.kind, alert.start, alert.end, alert.step) == ("loss_spike", 2000, 2030, 2000)
    assert "rose from" in alert.message
    assert "step 2,000" in alert.message


def test_a_fall_that_ends_is_no_divergence() -> None:
    """The loss stays above where its fall would have led, never above where it was."""
    for seed in range(5):
        rng = np.random.default_rng(seed)
        t = np.arange(400)
        bump = np.where(t >= 150, 0.1 * np.exp(-0.5 * ((t - 160) / 4) ** 2), 0.0)
        loss = np.exp(1.2 - 0.002 * np.minimum(t, 150) + bump + 0.002 * rng.standard_normal(400))
        alerts = alerts_of(loss)
        assert not any(alert.kind == "divergence" for alert in alerts)
        (step,) = (alert for alert in alerts if alert.kind == "step_up")
        led, reached = re.findall(r"\d\.\d+", step.message)
        assert float(led) < float(reached)


def test_one_sample_is_an_outlier_and_its_announcement_as_a_spike_is_taken_back() -> None:
    loss = decay()
    loss[2000] *= 8
    alerts = alerts_of(loss)
    assert [alert.kind for alert in above_minor(alerts)] == ["outlier"]
    assert not any(alert.kind == "loss_spike" for alert in alerts)


@pytest.mark.parametrize(("factor", "kind"), [(1.4, "step_up"), (0.7, "step_down")])
def test_a_level_that_stays_is_a_step(factor: float, kind: str) -> None:
    loss = decay()
    loss[2000:] *= factor
    (alert,) = above_minor(alerts_of(loss))
    assert alert.kind == kind
    assert abs(alert.start - 2000) <= 8
    assert alert.step <= 2050


def test_a_rise_that_goes_on_is_a_divergence_that_lasts() -> None:
    loss = decay()
    loss[3000:] *= np.exp(0.01 * np.arange(1000))
    alerts = [alert for alert in above_minor(alerts_of(loss)) if alert.kind != "temperature_jump"]
    assert [alert.kind for alert in alerts] == ["divergence"]
    assert alerts[0].end is None
    assert alerts[0].severity == "critical"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_no_number_is_critical_at_once(value: float) -> None:
    loss = decay()
    loss[1000:1010] = value
    (alert,) = above_minor(alerts_of(loss))
    assert (alert.kind, alert.start, alert.end, alert.step) == ("non_finite", 1000, 1010, 1000)
    assert alert.severity == "critical"


def test_a_run_that_is_never_a_number_is_one_alert() -> None:
    (alert,) = alerts_of(np.full(500, math.nan))
    assert (alert.kind, alert.start, alert.end) == ("non_finite", 0, None)


def test_identical_values_are_a_stall() -> None:
    loss = decay()
    loss[1000:1100] = loss[1000]
    (alert,) = above_minor(alerts_of(loss))
    assert (alert.kind, alert.start, alert.end, alert.step) == ("stall", 1000, 1100, 1024)


def test_noise_that_doubles_is_a_jump_of_its_size() -> None:
    rng = np.random.default_rng(3)
    size = np.where(np.arange(4000) < 2000, 0.03, 0.09)
    loss = np.exp(size * rng.standard_normal(4000))
    (alert,) = above_minor(alerts_of(loss))
    assert alert.kind == "temperature_jump"
    assert abs(alert.start - 2000) <= 16
    assert alert.p_value < 1e-6


@pytest.mark.parametrize(("decay", "scatter"), [(300, 0.02), (1000, 0.02), (300, 0.005)])
def test_noise_of_constant_size_on_a_loss_that_falls_is_no_change_of_the_noise(decay: int, scatter: float) -> None:
    for seed in range(3):
        rng = np.random.default_rng(seed)
        loss = 2.3 * np.exp(-np.arange(3000) / decay) + 0.3 + scatter * rng.standard_normal(3000)
        assert above_minor(alerts_of(loss)) == []


def test_noise_that_grows_beside_a_loss_that_falls_is_told_as_relative() -> None:
    rng = np.random.default_rng(4)
    size = np.where(np.arange(4000) < 2000, 0.03, 0.12)
    loss = (1 + np.exp(-np.arange(4000) / 500)) * np.exp(size * rng.standard_normal(4000))
    (alert,) = above_minor(alerts_of(loss))
    assert alert.kind == "temperature_jump"
    assert alert.message.startswith("relative noise of the loss rose")


def test_a_curve_without_noise_has_no_noise_that_changes() -> None:
    t = np.arange(1500)
    loss = 0.04 + 0.02 * np.exp(-t / 20) + 0.003 * np.sin(t / 60)
    assert [alert.kind for alert in alerts_of(loss) if alert.kind.startswith("temperature")] == []


@pytest.mark.parametrize("seed", [10_028, 10_032, 10_062, 10_071, 1_007])
def test_noise_whose_size_comes_in_clusters_is_no_change_of_its_size(seed: int) -> None:
    assert above_minor(alerts_of(labelled_curve(seed, "heteroscedastic", samples=20_000, clean=True).loss)) == []


def test_noise_that_grows_slowly_is_a_drift_that_ends() -> None:
    rng = np.random.default_rng(5)
    size = 0.02 * 4 ** np.clip((np.arange(6000) - 2000) / 800, 0, 1)
    (alert,) = above_minor(alerts_of(np.exp(size * rng.standard_normal(6000))))
    assert alert.kind == "temperature_drift"
    assert abs(alert.start - 2000) <= 150
    assert alert.end is not None
    assert abs(alert.end - 2800) <= 200


def test_coloured_noise_begins_and_ends() -> None:
    rng = np.random.default_rng(7)
    noise, value = np.empty(4000), 0.0
    for i, kick in enumerate(rng.standard_normal(4000)):
        correlation = 0.9 if 2000 <= i < 2800 else 0.0
        value = correlation * value + math.sqrt(1 - correlation**2) * kick
        noise[i] = value
    (alert,) = [alert for alert in above_minor(alerts_of(np.exp(0.05 * noise))) if alert.kind == "coloured_noise"]
    assert abs(alert.start - 2000) <= 40
    assert alert.end is not None
    assert abs(alert.end - 2800) <= 120


def test_a_loss_that_turns_negative_is_judged_on_a_linear_scale() -> None:
    rng = np.random.default_rng(9)
    loss = np.where(np.arange(3000) < 1000, 1.0, -1.0) + 0.05 * rng.standard_normal(3000)
    loss[2500:2520] += 2
    spikes = [alert for alert in alerts_of(loss) if alert.kind == "loss_spike"]
    assert [(alert.start, alert.end) for alert in spikes] == [(2500, 2520)]


def test_a_collapse_of_a_curve_without_noise_is_a_step_down() -> None:
    t = np.arange(1500)
    loss = np.exp(-3 - 2 / (1 + np.exp(-(t - 800) / 12)) - t / 10_000)
    (alert,) = [alert for alert in above_minor(alerts_of(loss)) if alert.kind != "temperature_drift"]
    assert alert.kind == "step_down"
    assert abs(alert.start - 800) <= 100
    assert alert.step <= 800


def test_a_fall_that_gathers_speed_is_a_step_down() -> None:
    """As when a network groks: it bends so slowly that the scale widens along with it."""
    rows = [110, 150, 172, 185, 200, 216, 241, 340, 500]
    slopes = [0.0, 0.0018, 0.0012, -0.0015, -0.006, -0.0099, -0.0133, -0.02, 0.0]
    loss = np.exp(-3.15 + np.cumsum(np.interp(np.arange(700), rows, slopes)))
    (alert,) = [alert for alert in above_minor(alerts_of(loss)) if alert.kind == "step_down"]
    assert 150 <= alert.start <= 200
    assert alert.step <= 250


def test_a_fall_that_ends_at_once_does_not_diverge() -> None:
    t = np.arange(700)
    noise = 1e-4 * np.random.default_rng(0).normal(size=len(t))
    loss = np.exp(np.maximum(-3.15 - 0.018 * np.clip(t - 240, 0, None), -9.0) + noise)
    assert "divergence" not in [alert.kind for alert in alerts_of(loss)]


def test_two_drops_close_together_are_one_that_says_how_far_the_loss_fell() -> None:
    loss = 3 * np.exp(0.02 * np.random.default_rng(1).normal(size=1600))
    loss[800:] *= 0.5
    loss[879:] *= 0.25
    (alert,) = [alert for alert in alerts_of(loss) if alert.kind == "step_down"]
    assert (alert.start, alert.step) == (800, 815)
    assert alert.end is not None and alert.end >= 880
    assert re.search(r"to 0\.3[678]\d* at", alert.message)


@pytest.mark.parametrize("change", [-50.0, 500.0])
def test_a_linear_series_without_noise_is_judged_too(change: float) -> None:
    values = -np.arange(300.0)
    values[200:] += change
    assert 200 in [alert.start for alert in above_minor(alerts_of(values))]


def heavy_tails_and_a_drop() -> NDArray[np.float64]:
    loss = np.exp(0.2 * np.random.default_rng(0).standard_t(3, 3000))
    loss[1500:] *= 0.1
    return loss


def stalled_early() -> NDArray[np.float64]:
    loss = labelled_curve(1, "gaussian").loss[:2000].copy()
    loss[300:400] = loss[300]
    loss[400:] *= 1.5
    return loss


@pytest.mark.parametrize("make", [heavy_tails_and_a_drop, stalled_early])
def test_one_sample_at_a_time_says_the_same(make: Callable[[], NDArray[np.float64]]) -> None:
    loss = make()
    steps = np.arange(len(loss), dtype=np.int64)
    book = AlertBook()
    detector = LossDetector(Settings(), book)
    for step in steps:
        detector.feed(steps[step : step + 1], loss[step : step + 1])
    assert book.alerts == alerts_of(loss)


def test_quiet_says_no_more_than_default_and_sensitive_no_less() -> None:
    counts = dict.fromkeys(PRESETS, 0)
    for seed in range(3):
        loss = labelled_curve(seed, "gaussian").loss
        for name, settings in PRESETS.items():
            counts[name] += len(above_minor(alerts_of(loss, settings)))
    assert counts["quiet"] <= counts["default"] <= counts["sensitive"]


def test_held_out_curves_are_scored_well() -> None:
    """A few of the curves of `python -m tests.benchmarks.detectors`, as a guard against regressions."""
    whatever, aware = Score(), Score()
    false_clean = samples = 0
    for noise in NOISES:
        for seed in HELD_OUT_SEEDS[:2]:
            curve = labelled_curve(seed, noise)
            alerts = alerts_of(curve.loss)
            add(whatever, curve, alerts, kind_aware=False)
            add(aware, curve, alerts, kind_aware=True)
            clean = labelled_curve(seed, noise, clean=True)
            false_clean += len(above_minor(alerts_of(clean.loss)))
            samples += len(clean.loss)
    assert whatever.f1() > 0.9
    assert aware.f1() > 0.85
    assert median_delay(whatever, "loss_spike") <= 2
    assert false_clean / samples * 1e5 < 3
