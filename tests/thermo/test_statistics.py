"""Standard errors against series and weights whose truth is known."""

import numpy as np
import pytest

from thermotui.errors import InputError
from thermotui.thermo.statistics import (
    autocorrelated_mean,
    block_means,
    effective_sample_size,
    from_influence,
    integrated_autocorrelation_time,
    weighted_mean,
)


def autoregressive(random, count, rho):
    noise = random.normal(size=count) * np.sqrt(1 - rho**2)
    series = np.empty(count)
    series[0] = random.normal()
    for n in range(1, count):
        series[n] = rho * series[n - 1] + noise[n]
    return series


@pytest.mark.parametrize("rho", [0.0, 0.6, 0.9])
def test_autocorrelation_time_of_an_autoregressive_series(rho):
    random = np.random.default_rng(0)
    times = [integrated_autocorrelation_time(autoregressive(random, 20_000, rho)) for _ in range(10)]
    assert np.mean(times) == pytest.approx((1 + rho) / (1 - rho), rel=0.1)


def test_interval_of_an_autocorrelated_mean_covers():
    random = np.random.default_rng(1)
    estimates = [autocorrelated_mean(autoregressive(random, 2000, 0.8)) for _ in range(300)]
    hits = [lower <= 0 <= upper for lower, upper in (e.interval() for e in estimates)]
    assert 0.90 <= np.mean(hits) <= 0.985


def test_a_constant_series_is_one_sample():
    assert autocorrelated_mean(np.full(100, 3.0)).effective_sample_size == 1


def test_too_short_a_series_is_an_input_error():
    with pytest.raises(InputError, match="at least 4"):
        integrated_autocorrelation_time([1.0, 2.0])


def test_effective_sample_size_counts_equal_weights():
    assert effective_sample_size(np.full((2, 7), -900.0)) == pytest.approx([7, 7])
    assert effective_sample_size([0.0, -1e9, -1e9]) == pytest.approx(1)


def test_weighted_mean_influence_has_the_mean_and_the_error():
    random = np.random.default_rng(2)
    means, errors = [], []
    for _ in range(500):
        x = random.normal(size=300)
        weights = np.exp(0.5 * x)
        influence = weighted_mean(x, weights / weights.mean())
        assert influence.mean() == pytest.approx(np.average(x, weights=weights))
        means.append(influence.mean())
        errors.append(from_influence(influence).standard_error)
    assert np.mean(errors) == pytest.approx(np.std(means), rel=0.12)
    assert np.mean(means) == pytest.approx(0.5, abs=0.02)


def test_block_means_keep_the_mean():
    values = np.arange(24.0).reshape(2, 12)
    assert block_means(values, 4) == pytest.approx(np.array([[1, 4, 7, 10], [13, 16, 19, 22]]))
