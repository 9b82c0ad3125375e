"""Free-energy estimators against Gaussians, whose differences are known."""

import numpy as np
import pytest
from scipy import optimize

from thermotui.errors import InputError
from thermotui.thermo.free_energy import (
    annealed_ratio,
    bennett_acceptance_ratio,
    free_energy_perturbation,
    log_mean_exp,
    step_divergence,
)
from thermotui.thermo.statistics import from_influence, normalised_weights

# E_0 = x²/2, E_1 = (x − m)²/2s² − 3: Δln Z = ln s + 3.
MEAN, SCALE, SHIFT = 0.6, 1.1, 3.0
TRUTH = np.log(SCALE) + SHIFT
DIVERGENCE = np.log(SCALE) + (1 + MEAN**2) / (2 * SCALE**2) - 0.5


def delta(x):
    return (x - MEAN) ** 2 / (2 * SCALE**2) - SHIFT - x**2 / 2


def covered(estimates, errors, truth):
    return np.mean(np.abs(np.asarray(estimates) - truth) <= 1.96 * np.asarray(errors))


def test_log_mean_exp_survives_energies_that_overflow():
    assert log_mean_exp(np.array([1000.0, 1000.0 + np.log(3)])) == pytest.approx(1000 + np.log(2))


@pytest.mark.parametrize("weighted", [False, True])
def test_intervals_of_perturbation_cover(weighted):
    random = np.random.default_rng(1)
    estimates = []
    for _ in range(400):
        # Weighted: samples of a wider Gaussian stand for those of p_0.
        x = random.normal(0, 1.2 if weighted else 1.0, 500)
        weights = normalised_weights(-(x**2) / 2 + x**2 / (2 * 1.44)) if weighted else None
        estimates.append(from_influence(free_energy_perturbation(delta(x), weights)))
    assert 0.91 <= covered([e.value for e in estimates], [e.standard_error for e in estimates], TRUTH) <= 0.985


def test_bennett_is_sharper_than_perturbation_and_its_intervals_cover():
    random = np.random.default_rng(2)
    pairs = []
    for _ in range(400):
        start, end = random.normal(size=400), MEAN + SCALE * random.normal(size=200)
        pairs.append((bennett_acceptance_ratio(delta(start), delta(end)).estimate(), start))
    bennett = [pair[0] for pair in pairs]
    assert 0.91 <= covered([e.value for e in bennett], [e.standard_error for e in bennett], TRUTH) <= 0.985
    perturbation = [float(free_energy_perturbation(delta(start)).mean()) for _, start in pairs]
    assert np.std([e.value for e in bennett]) < 0.8 * np.std(perturbation)


def test_bennett_solves_its_equation_for_every_member():
    random = np.random.default_rng(3)
    start, end = random.normal(size=(3, 50)), MEAN + SCALE * random.normal(size=(3, 80))
    result = bennett_acceptance_ratio(delta(start), delta(end))
    for member in range(3):

        def gap(value, member=member):
            c = np.log(50 / 80)
            forward = 1 / (1 + np.exp(c + delta(start[member]) + value))
            return forward.sum() - (1 / (1 + np.exp(-c - delta(end[member]) - value))).sum()

        assert result.value[member] == pytest.approx(optimize.brentq(gap, -50, 50), abs=1e-9)


def test_bennett_weights_stand_for_repeated_samples():
    random = np.random.default_rng(4)
    start, end = random.normal(size=6), random.normal(1, 1, 5)
    times = np.array([3, 1, 1, 2, 1, 4])
    repeated = bennett_acceptance_ratio(delta(np.repeat(start, times)), delta(np.repeat(end, 2)))
    weighted = bennett_acceptance_ratio(
        np.r_[delta(start)], np.r_[delta(end)], times / times.mean(), np.ones(5)
    )  # 12 against 10 samples and 6 against 5: the same optimal constant
    assert weighted.value == pytest.approx(float(repeated.value), abs=1e-10)


def test_paired_influence_sees_the_correlation_of_the_two_ends():
    random = np.random.default_rng(5)
    independent, errors, values = [], [], []
    for _ in range(300):
        start = random.normal(size=300)
        # A slow chain: the end sample is the start sample carried over, correlation 0.9.
        end = MEAN + SCALE * (0.9 * start + np.sqrt(1 - 0.81) * random.normal(size=300))
        result = bennett_acceptance_ratio(delta(start), delta(end))
        independent.append(result.estimate().standard_error)
        errors.append(from_influence(result.paired).standard_error)
        values.append(float(result.value))
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.12)
    assert np.mean(independent) != pytest.approx(np.std(values), rel=0.12)


def test_step_divergence_never_negative_and_both_routes_meet_for_small_steps():
    random = np.random.default_rng(6)
    x = random.normal(size=(4, 20000))
    influence, half_variance = step_divergence(delta(x))
    assert influence.mean(axis=-1) == pytest.approx(np.full(4, DIVERGENCE), rel=0.05)
    small = 1e-3 * x
    influence, half_variance = step_divergence(small)
    assert np.all(influence.mean(axis=-1) >= 0)
    assert half_variance == pytest.approx(influence.mean(axis=-1), rel=1e-2)


def test_step_divergence_of_few_samples_is_not_low_on_average():
    """Without the second order the mean over many steps falls short by KL/N, whatever their number."""
    random = np.random.default_rng(8)
    step = 0.3
    # Shifting a standard normal by `step`: ΔE = −step·x + step²/2, KL = step²/2.
    pairs = random.normal(size=(200_000, 8))
    influence, _ = step_divergence(-step * pairs)
    error = influence.mean(axis=-1).std() / np.sqrt(len(pairs))
    exact = step**2 / 2
    assert abs(influence.mean() - exact) < 0.03 * exact + 3 * error
    # Neighbours that are copies count once.
    influence, _ = step_divergence(-step * np.repeat(pairs, 4, axis=1), blocks=8)
    assert abs(influence.mean() - exact) < 0.03 * exact + 3 * error


def test_annealed_ratio_is_low_on_average_and_says_how_many_samples_count():
    random = np.random.default_rng(7)
    estimates = [annealed_ratio(random.normal(-0.5, 1.0, 20)) for _ in range(500)]
    assert -0.2 < np.mean([e.value for e in estimates]) < 0.0
    assert all(1 <= e.effective_sample_size <= 20 for e in estimates)


def test_bennett_without_samples_is_an_input_error():
    with pytest.raises(InputError, match="samples of both"):
        bennett_acceptance_ratio(np.array([]), np.array([1.0]))
