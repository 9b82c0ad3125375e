"""The Chao–Wang–Jost entropy against distributions that are known."""

import numpy as np
import pytest

from thermotui.errors import InputError
from thermotui.thermo.entropy import chao_wang_jost


def test_formula_written_out_term_by_term():
    counts = np.array([5, 3, 2, 2, 1, 1, 1])
    total, once, twice = 15, 3, 2
    a = 2 * twice / ((total - 1) * once + 2 * twice)
    observed = sum(n / total * sum(1 / k for k in range(n, total)) for n in counts)
    rest = -np.log(a) - sum((1 - a) ** r / r for r in range(1, total))
    expected = observed + once / total * (1 - a) ** (1 - total) * rest
    assert chao_wang_jost(counts).value == pytest.approx(expected, rel=1e-10)


def test_less_biased_than_the_plug_in_when_states_outnumber_samples():
    random = np.random.default_rng(0)
    probabilities = random.dirichlet(np.full(400, 0.5))
    truth = -np.sum(probabilities * np.log(probabilities))
    estimates, plug_in, errors = [], [], []
    for _ in range(200):
        counts = random.multinomial(300, probabilities)
        estimate = chao_wang_jost(counts)
        estimates.append(estimate.value)
        errors.append(estimate.standard_error)
        frequency = counts[counts > 0] / 300
        plug_in.append(-np.sum(frequency * np.log(frequency)))
    assert abs(np.mean(estimates) - truth) < 0.2 * abs(np.mean(plug_in) - truth)
    # The jackknife errs on the safe side.
    assert 0.9 * np.std(estimates) <= np.mean(errors) <= 1.6 * np.std(estimates)


def test_one_state_has_no_entropy():
    assert chao_wang_jost([1000]).value == 0.0


@pytest.mark.parametrize("total", [50, 3000])
def test_all_singletons_stay_finite(total):
    value = chao_wang_jost(np.ones(total, dtype=int)).value
    assert np.log(total) < value < 3 * np.log(total)


@pytest.mark.parametrize(
    ("counts", "words"), [([-1, 3], "whole number"), ([0.5, 2], "whole number"), ([1], "at least 2")]
)
def test_bad_counts_are_input_errors(counts, words):
    with pytest.raises(InputError, match=words):
        chao_wang_jost(counts)
