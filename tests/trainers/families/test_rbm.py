"""The RBM against sums over states written independently here."""

import itertools

import numpy as np
import pytest
import torch

from thermotui.errors import InputError
from thermotui.thermo.entropy import chao_wang_jost
from trainers.data.binary import bars_and_stripes
from trainers.families.options import RBMOptions
from trainers.families.rbm import RBMFamily
from trainers.families.rbm_model import RBM, exact_draws, exact_log_partition, exact_moments, state_log_weights
from trainers.families.rbm_partition import combine, estimate_log_partition
from trainers.samplers.gibbs import block_gibbs


def machine(visible, hidden, seed=0, scale=0.8):
    random = np.random.default_rng(seed)
    arrays = random.normal(0, scale, (visible, hidden)), random.normal(size=visible), random.normal(size=hidden)
    return RBM.from_weights(*arrays), arrays


def joint_table(weights, visible_bias, hidden_bias):
    """ln of the unnormalised p(v, h) for every pair, and the states."""
    v = np.array(list(itertools.product((0, 1), repeat=len(visible_bias))), dtype=float)
    h = np.array(list(itertools.product((0, 1), repeat=len(hidden_bias))), dtype=float)
    return (v @ visible_bias)[:, None] + h @ hidden_bias + v @ weights @ h.T, v, h


@pytest.mark.parametrize(("visible", "hidden"), [(4, 6), (7, 3)])
def test_partition_and_moments_are_the_sums_over_all_pairs(visible, hidden):
    rbm, arrays = machine(visible, hidden)
    table, v, h = joint_table(*arrays)
    p = np.exp(table - table.max())
    log_z = np.log(p.sum()) + table.max()
    p /= p.sum()
    assert float(exact_log_partition(rbm.parameters_by_name)[0]) == pytest.approx(log_z, rel=1e-12)
    moments = exact_moments(rbm.parameters_by_name)
    np.testing.assert_allclose(moments["weights"][0], v.T @ p @ h, atol=1e-12)
    np.testing.assert_allclose(moments["visible_bias"][0], p.sum(1) @ v, atol=1e-12)
    np.testing.assert_allclose(moments["hidden_bias"][0], p.sum(0) @ h, atol=1e-12)


def test_exact_draws_and_gibbs_chains_have_the_exact_moments():
    rbm, _ = machine(8, 5, scale=0.5)
    theta = rbm.parameters_by_name
    truth = exact_moments(theta)["visible_bias"][0].numpy()
    generator = torch.Generator().manual_seed(0)
    draws, _ = exact_draws(theta, 20_000, generator)
    chains = block_gibbs(
        theta["weights"], theta["visible_bias"], theta["hidden_bias"], torch.zeros_like(draws), 30, generator
    )
    for samples in (draws, chains):
        error = np.sqrt(truth * (1 - truth) / 20_000)
        assert np.abs(samples.mean(1)[0].numpy() - truth).max() < (4.5 * error).max()
        np.testing.assert_allclose(np.cov(samples[0].numpy().T), np.cov(draws[0].numpy().T), atol=0.02)


def test_transition_is_the_divergence_of_the_two_tables(make_setup):
    family = RBMFamily(bars_and_stripes(3), RBMOptions(hidden=4), make_setup(ensemble=2))
    family.begin()
    before = _table(family)
    indices = torch.arange(10).expand(2, -1)
    for _ in range(5):
        family.gradient(indices, measure_noise=False)
        with torch.no_grad():
            for parameter in family.module.parameters():
                parameter -= 0.3 * parameter.grad
    transition, reading = family.transition()
    after = _table(family)
    divergence = (np.exp(before) * (before - after)).sum(1)
    np.testing.assert_allclose(transition.work.mean(1), divergence, rtol=1e-9)
    np.testing.assert_allclose(reading.entropy_conditional.mean(1), -(np.exp(after) * after).sum(1), rtol=1e-12)
    mixture = np.log(np.exp(after).mean(0))
    np.testing.assert_allclose(reading.entropy_marginal.mean(1), -(np.exp(after) * mixture).sum(1), rtol=1e-12)


def _table(family):
    rows = []
    for member in range(family.ensemble):
        arrays = [p[member].detach().double().numpy() for p in family.module.parameters()]
        table, _, _ = joint_table(*arrays)
        log_p = np.logaddexp.reduce(table, axis=1)
        rows.append(log_p - np.logaddexp.reduce(log_p))
    return np.array(rows)


