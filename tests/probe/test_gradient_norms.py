"""The algebra of per-sample norms against autograd, and the factors of sampling against enumeration."""

from itertools import combinations, product

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, vmap

from thermotui.probe.gradient_norms import (
    finite_population,
    gram_squared_norms,
    linear_squared_norms,
    sample_noise_trace,
    sketched_squared_norms,
    temperature,
)


def per_sample_norms(layer: nn.Linear, x: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    parameters = dict(layer.named_parameters())

    def phi(values: dict[str, torch.Tensor], sample: torch.Tensor) -> torch.Tensor:
        return (functional_call(layer, values, (sample,)).tanh() * weights).sum()

    gradients = vmap(grad(phi), in_dims=(None, 0))(parameters, x)
    return sum(g.flatten(1).square().sum(1) for g in gradients.values())


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("positions", [0, 5])
def test_norms_equal_autograd(bias: bool, positions: int) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(4, 3, bias=bias).double()
    x = torch.randn(6, positions, 4).double() if positions else torch.randn(6, 4).double()
    weights = torch.randn(3).double()
    output = layer(x)
    (deltas,) = torch.autograd.grad((output.tanh() * weights).sum(), output)
    expected = per_sample_norms(layer, x, weights)
    norms = (gram_squared_norms if positions else linear_squared_norms)(x, deltas, bias=bias)
    torch.testing.assert_close(norms, expected)


@pytest.mark.parametrize("bias", [True, False])
def test_sketch_is_unbiased(bias: bool) -> None:
    generator = torch.Generator().manual_seed(1)
    a = torch.randn(3, 4, 5, generator=generator, dtype=torch.float64)
    d = torch.randn(3, 4, 6, generator=generator, dtype=torch.float64)
    signs = torch.randint(0, 2, (4000, 6, 2), generator=generator).double().mul(2).sub(1) / 2**0.5
    draws = torch.stack([sketched_squared_norms(a, d, sketch, bias=bias) for sketch in signs])
    exact = gram_squared_norms(a, d, bias=bias)
    error = draws.std(0) / len(signs) ** 0.5
    assert ((draws.mean(0) - exact).abs() < 4 * error).all()
    assert (draws.var(0) <= 1.1 * 2 / 2 * exact.square()).all()


@pytest.mark.parametrize("replacement", [True, False])
@pytest.mark.parametrize("batch_size", [2, 3])
def test_noise_variance_by_enumeration_of_all_batches(replacement: bool, batch_size: int) -> None:
    """Over every batch that can be drawn, both routes give the exact variance of η: no Monte Carlo."""
    gradients = torch.randn(5, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    force = gradients.mean(0)
    draws = list(product(range(5), repeat=batch_size) if replacement else combinations(range(5), batch_size))
    batches = gradients[torch.tensor(draws)]
    eta = batches.mean(1) - force
    exact = eta.square().sum(1).mean()

    traces = sample_noise_trace(batches.square().sum((1, 2)), batches.mean(1).square().sum(1), batch_size)
    within = traces.mean() * finite_population(batch_size, 5, replacement) / batch_size
    torch.testing.assert_close(within, exact)

    population = (gradients - force).square().mean(0).sum()
    whole = population * finite_population(batch_size, 5, replacement, variance="population") / batch_size
    torch.testing.assert_close(whole, exact)
    torch.testing.assert_close(
        temperature(traces.mean(), 0.1, batch_size, 3, finite_population(batch_size, 5, replacement)),
        0.05 * eta.square().mean(),
    )


def test_whole_data_set_has_no_noise() -> None:
    assert finite_population(7, 7, False) == 0.0
    assert finite_population(1, 1, False) == 0.0
    assert finite_population(7, 0, False) == 1.0


def test_impossible_batches_are_refused() -> None:
    with pytest.raises(ValueError, match="at least two samples"):
        sample_noise_trace(torch.ones(1), torch.ones(1), 1)
    with pytest.raises(ValueError, match="without replacement"):
        finite_population(8, 7, False)
