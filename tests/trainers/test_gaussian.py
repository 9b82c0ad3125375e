"""The Gaussian mean against its closed forms."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from thermotui.errors import InputError
from thermotui.thermo.ledger import Ledger
from trainers.families.gaussian import Gaussian, build
from trainers.families.options import GaussianOptions
from trainers.schedule import BatchSchedule
from trainers.setup import Setup


def make(ensemble: int, *, varies: str = "seed", probe_size: int = 64, **options: float) -> tuple[Gaussian, Setup]:
    setup = Setup(ensemble, varies, "bootstrap", probe_size, 0, torch.device("cpu"))
    return build(GaussianOptions(**options), setup), setup


def descend(family: Gaussian, setup: Setup, *, steps: int, batch: int, rate: float, replacement: bool = True):
    """SGD written out here, yielding the means before and after every step, [K, d]."""
    schedule = BatchSchedule(
        ensemble=family.ensemble,
        dataset_size=family.dataset_size,
        batch_size=batch,
        replacement=replacement,
        generator=setup.generator("batches"),
    )
    mean = family.module.mean
    for _ in range(steps):
        before = mean.detach().clone().numpy()
        family.gradient(schedule.next(), measure_noise=False)
        with torch.no_grad():
            mean -= rate * mean.grad
        yield before, mean.detach().numpy().copy()


def test_work_is_minus_heat_is_the_squared_step() -> None:
    family, setup = make(5, dimension=3, sigma=0.7)
    ledger = Ledger(5)
    ledger.begin(0, family.begin())
    total = np.zeros(5)
    for step, (before, after) in enumerate(descend(family, setup, steps=30, batch=4, rate=0.05), start=1):
        row = ledger.advance(step, *family.transition())
        total += np.square(after - before).sum(1) / (2 * 0.7**2)
        np.testing.assert_allclose(ledger.member_row()["work"], total, rtol=1e-12)
        assert row["work"] == pytest.approx(-row["heat"], abs=1e-9)
        assert row["work"] == pytest.approx(row["ep_conditional"], abs=1e-9)
        assert row["work_se"] == 0
    assert row["entropy_conditional"] == pytest.approx(1.5 * math.log(2 * math.pi * math.e * 0.49), rel=1e-14)


def test_rounding_of_large_energies_is_no_violation_of_the_first_law() -> None:
    family, _ = make(2, dimension=50, sigma=0.0013, learn_scale=True, probe_size=2)
    ledger = Ledger(2)
    ledger.begin(0, family.begin())
    for step in range(1, 20):
        family.module.mean.data += 0.37
        family.module.log_scale.data += 0.01
        row = ledger.advance(step, *family.transition())
    assert row["work"] > 1e6
    assert abs(row["first_law_residual"]) < 3 * row["first_law_residual_se"]
    assert 1e-10 < row["first_law_residual_se"] < 1e-3


@pytest.mark.parametrize(("rate", "batch"), [(0.1, 1), (0.4, 5)])
def test_variance_over_the_ensemble_follows_its_recursion(rate: float, batch: int) -> None:
    """v' = (1 − a)² v + a² C/b, and with it the stationary T = hv = rC_g/(2 − rh) of curvature h = 1/σ²."""
    sigma, members = 0.8, 4000
    family, setup = make(members, dimension=1, sigma=sigma, probe_size=2, dataset_size=500)
    a, population = rate / sigma**2, float(family.data.var(unbiased=False))
    variance = 0.0
    for _, after in descend(family, setup, steps=60, batch=batch, rate=rate):
        variance = (1 - a) ** 2 * variance + a**2 * population / batch
        assert after.var() == pytest.approx(variance, rel=5 * math.sqrt(2 / members))
    curvature, noise = 1 / sigma**2, population / sigma**4 / batch
    temperature = rate * noise / (2 - rate * curvature)
    assert curvature * after.var() == pytest.approx(temperature, rel=5 * math.sqrt(2 / members))


def test_first_step_without_replacement_has_the_finite_population_variance() -> None:
    members, size, batch, rate = 6000, 20, 12, 0.1
    family, setup = make(members, dimension=1, probe_size=2, dataset_size=size)
    [(_, after)] = descend(family, setup, steps=1, batch=batch, rate=rate, replacement=False)
    population = float(family.data.var(unbiased=False))
    expected = rate**2 * population / batch * (1 - batch / size) * size / (size - 1)
    assert after.var() == pytest.approx(expected, rel=5 * math.sqrt(2 / members))


