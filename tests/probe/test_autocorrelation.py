"""Autocorrelation of η: unbiased for white noise, right for AR(1), and the echo of epochs as enumerated."""

import numpy as np
import pytest
import torch

from thermotui.detect.colour import epoch_echo
from thermotui.probe.autocorrelation import GradientProjection, white_bound, window_autocorrelation


def test_ar1_within_its_error_at_each_lag() -> None:
    rng = np.random.default_rng(0)
    rho, window, series = 0.6, 512, 400
    noise = rng.standard_normal((window + 200, series))
    values = np.zeros_like(noise)
    for t in range(1, len(noise)):
        values[t] = rho * values[t - 1] + noise[t]
    drift = np.linspace(0, 30, window)[:, None]
    estimate = window_autocorrelation(torch.from_numpy(values[200:] + drift)[..., None], 12).values.numpy()
    mean, error = estimate.mean(0), estimate.std(0) / np.sqrt(series)
    # What removing a line takes from coloured noise is of order (1 + ρ)/(1 − ρ) · 2/W, beside the sampling error.
    bias = (1 + rho) / (1 - rho) * 2 / window
    assert (np.abs(mean - rho ** np.arange(12))[1:] < 4 * error[1:] + bias).all()


def test_white_noise_is_unbiased_and_inside_its_bound() -> None:
    series = torch.randn(40, 20_000, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    estimate = window_autocorrelation(series, 5).values[:, 1:]
    assert (estimate.mean(0).abs() < 4 * estimate.std(0) / 20_000**0.5).all()
    assert ((estimate.abs() > 1.96 / 40**0.5).double().mean(0) < 0.06).all()


@pytest.mark.parametrize("kind", ["many components", "one component", "decaying", "heavy tails"])
def test_five_percent_of_white_noise_lies_outside_the_bound(kind: str) -> None:
    generator = torch.Generator().manual_seed(4)
    window, series, projections = 256, 1500, 4
    noise = torch.randn(window, series, projections, generator=generator)
    if kind == "one component":
        noise = noise[..., :1] * torch.tensor([1.0, -1.0, 1.0, 1.0])
    elif kind == "decaying":
        noise *= torch.linspace(3.0, 0.3, window)[:, None, None]
    elif kind == "heavy tails":
        noise /= torch.randn(3, window, series, 1, generator=generator).square().mean(0).sqrt()
    values, white = window_autocorrelation(noise, 12)
    outside = values[:, 1:].abs() > 1.96 * white.sqrt()[:, None]
    assert 0.044 < outside.double().mean() < 0.056
    assert outside.shape == (series, 11)


def test_bound_of_a_log_is_that_of_the_layer_where_it_is_widest() -> None:
    bound = white_bound(torch.tensor([[0.01, 0.04], [torch.nan, 0.01], [torch.nan, torch.nan]]))
    np.testing.assert_allclose(bound, [0.392, 0.196, np.nan], rtol=1e-6)


def test_echo_of_epochs_without_replacement() -> None:
    rng = np.random.default_rng(2)
    epoch, epochs, lags = 6, 40_000, 9
    population = rng.standard_normal(epoch)
    series = population[np.argsort(rng.random((epochs, epoch)), axis=1)].ravel() - population.mean()
    variance = np.mean(series**2)
    measured = [np.mean(series[: series.size - k] * series[k:]) / variance for k in range(lags)]
    np.testing.assert_allclose(measured, epoch_echo(lags, epoch), atol=0.01)
    assert (epoch_echo(4, None) == [1, 0, 0, 0]).all()


def test_echo_where_samples_are_left_over_from_every_epoch() -> None:
    """29 samples in batches of 10: two batches an epoch, and their correlation is not that of two halves, −1."""
    rng = np.random.default_rng(3)
    size, batch, epochs = 29, 10, 40_000
    population = rng.standard_normal(size)
    order = np.argsort(rng.random((epochs, size)), axis=1)[:, : 2 * batch]
    series = population[order].reshape(-1, batch).mean(1) - population.mean()
    measured = [np.mean(series[: series.size - k] * series[k:]) / np.mean(series**2) for k in range(4)]
    np.testing.assert_allclose(measured, epoch_echo(4, size / batch), atol=0.01)


@pytest.mark.parametrize("member_axis", [True, False])
def test_projections_keep_the_squared_norm_on_average(member_axis: bool) -> None:
    generator = torch.Generator().manual_seed(3)
    members = (5,) if member_axis else ()
    layers = [
        [torch.randn(*members, 6, 4, generator=generator), torch.randn(*members, 6, generator=generator)],
        [torch.randn(*members, 3, 2, 2, 2, generator=generator)],
    ]
    draws = [GradientProjection(layers, member_axis=member_axis, projections=4, seed=s)(layers) for s in range(3000)]
    assert draws[0].shape == (*members, 2, 4)
    squares = torch.stack(draws).square().mean(-1)
    start = len(members)
    for index, layer in enumerate(layers):
        exact = sum(g.flatten(start).square().sum(-1) for g in layer)
        error = squares[..., index].std(0) / len(draws) ** 0.5
        assert ((squares[..., index].mean(0) - exact).abs() < 4 * error).all()
    project = GradientProjection(layers, member_axis=member_axis, seed=4)
    torch.testing.assert_close(project([[2 * g for g in layer] for layer in layers]), 2 * project(layers))


def test_constant_gradients_have_no_autocorrelation_and_short_windows_are_refused() -> None:
    values, white = window_autocorrelation(torch.zeros(30, 2, 1), 4)
    assert values.isnan().all() and white.isnan().all()
    with pytest.raises(ValueError, match="too short"):
        window_autocorrelation(torch.zeros(4, 1), 4)
