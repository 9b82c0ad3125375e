"""The work of exact draws, for steps of any size: unbiased, and with the error that it says it has."""

import itertools

import numpy as np
import pytest
import torch

from trainers.families.draws import LARGEST, Draws, Parameters, less_noisy

DRAWS, REPEATS = 512, 400


@pytest.mark.parametrize("step", [0.01, 0.3, 1.0, 2.0, 3.7])
def test_work_of_shifted_normals(step: float) -> None:
    """Δφ of N(0, 1) → N(s, 1) is Gaussian of mean s²/2 and variance s²; W is that mean."""
    generator = torch.Generator().manual_seed(4)
    draws = Draws(
        lambda theta: (theta["mean"] + torch.randn(1, DRAWS, generator=generator, dtype=torch.float64), None),
        lambda theta, known, samples: 0.5 * (samples - theta["mean"]).square().numpy(),
        lambda known: None,
    )
    at = [{"mean": torch.full((1, 1), mean, dtype=torch.float64)} for mean in (0.0, step)]
    values, errors = [], []
    for _ in range(REPEATS):
        draws.begin(at[0])
        work = draws.transition(at[1])[0].work
        values.append(work.mean())
        errors.append(work.std(ddof=1) / DRAWS**0.5)
    found, claimed = np.array(values), np.array(errors)
    scatter = found.std(ddof=1)
    assert abs(found.mean() - step**2 / 2) < 4 * scatter / REPEATS**0.5
    assert np.sqrt(np.mean(claimed**2)) == pytest.approx(scatter, rel=0.15)
    covered = np.mean(np.abs(found - step**2 / 2) < 1.96 * claimed)
    assert 0.9 < covered < 0.99
    # Var Δφ = s²; of small steps s² − s⁴/(exp(s²) − 1) is left of it, half of s⁴.
    expected = step**2 - (step**4 / np.expm1(step**2) if step**2 < LARGEST else 0.0)
    assert DRAWS * scatter**2 == pytest.approx(expected, rel=0.25)


def test_work_over_many_large_transitions_keeps_its_error() -> None:
    """A discrete model, whose Δφ are not Gaussian; the errors of 12 transitions add up as they say."""
    rng = np.random.default_rng(0)
    tables = [torch.from_numpy(3.0 * rng.standard_normal((2, 40))).log_softmax(1) for _ in range(13)]
    thetas: list[Parameters] = [{"log_p": table} for table in tables]
    truth = sum(float((a.exp() * (a - b)).sum(1).mean()) for a, b in itertools.pairwise(tables))
    generator = torch.Generator().manual_seed(1)
    draws = Draws(
        lambda theta: (torch.multinomial(theta["log_p"].exp(), DRAWS, replacement=True, generator=generator), None),
        lambda theta, known, samples: -theta["log_p"].gather(1, samples).numpy(),
        lambda known: None,
    )
    scores = []
    for _ in range(150):
        draws.begin(thetas[0])
        works = [draws.transition(theta)[0].work for theta in thetas[1:]]
        error = np.sqrt(sum(work.mean(0).var(ddof=1) / DRAWS for work in works))
        scores.append((sum(float(work.mean()) for work in works) - truth) / error)
    assert abs(np.mean(scores)) < 4 / 150**0.5
    assert np.std(scores) == pytest.approx(1.0, abs=0.2)


def test_few_draws_are_left_alone() -> None:
    few = np.array([[0.3, -0.2, 0.1]])
    assert less_noisy(few) is few
    same = np.zeros((2, 8))
    np.testing.assert_array_equal(less_noisy(same), same)
    np.testing.assert_allclose(
        less_noisy(np.array([[1e3, -1e3, 5e2, 0.0, 9e2, -8e2]])), [[1e3, -1e3, 5e2, 0, 9e2, -8e2]]
    )
