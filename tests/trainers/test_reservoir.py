"""The reservoir's figures against closed forms, on families whose noise, curvature and gap are known."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from thermotui.runlog.schema import Layer
from trainers.families.ppm import Batch
from trainers.reservoir import ReservoirMeter


class Polynomial:
    """φ(x|θ) = h/2 ‖θ − x‖² for h > 0 and θ·x for h = 0: every gradient is linear in θ."""

    name = "polynomial"
    accuracy_name = "none"
    figures: Mapping[str, str] = {}

    def __init__(self, curvature: float, *, ensemble: int = 4, dimension: int = 6, size: int = 40) -> None:
        generator = torch.Generator().manual_seed(5)
        self.curvature = curvature
        self.ensemble = ensemble
        self.dataset_size = size
        scale = torch.tensor([1.0] * (dimension // 2) + [3.0] * (dimension - dimension // 2), dtype=torch.float64)
        self.data = torch.randn(size, dimension, generator=generator, dtype=torch.float64) * scale + 1.0
        half = dimension // 2
        self.module = nn.Module()
        for name in ("cold", "warm"):
            start = torch.randn(ensemble, half, generator=generator, dtype=torch.float64)
            self.module.register_parameter(name, nn.Parameter(start))
        self.layers = (Layer("cold", half), Layer("warm", half))
        self.layer_parameters = (("cold",), ("warm",))
        self.half = half
        self.optimizer: torch.optim.Optimizer = torch.optim.SGD(self.module.parameters(), lr=0.1)

    def per_sample(self, indices: Tensor) -> Tensor:
        theta = torch.cat([self.module.cold, self.module.warm], dim=1).detach()
        x = self.data[indices]
        return self.curvature * (theta[:, None] - x) if self.curvature else x

    def gradient(self, indices: Tensor, *, measure_noise: bool) -> Batch:
        samples = self.per_sample(indices)
        mean = samples.mean(1)
        self.module.cold.grad, self.module.warm.grad = mean[:, : self.half].clone(), mean[:, self.half :].clone()
        noise = None
        if measure_noise and indices.shape[1] > 1:
            variance = samples.var(1, unbiased=True)
            noise = torch.stack([variance[:, : self.half].sum(1), variance[:, self.half :].sum(1)], dim=1)
        return Batch(torch.zeros(self.ensemble), torch.zeros(self.ensemble), noise)

    def full_gradient(self) -> dict[str, Tensor]:
        mean = self.per_sample(torch.arange(self.dataset_size).expand(self.ensemble, -1)).mean(1)
        return {"cold": mean[:, : self.half], "warm": mean[:, self.half :]}

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        assert not state


def indices_of(family: Polynomial, batch_size: int, replacement: bool, generator: torch.Generator) -> Tensor:
    if replacement:
        return torch.randint(family.dataset_size, (family.ensemble, batch_size), generator=generator)
    return torch.rand(family.ensemble, family.dataset_size, generator=generator).argsort(1)[:, :batch_size]


def train(
    family: Polynomial,
    meter: ReservoirMeter,
    rate: float,
    steps: range,
    *,
    replacement: bool,
    generator: torch.Generator,
) -> list[Tensor]:
    path = []
    family.optimizer.param_groups[0]["lr"] = rate
    for step in steps:
        indices = indices_of(family, meter.batch_size, replacement, generator)
        meter.observe(step, family.gradient(indices, measure_noise=meter.due(step)), indices)
        with torch.no_grad():
            for parameter in family.module.parameters():
                parameter -= rate * parameter.grad
        meter.after_step(step, indices)
        path.append(torch.cat([p.detach() for p in family.module.parameters()], dim=1))
    return path


def meter_of(family: Polynomial, batch_size: int, *, replacement: bool, **options: int) -> ReservoirMeter:
    settings = {"stride": 1, "full_stride": 1, "lags": 8, "window": 64, "seed": 0} | options
    return ReservoirMeter(family, family.optimizer, batch_size=batch_size, replacement=replacement, **settings)


@pytest.mark.parametrize("replacement", [True, False])
@pytest.mark.parametrize("batch_size", [1, 2, 10])
def test_both_temperatures_are_the_exact_one(batch_size: int, replacement: bool) -> None:
    family = Polynomial(0.5)
    meter = meter_of(family, batch_size, replacement=replacement)
    train(family, meter, 0.1, range(600), replacement=replacement, generator=torch.Generator().manual_seed(1))
    rows, _ = meter.drain()
    population = 0.25 * family.data.var(0, unbiased=False).reshape(2, -1).mean(1).numpy()
    size = family.dataset_size
    factor = 1.0 if replacement else (1 - batch_size / size) * size / (size - 1)
    exact = 0.05 * population * factor / batch_size
    for column in ("temperature", "temperature_full"):
        mean = rows[column].mean(0, dtype=float)
        error = rows[column].std(0, dtype=float) / np.sqrt(len(rows))
        assert (np.abs(mean - exact) < 4 * error).all(), column
        # The error that a row claims is the spread that the rows have.
        np.testing.assert_allclose(np.sqrt(np.square(rows[column + "_se"]).mean(0)), rows[column].std(0), rtol=0.15)


def test_a_single_run_gets_its_error_from_its_own_past() -> None:
    family = Polynomial(0.5, ensemble=1)
    meter = meter_of(family, 4, replacement=True)
    generator = torch.Generator().manual_seed(2)
    parts = []
    for first in range(0, 600, 50):
        train(family, meter, 0.1, range(first, first + 50), replacement=True, generator=generator)
        parts.append(meter.drain()[0])
    rows = np.concatenate(parts)
    assert np.isnan(rows["temperature_se"][:3]).all()
    np.testing.assert_allclose(
        np.sqrt(np.nanmean(rows["temperature_se"] ** 2, 0)), rows["temperature"].std(0), rtol=0.15
    )


def test_stationary_state_of_a_quadratic() -> None:
    """Equipartition: h Var(θ) = rC/(2 − rh); fluctuation and dissipation balance; the gap is rh."""
    curvature, rate = 0.8, 0.5
    family = Polynomial(curvature, ensemble=64)
    meter = meter_of(family, 2, replacement=True, window=4000, stride=4, full_stride=400)
    path = train(family, meter, rate, range(8000), replacement=True, generator=torch.Generator().manual_seed(3))
    rows, _ = meter.drain()
    late = rows[len(rows) // 4 :]
    variance = torch.stack(path[200:]).sub(family.data.mean(0)).square().mean((0, 1)).reshape(2, -1).mean(1).numpy()
    expected = 2 * late["temperature"].mean(0, dtype=float) / (2 - rate * curvature)
    np.testing.assert_allclose(curvature * variance, expected, rtol=0.01)
    np.testing.assert_allclose(rows["fluctuation_dissipation"][-1], 1.0, atol=0.02)
    np.testing.assert_allclose(rows["reversibility_gap"][rows["step"] % 400 == 0], rate * curvature, rtol=1e-5)
    assert np.isnan(rows["reversibility_gap"][rows["step"] % 400 != 0]).all()


def test_linear_loss_is_exactly_reversible_and_its_noise_white() -> None:
    family = Polynomial(0.0, ensemble=16)
    meter = meter_of(family, 2, replacement=True, window=512)
    train(family, meter, 0.1, range(1024), replacement=True, generator=torch.Generator().manual_seed(4))
    rows, windows = meter.drain()
    assert (rows["reversibility_gap"] < 1e-6).all()
    assert windows["step"].tolist() == [511, 1023]
    assert (windows["autocorrelation"][:, :, 0] == 1).all()
    assert (np.abs(windows["autocorrelation"][:, :, 1:]) > windows["bound"][:, None, None]).mean() < 0.2
    # Sixteen members, each with more than one independent projection.
    assert (windows["bound"] < 1.96 / np.sqrt(512 * 16)).all()
    np.testing.assert_allclose(rows["drift"][0], 0.0)


def test_moments_of_the_noise_and_force_by_hand() -> None:
    family = Polynomial(0.5, ensemble=2)
    meter = meter_of(family, 3, replacement=True)
    indices = indices_of(family, 3, True, torch.Generator().manual_seed(5))
    meter.observe(0, family.gradient(indices, measure_noise=True), indices)
    meter.after_step(0, indices)
    row = meter.drain()[0][0]
    force = torch.stack(list(family.full_gradient().values()), dim=1)
    gradient = family.per_sample(indices).mean(1).reshape(2, 2, -1)
    eta = (force - gradient).numpy()
    centred = eta - eta.mean(2, keepdims=True)
    variance = np.square(centred).mean(2)
    np.testing.assert_allclose(row["noise_skew"], ((centred**3).mean(2) / variance**1.5).mean(0), rtol=1e-5)
    np.testing.assert_allclose(row["noise_kurtosis"], ((centred**4).mean(2) / variance**2 - 3).mean(0), rtol=1e-5)
    np.testing.assert_allclose(row["force"], force.square().sum(2).mean(0).sqrt().numpy(), rtol=1e-6)
    np.testing.assert_allclose(row["force_max"], force.abs().amax(2).mean(0).numpy(), rtol=1e-6)


class Sampled(Polynomial):
    """The full gradient comes from two sets of samples, each with noise of its own."""

    noise = 0.3

    def full_gradient_halves(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        exact = super().full_gradient()
        first, second = (
            {
                name: f + self.noise * torch.randn(f.shape, dtype=f.dtype, generator=self.draws)
                for name, f in exact.items()
            }
            for _ in range(2)
        )
        return first, second


def test_noise_of_a_sampled_full_gradient_enters_neither_force_nor_temperature() -> None:
    family = Sampled(0.5, ensemble=16)
    family.draws = torch.Generator().manual_seed(9)
    meter = meter_of(family, 4, replacement=True)
    exact = {name: force.square().sum(1).mean() for name, force in family.full_gradient().items()}
    generator = torch.Generator().manual_seed(8)
    for step in range(400):
        indices = indices_of(family, 4, True, generator)
        meter.observe(step, family.gradient(indices, measure_noise=True), indices)
        meter.after_step(step, indices)
    rows, _ = meter.drain()
    squared = np.square(rows["force"].astype(float))
    error = squared.std(0) / np.sqrt(len(rows))
    np.testing.assert_array_less(np.abs(squared.mean(0) - [float(value) for value in exact.values()]), 4 * error)
    full, within = (rows[name].astype(float) for name in ("temperature_full", "temperature"))
    difference = full - within
    assert (np.abs(difference.mean(0)) < 4 * difference.std(0) / np.sqrt(len(rows))).all()
    assert any("independent sets" in note for note in meter.notes)


@pytest.mark.parametrize("kind", ["momentum", "adam"])
def test_mobility_is_the_optimizers_and_the_gap_is_for_plain_sgd(kind: str) -> None:
    family = Polynomial(0.5)
    parameters = list(family.module.parameters())
    family.optimizer = (
        torch.optim.Adam(parameters, lr=0.01) if kind == "adam" else torch.optim.SGD(parameters, lr=0.1, momentum=0.9)
    )
    meter = meter_of(family, 4, replacement=True)
    generator = torch.Generator().manual_seed(8)
    for step in range(20):
        indices = indices_of(family, 4, True, generator)
        meter.observe(step, family.gradient(indices, measure_noise=True), indices)
        family.optimizer.step()
        meter.after_step(step, indices)
    rows, _ = meter.drain()
    expected = 1.0
    if kind == "adam":
        squares = [family.optimizer.state[p]["exp_avg_sq"] for p in parameters]
        expected = np.mean([float((v / ((v / (1 - 0.999**20)).sqrt() + 1e-8)).sum() / v.sum()) * 0.01 for v in squares])
    assert rows["mobility"][-1] == pytest.approx(expected, rel=1e-5)
    for column in ("reversibility_gap", "fluctuation_dissipation"):
        assert np.isnan(rows[column]).all(), column
    assert any("plain SGD" in note for note in meter.notes)
    if kind == "momentum":
        plain = Polynomial(0.5)
        other = meter_of(plain, 4, replacement=True)
        indices = indices_of(plain, 4, True, torch.Generator().manual_seed(8))
        other.observe(0, plain.gradient(indices, measure_noise=True), indices)
        other.after_step(0, indices)
        np.testing.assert_allclose(rows["temperature"][0], 10 * other.drain()[0]["temperature"][0], rtol=1e-5)


def test_resumed_meter_goes_on_exactly() -> None:
    def run(cut: int | None) -> tuple[np.ndarray, np.ndarray]:
        family = Polynomial(0.5, ensemble=1)
        meter = meter_of(family, 1, replacement=True, window=20)
        generator = torch.Generator().manual_seed(6)
        parts = []
        for steps in (range(50), range(50, 90)):
            train(family, meter, 0.1, steps, replacement=True, generator=generator)
            parts.append(meter.drain())
            if cut is not None:
                state = meter.state_dict()
                meter = meter_of(family, 1, replacement=True, window=20)
                meter.load_state_dict(state)
        return tuple(np.concatenate(streams) for streams in zip(*parts, strict=True))

    for whole, resumed in zip(run(None), run(50), strict=True):
        for name in set(whole.dtype.names) - {"time"}:
            np.testing.assert_array_equal(whole[name], resumed[name])


def test_training_is_untouched_by_the_measurement() -> None:
    def path(measured: bool) -> Tensor:
        family = Polynomial(0.5)
        generator = torch.Generator().manual_seed(7)
        meter = meter_of(family, 1, replacement=True)
        if measured:
            return train(family, meter, 0.1, range(20), replacement=True, generator=generator)[-1]
        for _ in range(20):
            family.gradient(indices_of(family, 1, True, generator), measure_noise=False)
            with torch.no_grad():
                for parameter in family.module.parameters():
                    parameter -= 0.1 * parameter.grad
        return torch.cat([p.detach() for p in family.module.parameters()], dim=1)

    assert torch.equal(path(True), path(False))


def test_bad_settings_and_a_state_with_pending_rows_are_refused() -> None:
    family = Polynomial(0.5)
    with pytest.raises(ValueError, match="at least 1"):
        meter_of(family, 2, replacement=True, stride=0)
    with pytest.raises(ValueError, match="too short"):
        meter_of(family, 2, replacement=True, window=8)
    meter = meter_of(family, 2, replacement=True)
    train(family, meter, 0.1, range(2), replacement=True, generator=torch.Generator())
    with pytest.raises(RuntimeError, match="after drain"):
        meter.state_dict()