def test_full_gradient_is_that_of_the_exact_likelihood(patches, make_setup):
    family = RBMFamily(patches[:200], RBMOptions(hidden=6, initial_scale=0.3), make_setup(ensemble=2))
    family.begin()
    theta = {name: p.detach().double().requires_grad_() for name, p in family.module.named_parameters()}
    data = torch.from_numpy(patches[:200]).double().expand(2, -1, -1)
    fields = torch.baddbmm(theta["hidden_bias"].unsqueeze(1), data, theta["weights"])
    energy = -(data @ theta["visible_bias"].unsqueeze(-1)).squeeze(-1) - torch.nn.functional.softplus(fields).sum(-1)
    # d ln Z is minus the mean of d F, here by exact draws of the moments.
    expected = torch.autograd.grad(energy.mean(1).sum(), list(theta.values()))
    moments = exact_moments({name: t.detach() for name, t in theta.items()})
    for (name, gradient), data_term in zip(family.full_gradient().items(), expected, strict=True):
        np.testing.assert_allclose(gradient, (data_term + moments[name]).float(), atol=2e-6)


def test_loss_is_the_negative_log_likelihood(patches, make_setup):
    family = RBMFamily(patches, RBMOptions(hidden=6), make_setup(ensemble=2))
    family.begin()
    indices = torch.arange(500).expand(2, -1)
    optimizer = torch.optim.SGD(family.module.parameters(), lr=0.1)
    for _ in range(10):
        family.gradient(indices, measure_noise=False)
        optimizer.step()
    loss = family.gradient(indices, measure_noise=False).loss.double()
    theta = {name: p.detach().double() for name, p in family.module.named_parameters()}
    log_z = exact_log_partition(theta)
    data = torch.from_numpy(patches[:500]).double().expand(2, -1, -1)
    fields = torch.baddbmm(theta["hidden_bias"].unsqueeze(1), data, theta["weights"])
    energy = -(data @ theta["visible_bias"].unsqueeze(-1)).squeeze(-1) - torch.nn.functional.softplus(fields).sum(-1)
    # ln Z was carried over ten steps by 256 samples.
    np.testing.assert_allclose(loss, energy.mean(1) + log_z, atol=0.1)


def test_sampled_chains_agree_with_enumeration(patches, make_setup):
    """ln Z and S along a fast training, weights and resampling included, within their errors."""
    options = RBMOptions(hidden=8, partition="sampled", chains=1024, check_every=30, check_temperatures=300)
    family = RBMFamily(patches, options, make_setup(ensemble=4))
    family.begin()
    optimizer = torch.optim.SGD(family.module.parameters(), lr=0.3)
    generator = torch.Generator().manual_seed(3)
    scores = []
    for step in range(1, 121):
        family.gradient(torch.randint(len(patches), (4, 100), generator=generator), measure_noise=False)
        optimizer.step()
        if step % 2 == 0:
            _, reading = family.transition()
            truth = exact_log_partition(family.module.parameters_by_name).numpy()
            slots = reading.log_partition
            scores.append((slots.mean(1) - truth) / (slots.std(1, ddof=1) / np.sqrt(slots.shape[1])))
    assert np.sqrt(np.mean(np.square(scores))) < 2.0
    assert np.abs(slots.mean(1) - truth).max() < 0.35
    # The last reading brought its own check by annealing either way.
    for checked in (reading.log_partition_forward, reading.log_partition_reverse):
        np.testing.assert_allclose(checked.mean(1), truth, atol=0.25)


@pytest.mark.parametrize("seed", [0, 1])
def test_annealing_finds_the_partition_of_bars_and_stripes(make_setup, seed):
    family = RBMFamily(bars_and_stripes(4), RBMOptions(hidden=16, tau=10), make_setup(ensemble=1, seed=seed))
    optimizer = torch.optim.SGD(family.module.parameters(), lr=0.2)
    for _ in range(300):
        family.gradient(torch.arange(30).expand(1, -1), measure_noise=False)
        optimizer.step()
    rbm = family.module
    exact = estimate_log_partition(rbm)
    assert exact.exact
    estimate = estimate_log_partition(rbm, enumerate_states=False, particles=128, steps=1500, seed=seed)
    assert estimate.value == pytest.approx(exact.value, abs=0.25)
    assert estimate.interval[0] - 0.02 <= exact.value <= estimate.interval[1] + 0.02


