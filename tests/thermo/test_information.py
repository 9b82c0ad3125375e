"""Mixtures and bounds against sums written out independently."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, special, stats

from thermotui.thermo.information import (
    WindowMixture,
    categorical_reading,
    categorical_transition,
    log_mixture,
    log_mixture_without_each,
    sampled_reading,
)


def random_log_p(members: int, inputs: int, classes: int, seed: int, scale: float = 3.0) -> np.ndarray:
    logits = scale * np.random.default_rng(seed).standard_normal((members, inputs, classes))
    return special.log_softmax(logits, axis=-1)


def test_categorical_reading_is_the_sum_over_classes() -> None:
    p = np.exp(random_log_p(4, 3, 5, seed=0))
    reading = categorical_reading(np.log(p))
    for k in range(4):
        for i in range(3):
            conditional = marginal = upper = 0.0
            for y in range(5):
                mixture = sum(p[j, i, y] for j in range(4)) / 4
                others = sum(p[j, i, y] for j in range(4) if j != k) / 3
                conditional -= p[k, i, y] * math.log(p[k, i, y])
                marginal -= p[k, i, y] * math.log(mixture)
                upper += p[k, i, y] * math.log(p[k, i, y] / others)
            assert reading.entropy_conditional[k, i] == pytest.approx(conditional, abs=1e-13)
            assert reading.entropy_marginal is not None and reading.l_info_upper is not None
            assert reading.entropy_marginal[k, i] == pytest.approx(marginal, abs=1e-13)
            assert reading.l_info_upper[k, i] == pytest.approx(upper, abs=1e-13)


def test_categorical_transition_is_the_divergence_and_obeys_the_first_law() -> None:
    before, after = random_log_p(3, 7, 5, seed=1), random_log_p(3, 7, 5, seed=2)
    transition = categorical_transition(before, after)
    divergence = stats.entropy(np.exp(before), np.exp(after), axis=-1)
    np.testing.assert_allclose(transition.work, divergence, atol=1e-13)
    entropy_change = stats.entropy(np.exp(after), axis=-1) - stats.entropy(np.exp(before), axis=-1)
    np.testing.assert_allclose(transition.work + transition.heat, entropy_change, atol=1e-13)


@given(st.integers(2, 9), st.integers(0, 10_000), st.sampled_from([0.1, 3.0, 400.0]))
def test_l_info_bounds_hold_between_zero_and_ln_k(members: int, seed: int, scale: float) -> None:
    reading = categorical_reading(random_log_p(members, 2, 4, seed, scale))
    assert reading.entropy_marginal is not None
    lower = (reading.entropy_marginal - reading.entropy_conditional).mean(0)
    assert (lower >= -1e-12).all()
    assert (lower <= math.log(members) + 1e-12).all()
    if members >= 3:
        assert reading.l_info_upper is not None
        assert (reading.l_info_upper.mean(0) >= lower - 1e-12).all()
    else:
        assert reading.l_info_upper is None


def test_leaving_out_a_dominant_member_neither_cancels_nor_underflows() -> None:
    log_p = np.array([[-1.0], [-40.0], [-2000.0]])
    without = log_mixture_without_each(log_p)[:, 0]
    assert without[0] == pytest.approx(-40.0 - math.log(2), rel=1e-14)
    assert without[1] == pytest.approx(-1.0 - math.log(2), rel=1e-14)
    lonely = log_mixture_without_each(np.array([[0.0], [-2000.0], [-2000.0]]))[:, 0]
    assert lonely[0] == pytest.approx(-2000.0, rel=1e-14)
    with pytest.raises(ValueError, match="two members"):
        log_mixture_without_each(np.zeros((1, 2)))


def test_impossible_everywhere_stays_impossible() -> None:
    assert log_mixture(np.full((3, 1), -np.inf))[0] == -np.inf


def test_not_a_number_stays_one_and_raises_nothing() -> None:
    log_p = random_log_p(3, 4, 5, seed=0)
    log_p[1] = np.nan
    reading = categorical_reading(log_p)
    assert np.isnan(reading.entropy_conditional[1]).all()
    assert np.isfinite(reading.entropy_conditional[0]).all()
    assert reading.entropy_marginal is not None and np.isnan(reading.entropy_marginal).all()


def test_sampled_reading_agrees_with_the_integral() -> None:
    means, sigma = np.array([-1.0, 0.3, 0.9, 2.0]), 0.7
    draws = means[:, None] + sigma * np.random.default_rng(3).standard_normal((4, 20_000))
    log_p = stats.norm.logpdf(draws[:, None, :], means[None, :, None], sigma)
    reading = sampled_reading(log_p)

    def surprise(x: float) -> float:
        density = float(stats.norm.pdf(x, means, sigma).mean())
        return -density * math.log(density)

    entropy, _ = integrate.quad(surprise, -8, 9, epsabs=1e-10)
    assert reading.entropy_marginal is not None
    slots = reading.entropy_marginal.mean(0)
    assert slots.mean() == pytest.approx(entropy, abs=4 * slots.std() / math.sqrt(slots.size))
    without_own = [np.delete(log_p[k], k, axis=0) for k in range(4)]
    upper = [log_p[k, k] - special.logsumexp(rest, axis=0) + math.log(3) for k, rest in enumerate(without_own)]
    np.testing.assert_allclose(reading.l_info_upper, upper, atol=1e-12)
    exact = np.full((4, 1), 0.5 * math.log(2 * math.pi * math.e * sigma**2))
    better = sampled_reading(log_p, exact)
    assert better.entropy_marginal is not None
    np.testing.assert_array_equal(better.entropy_conditional, exact)
    assert better.entropy_marginal.mean() == pytest.approx(entropy, abs=4 * slots.std() / math.sqrt(slots.size))


def test_window_is_the_mean_over_its_last_readings() -> None:
    window = WindowMixture(size=3)
    readings = random_log_p(5, 2, 4, seed=5)
    for count, log_p in enumerate(readings, start=1):
        mixture = window.push(log_p)
        expected = np.exp(readings[max(0, count - 3) : count]).mean(0)
        np.testing.assert_allclose(np.exp(mixture), expected, rtol=1e-13)
    resumed = WindowMixture(size=3)
    resumed.load_state_dict(window.state_dict())
    np.testing.assert_array_equal(resumed.push(readings[0]), window.push(readings[0]))
