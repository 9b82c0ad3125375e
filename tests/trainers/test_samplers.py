"""Samplers against distributions that are known."""

import numpy as np
import pytest
import torch

from trainers.samplers.annealing import anneal, base_log_partition, base_samples, temperatures
from trainers.samplers.langevin import langevin


def harmonic(x):
    """E = x²/2σ² with σ² = 0.5 for one member and 2 for the other."""
    variance = torch.tensor([0.5, 2.0], dtype=x.dtype).view(2, 1, 1)
    return (x.square() / (2 * variance)).sum(-1)


@pytest.mark.parametrize("metropolis", [False, True])
def test_langevin_samples_the_variance_that_theory_says(metropolis):
    """Plain Langevin has σ²/(1 − ε/2σ²); Metropolis makes it σ²."""
    generator = torch.Generator().manual_seed(0)
    start = torch.zeros(2, 20_000, 1, dtype=torch.float64)
    moved = langevin(harmonic, start, 60, 0.3, generator, metropolis=metropolis)
    variance = np.array([0.5, 2.0])
    expected = variance if metropolis else variance / (1 - 0.3 / (2 * variance))
    np.testing.assert_allclose(moved.positions.var(1).squeeze(-1), expected, rtol=0.04)
    assert ((moved.acceptance < 1) == metropolis).all()


def test_langevin_takes_a_step_size_for_each_member():
    generator = torch.Generator().manual_seed(0)
    start = torch.zeros(2, 1000, 1, dtype=torch.float64)
    moved = langevin(harmonic, start, 1, torch.tensor([1e-8, 1e-2]), generator, metropolis=False)
    small, large = moved.positions.std(1).squeeze(-1).tolist()
    assert small == pytest.approx((2e-8) ** 0.5, rel=0.1)
    assert large == pytest.approx((2e-2) ** 0.5, rel=0.1)


def test_annealing_is_exact_where_nothing_couples():
    """Without weights each step's change of free energy is the same at every state but for the biases it tilts."""
    generator = torch.Generator().manual_seed(0)
    bias = torch.tensor([[0.3, -1.0, 2.0]])
    parameters = {
        "weights": torch.zeros(1, 3, 2),
        "visible_bias": bias,
        "hidden_bias": torch.tensor([[0.5, -0.5]]),
    }
    run = anneal(parameters, bias, base_samples(bias, 50, generator), temperatures(20), generator)
    truth = torch.nn.functional.softplus(torch.tensor([0.5, -0.5]).double()).sum() - 2 * np.log(2)
    np.testing.assert_allclose(run.log_weights, truth, atol=1e-5)
    assert float(base_log_partition(bias, 2)[0]) == pytest.approx(
        float(torch.nn.functional.softplus(bias.double()).sum()) + 2 * np.log(2)
    )
    assert temperatures(7)[0] == 0 and temperatures(7)[-1] == 1