def test_forward_and_reverse_that_disagree_are_said_to():
    random = np.random.default_rng(0)
    together = combine(10.0, random.normal(0, 0.1, 200), random.normal(0, 0.1, 200))
    assert not together.apart
    assert together.value == pytest.approx(10, abs=0.05)
    apart = combine(10.0, random.normal(0, 0.1, 200), random.normal(-1.0, 0.1, 200))
    assert apart.apart
    assert apart.interval[0] < 10.01 and apart.interval[1] > 10.9


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ((np.zeros((3, 2)), np.zeros(2), np.zeros(3)), r"visible_bias must have the shape \(3,\).*transposed"),
        ((np.zeros((3, 2)), np.zeros(3), np.zeros(3)), r"hidden_bias must have the shape \(2,\)"),
        ((np.zeros(3), np.zeros(3), np.zeros(3)), "weights must have the shape"),
        ((np.full((3, 2), np.nan), np.zeros(3), np.zeros(2)), "weights holds values that are not finite"),
    ],
)
def test_weights_that_do_not_fit_are_input_errors(arrays, words):
    with pytest.raises(InputError, match=words):
        RBM.from_weights(*arrays)


def test_estimates_refuse_what_cannot_be():
    rbm, _ = machine(4, 3)
    with pytest.raises(InputError, match="particles must be at least 2"):
        estimate_log_partition(rbm, particles=1, enumerate_states=False)
    with pytest.raises(InputError, match="base_bias must be 4 finite numbers"):
        estimate_log_partition(rbm, base_bias=[0.0], enumerate_states=False)
    big = RBM.from_weights(np.zeros((40, 40)), np.zeros(40), np.zeros(40))
    with pytest.raises(InputError, match=r"2\^40 states"):
        exact_log_partition(big.parameters_by_name)


def test_data_out_of_range_is_an_input_error(make_setup):
    with pytest.raises(InputError, match="binarise"):
        RBMFamily(np.full((10, 4), 0.5, np.float32), RBMOptions(), make_setup())


def test_halves_of_the_measuring_chains_give_an_unbiased_squared_force(patches, make_setup):
    """Errors of the two halves are independent; those of their mean have a square."""
    options = RBMOptions(hidden=6, initial_scale=0.3, partition="sampled", chains=64)
    family = RBMFamily(patches[:200], options, make_setup(ensemble=16))
    family.begin()
    theta = {name: p.detach().double() for name, p in family.module.named_parameters()}
    exact = exact_moments(theta)
    products, squares = [], []
    for _ in range(40):
        family.transition()
        first, second = family._measure.moments(theta)
        errors = [{name: half[name] - exact[name] for name in exact} for half in (first, second)]
        products.append(sum((errors[0][name] * errors[1][name]).flatten(1).sum(1) for name in exact))
        squares.append(sum(((errors[0][name] + errors[1][name]) / 2).square().flatten(1).sum(1) for name in exact))
    product, square = torch.stack(products).mean(0), torch.stack(squares).mean(0)
    assert product.mean().abs() < 4 * product.std() / 4
    assert product.mean().abs() < 0.2 * square.mean()
    halves = family.full_gradient_halves()
    for name, gradient in family.full_gradient().items():
        torch.testing.assert_close(gradient, (halves[0][name] + halves[1][name]) / 2)
        assert not torch.equal(halves[0][name], halves[1][name])


def test_entropies_from_generated_samples_alone():
    """S of a model, and S_X of the mixture of two, from how often each state was drawn."""
    generator = torch.Generator().manual_seed(0)
    machines = [machine(8, 4, seed)[0].parameters_by_name for seed in range(2)]
    parameters = {name: torch.cat([theta[name] for theta in machines]) for name in machines[0]}
    tables = state_log_weights(parameters, "visible").log_softmax(1).numpy()
    draws, _ = exact_draws(parameters, 2000, generator)
    mixture = np.logaddexp.reduce(tables) - np.log(2)
    for samples, log_p in ((draws[0], tables[0]), (draws.flatten(0, 1), mixture)):
        _, counts = np.unique(samples.numpy(), axis=0, return_counts=True)
        entropy = chao_wang_jost(counts)
        assert entropy.value == pytest.approx(-np.exp(log_p) @ log_p, abs=3 * entropy.standard_error)
        assert entropy.standard_error < 0.05
