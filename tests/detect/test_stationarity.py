"""Size and power of the stationarity test, its p-values, and the schedule of looks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import lfilter

from thermotui.detect.multiple_testing import benjamini_hochberg
from thermotui.detect.stationarity import bridge_p_value, kpss, long_run_variance, scheduled_p_value

Draw = Callable[[np.random.Generator, int], NDArray[np.float64]]


def autoregressive(correlation: float) -> Draw:
    def draw(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
        kicks = np.sqrt(1 - correlation**2) * rng.standard_normal(n + 600)
        return np.asarray(lfilter([1], [1, -correlation], kicks)[600:])

    return draw


NULLS: dict[str, Draw] = {
    "white": lambda rng, n: rng.standard_normal(n),
    "AR .5": autoregressive(0.5),
    "AR .9": autoregressive(0.9),
    "AR .95": autoregressive(0.95),
    "AR .97": autoregressive(0.97),
    "two time scales": lambda rng, n: 0.7 * rng.standard_normal(n) + 0.7 * autoregressive(0.95)(rng, n),
    "heavy tails": lambda rng, n: rng.standard_t(3, n),
}


@pytest.mark.parametrize(
    ("statistic", "p"), [(0.34730, 0.10), (0.46136, 0.05), (0.58061, 0.025), (0.74346, 0.01), (1.16786, 0.001)]
)
def test_p_values_are_those_of_the_published_table(statistic: float, p: float) -> None:
    assert bridge_p_value(statistic) == pytest.approx(p, rel=1e-3)


@pytest.mark.parametrize("name", NULLS)
def test_the_size_is_near_its_nominal_level(name: str) -> None:
    rng = np.random.default_rng(11)
    rejected = np.mean([kpss(0.3 * NULLS[name](rng, 1024)).statistic > 0.463 for _ in range(400)])
    assert 0.01 <= rejected <= 0.095


@pytest.mark.parametrize("shape", ["step", "ramp"])
def test_a_change_of_half_again_is_seen_through_strong_autocorrelation(shape: str) -> None:
    rng = np.random.default_rng(12)
    t = np.arange(512)
    change = np.log(1.5) * (t >= 256 if shape == "step" else np.clip((t - 128) / 256, 0, 1))
    draw = autoregressive(0.9)
    assert np.mean([kpss(0.15 * draw(rng, 512) + change).statistic > 0.463 for _ in range(300)]) > 0.9


@pytest.mark.parametrize("correlation", [0.0, 0.9])
def test_the_long_run_variance_is_that_of_an_autoregression_whatever_step_it_has(correlation: float) -> None:
    rng = np.random.default_rng(16)
    draw = autoregressive(correlation)
    true = (1 + correlation) / (1 - correlation)
    for size in (0.0, 20.0):
        found = [long_run_variance(draw(rng, 48 * 32).reshape(48, 32).mean(1) + size * (np.arange(48) > 20)) * 32
                 for _ in range(200)]  # fmt: skip
        assert np.median(found) == pytest.approx(true, rel=0.35)


def test_constants_and_short_series_are_no_evidence() -> None:
    assert kpss(np.ones(500)).p_value == 1.0
    assert np.isnan(kpss(np.ones(5)).p_value)
    assert np.isnan(kpss(np.full(500, np.nan)).p_value)


def test_looking_again_and_again_does_not_inflate_the_error() -> None:
    rng = np.random.default_rng(14)
    draw = autoregressive(0.5)
    below = np.mean([scheduled_p_value(draw(rng, 4096)) < 0.05 for _ in range(200)])
    assert below <= 0.08
    assert np.isnan(scheduled_p_value(draw(rng, 511)))


def test_scheduled_looks_see_a_change() -> None:
    rng = np.random.default_rng(15)
    assert scheduled_p_value(rng.standard_normal(2048) + 2 * (np.arange(2048) > 1000)) < 0.05


def test_benjamini_hochberg_rejects_what_the_paper_rejects() -> None:
    # The example of Benjamini & Hochberg (1995), section 3.2: four of fifteen at q = .05.
    p = [
        0.0001,
        0.0004,
        0.0019,
        0.0095,
        0.0201,
        0.0278,
        0.0298,
        0.0344,
        0.0459,
        0.324,
        0.4262,
        0.5719,
        0.6528,
        0.759,
        1,
    ]
    rejected = benjamini_hochberg(np.array([*p, np.nan]), 0.05)
    assert rejected.tolist() == [True] * 4 + [False] * 12


def test_across_layers_the_false_discovery_rate_is_kept() -> None:
    rng = np.random.default_rng(13)
    shares = []
    for _ in range(300):
        p = rng.uniform(size=100)
        p[:20] = rng.uniform(0, 1e-4, 20)
        rejected = benjamini_hochberg(p, 0.05)
        shares.append(rejected[20:].sum() / max(rejected.sum(), 1))
    assert np.mean(shares) <= 0.05