def test_stationary_entropy_production_a_step() -> None:
    family, setup = make(200, dimension=4, sigma=1.0, probe_size=2, start=0.0)
    a = rate = 0.3
    work = [
        np.square(after - before).sum(1) / 2 for before, after in descend(family, setup, steps=300, batch=2, rate=rate)
    ]
    population = family.data.var(dim=1, unbiased=False).sum().item()
    expected = a**2 * population / 2 * 2 / (2 - a) / 2
    assert np.mean(work[50:]) == pytest.approx(expected, rel=0.02)


def test_l_info_nears_its_closed_form_between_its_bounds() -> None:
    """½ Σ ln(1 + v/σ²) for a Gaussian distribution of θ, with many members."""
    family, _ = make(200, dimension=2, probe_size=64)
    variance = 0.5
    generator = torch.Generator().manual_seed(4)
    lowers, uppers, errors = [], [], []
    for _ in range(4):
        draws = torch.randn(200, 2, generator=generator, dtype=torch.float64)
        draws = (draws - draws.mean(0)) / draws.std(0, unbiased=False)
        family.module.mean.data = draws * math.sqrt(variance)
        row = Ledger(200).begin(0, family.begin())
        assert row["l_info_lower"] < row["l_info_upper"]
        lowers.append(row["l_info_lower"])
        uppers.append(row["l_info_upper"])
        errors.append(row["l_info_lower_se"])
    exact = 0.5 * 2 * math.log(1 + variance)
    assert np.mean(lowers) - 3 * np.mean(errors) < exact < np.mean(uppers) + 3 * np.mean(errors)
    assert np.mean(uppers) - np.mean(lowers) < 0.05
    assert np.mean(errors) < 0.01


def test_mixture_entropy_agrees_with_the_integral_within_its_error() -> None:
    family, _ = make(4, dimension=1, sigma=0.5, probe_size=4000)
    means = torch.tensor([[-1.0], [0.0], [0.4], [2.0]], dtype=torch.float64)
    family.module.mean.data = means
    row = Ledger(4).begin(0, family.begin())

    def surprise(x: float) -> float:
        density = float(stats.norm.pdf(x, means.numpy()[:, 0], 0.5).mean())
        return -density * math.log(density)

    exact, _ = integrate.quad(surprise, -5, 6, epsabs=1e-10)
    assert row["entropy_marginal"] == pytest.approx(exact, abs=4 * row["entropy_marginal_se"])
    assert 0 < row["entropy_marginal_se"] < 0.02


def test_noise_is_the_within_batch_variance_and_full_gradient_the_mean() -> None:
    family, _ = make(3, dimension=2, sigma=0.5, varies="data", dataset_size=50)
    indices = torch.randint(50, (3, 6))
    batch = family.gradient(indices, measure_noise=True)
    full = family.full_gradient()["mean"]
    for k in range(3):
        assert family.data.shape == (3, 50, 2)
        samples = family.data[k][indices[k]].numpy()
        per_sample = (family.module.mean.detach()[k].numpy() - samples) / 0.25
        assert batch.noise is not None
        assert batch.noise[k, 0].item() == pytest.approx(per_sample.var(0, ddof=1).sum(), rel=1e-12)
        np.testing.assert_allclose(family.module.mean.grad[k].numpy(), per_sample.mean(0), rtol=1e-12)
        whole = (family.module.mean.detach()[k] - family.data[k].mean(0)).numpy() / 0.25
        np.testing.assert_allclose(full[k].numpy(), whole, rtol=1e-12)
    assert family.gradient(indices[:, :1], measure_noise=True).noise is None


def test_with_a_scale_gradient_noise_and_full_gradient_are_those_of_phi() -> None:
    family, _ = make(3, dimension=2, sigma=0.5, learn_scale=True, dataset_size=50)
    indices = torch.randint(50, (3, 6))
    batch = family.gradient(indices, measure_noise=True)
    given = {name: p.grad.clone() for name, p in family.module.named_parameters()}
    full = family.full_gradient()

    def per_sample(samples: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
        rows = []
        for x in samples:
            mean = torch.full((2,), 2.0, dtype=torch.float64, requires_grad=True)
            log_scale = torch.tensor(math.log(0.5), dtype=torch.float64, requires_grad=True)
            phi = -torch.distributions.Normal(mean, log_scale.exp()).log_prob(x).sum()
            rows.append(torch.autograd.grad(phi, [mean, log_scale]))
        return rows

    for k in range(3):
        rows = per_sample(family.data[0][indices[k]])
        means, scales = torch.stack([m for m, _ in rows]), torch.stack([s for _, s in rows])
        torch.testing.assert_close(given["mean"][k], means.mean(0))
        torch.testing.assert_close(given["log_scale"][k, 0], scales.mean())
        assert batch.noise is not None
        torch.testing.assert_close(batch.noise[k], torch.stack([means.var(0).sum(), scales.var()]))
    whole = per_sample(family.data[0])
    torch.testing.assert_close(full["mean"][0], torch.stack([m for m, _ in whole]).mean(0))
    torch.testing.assert_close(full["log_scale"][0, 0], torch.stack([s for _, s in whole]).mean())


def test_with_a_scale_the_entropy_changes_and_the_first_law_still_holds() -> None:
    family, setup = make(4, dimension=3, sigma=2.0, learn_scale=True, data_sigma=0.5)
    ledger = Ledger(4)
    first = ledger.begin(0, family.begin())
    schedule = BatchSchedule(
        ensemble=4, dataset_size=2000, batch_size=5, replacement=True, generator=setup.generator("batches")
    )
    optimizer = torch.optim.SGD(family.module.parameters(), lr=0.01)
    work = 0.0
    for step in range(1, 200):
        old = [torch.distributions.Normal(m, s.exp()) for m, s in _members(family)]
        family.gradient(schedule.next(), measure_noise=False)
        optimizer.step()
        new = [torch.distributions.Normal(m, s.exp()) for m, s in _members(family)]
        pairs = zip(old, new, strict=True)
        work += sum(torch.distributions.kl_divergence(p, q).sum().item() for p, q in pairs) / 4
        row = ledger.advance(step, *family.transition())
        assert row["work"] == pytest.approx(work, abs=1e-9)
        assert abs(row["first_law_residual"]) < 1e-10
    entropy = np.mean([q.entropy().sum().item() for q in new])
    assert row["entropy_conditional"] == pytest.approx(entropy, abs=1e-12)
    assert row["entropy_conditional"] - first["entropy_conditional"] < -1


def _members(family: Gaussian) -> list[tuple[torch.Tensor, torch.Tensor]]:
    means, scales = family.module.mean.detach().clone(), family.module.log_scale.detach().clone()
    return list(zip(means, scales, strict=True))


def test_mixture_of_different_scales_agrees_with_the_integral() -> None:
    family, _ = make(3, dimension=1, probe_size=4000, learn_scale=True)
    means, scales = np.array([-1.0, 0.2, 1.0]), np.array([0.4, 1.0, 0.7])
    family.module.mean.data = torch.from_numpy(means)[:, None]
    family.module.log_scale.data = torch.from_numpy(np.log(scales))[:, None]
    row = Ledger(3).begin(0, family.begin())

    def surprise(x: float) -> float:
        density = float(stats.norm.pdf(x, means, scales).mean())
        return -density * math.log(density)

    exact, _ = integrate.quad(surprise, -9, 9, epsabs=1e-10)
    assert row["entropy_marginal"] == pytest.approx(exact, abs=4 * row["entropy_marginal_se"])


def test_a_single_run_reads_against_its_own_past() -> None:
    family, setup = make(1, dimension=1, probe_size=2000)
    ledger = Ledger(1)
    assert ledger.begin(0, family.begin())["l_info_window"] == pytest.approx(0, abs=1e-12)
    past = [family.module.mean.detach().numpy()[0, 0]]
    for step, (_, after) in enumerate(descend(family, setup, steps=70, batch=1, rate=0.1), start=1):
        past.append(after[0, 0])
        row = ledger.advance(step, *family.transition())
    window = np.array(past[-64:])

    def information(x: float) -> float:
        own = float(stats.norm.pdf(x, past[-1], 1))
        return own * math.log(own / stats.norm.pdf(x, window, 1).mean())

    exact, _ = integrate.quad(information, past[-1] - 9, past[-1] + 9, epsabs=1e-10)
    assert row["l_info_window"] == pytest.approx(exact, abs=4 * row["l_info_window_se"])


@pytest.mark.parametrize("name", ["sigma", "dimension", "dataset_size", "data_sigma"])
def test_options_that_cannot_be_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="--" + name.replace("_", "-")):
        make(2, **{name: 0})
