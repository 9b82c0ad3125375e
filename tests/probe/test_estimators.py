"""Every estimator of the temperature against the exact one, from the log of a probe at fixed θ."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from torch import nn

from tests.probe.conftest import per_sample_gradients
from thermotui.probe import Probe
from thermotui.probe.gradient_norms import finite_population, sample_noise_trace, temperature
from thermotui.probe.layers import model_layers

RATE, BATCH, DRAWS = 0.1, 10, 100
EXACT, SKETCH, SAMPLED = "exact norms", "random sketch", "one by one"


def measure(
    case: Any,
    path: Path,
    *,
    batch: int = BATCH,
    draws: int = DRAWS,
    replacement: bool = False,
    drawn: list[torch.Tensor] | None = None,
    **options: Any,
):
    """The log's reservoir rows of `draws` batches at one θ, whose indices go to `drawn`, and the probe."""
    model, size = case.model, len(case.inputs)
    generator = torch.Generator().manual_seed(1)
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)

    def whole() -> list[torch.Tensor]:
        return [case.phi(part).sum() / size for part in torch.arange(size).split(25)]

    settings = {"full_loss": whole, "full_interval": 1} | options
    probe = Probe(model, optimizer, log=path, dataset_size=size, replacement=replacement, **settings)
    with probe:
        for draw in range(draws):
            if draw % (size // batch) == 0:
                order = torch.randperm(size, generator=generator)
            position = draw % (size // batch) * batch
            indices = order[position : position + batch]
            if replacement:
                indices = torch.randint(size, (batch,), generator=generator)
            if drawn is not None:
                drawn.append(indices)
            with probe.step():
                model.zero_grad()
                case.phi(indices).mean().backward()
    with h5py.File(path) as file:
        return file["reservoir"][:], probe


def text(file: h5py.File, attribute: str) -> str:
    value = file.attrs[attribute]
    return value.decode() if isinstance(value, bytes) else value


@pytest.mark.parametrize("replacement", [True, False])
@pytest.mark.parametrize(
    ("name", "sketch", "served"),
    [
        ("mlp", 8, {EXACT}),
        ("cnn", 8, {EXACT}),
        ("cnn", 2, {EXACT, SKETCH}),
        ("transformer", 8, {EXACT, SKETCH}),
        ("transformer", 0, {EXACT}),
        ("tied transformer", 2, {EXACT, SKETCH}),
        ("tied transformer", 0, {EXACT}),
        ("gated", 8, {EXACT, SAMPLED}),
    ],
)
def test_temperatures_agree_with_the_exact_one(
    case: Callable[[str], Any], tmp_path: Path, name: str, sketch: int, served: set[str], replacement: bool
) -> None:
    built = case(name)
    rows, probe = measure(built, tmp_path / "log.h5", sketch=sketch, per_sample=4, replacement=replacement)
    layers = model_layers(built.model)
    assert not probe.unmeasured
    estimators = probe.estimators.values()
    assert {kind for kind in (EXACT, SKETCH, SAMPLED) if any(kind in e for e in estimators)} == served
    factor = finite_population(BATCH, 60, replacement, variance="population")
    for index, layer in enumerate(layers):
        exact = RATE / 2 * built.exact_variance(layer.parameters) * factor / BATCH / layer.size
        for column in ("temperature", "temperature_full"):
            values = rows[column][:, index].astype(float)
            error = values.std(ddof=1) / np.sqrt(DRAWS)
            assert abs(values.mean() - exact) < 3 * error, (layer.name, column, values.mean() / exact, error / exact)


@pytest.mark.parametrize("name", ["mlp", "cnn", "transformer"])
def test_every_pair_of_estimators_agrees_on_the_same_draws(
    case: Callable[[str], Any], tmp_path: Path, name: str
) -> None:
    """Full gradient, within the batch, per sample and side batch; the transformer has layer norms and an embedding."""
    built = case(name)
    drawn: list[torch.Tensor] = []
    rows, _ = measure(built, tmp_path / "log.h5", replacement=True, drawn=drawn, sketch=2)
    gradients = per_sample_gradients(built)
    generator = torch.Generator().manual_seed(2)
    for index, layer in enumerate(model_layers(built.model)):
        table = torch.cat([gradients[id(parameter)].flatten(1) for parameter in layer.parameters], dim=1)

        def side(indices: torch.Tensor, table: torch.Tensor = table) -> float:
            batch = table[indices]
            squares, mean = batch.square().sum(), batch.mean(0).square().sum()
            return float(temperature(sample_noise_trace(squares, mean, BATCH), RATE, BATCH, table.shape[1], 1.0))

        others = torch.randint(len(built.inputs), (DRAWS, BATCH), generator=generator)
        found = {
            "full gradient": rows["temperature_full"][:, index].astype(float),
            "within the batch": rows["temperature"][:, index].astype(float),
            "per sample": np.array([RATE / 2 / BATCH * float(table[draw].var(0).mean()) for draw in drawn]),
            "side batch": np.array([side(draw) for draw in others]),
        }
        for one, other in itertools.combinations(found, 2):
            difference = found[one] - found[other]
            error = difference.std(ddof=1) / np.sqrt(DRAWS)
            # Exact norms within the batch are the per-sample figure: what is left is float32's rounding in the log.
            rounding = 1e-5 * found[other].mean()
            assert abs(difference.mean()) < 3 * error + rounding, (layer.name, one, other, difference.mean() / error)


def test_claimed_error_covers_the_scatter(case: Callable[[str], Any], tmp_path: Path) -> None:
    for name, sketch in (("mlp", 8), ("transformer", 2), ("gated", 8)):
        rows, _ = measure(case(name), tmp_path / f"{name}.h5", sketch=sketch, per_sample=5, replacement=True)
        claimed = np.sqrt(np.square(rows["temperature_se"].astype(float)).mean(0))
        scatter = rows["temperature"].astype(float).std(0)
        # Leading order where the noise dominates: right to a third, not to the last digit.
        assert (np.abs(np.log(claimed / scatter)) < 0.45).all(), (name, claimed / scatter)


def test_temperature_is_proportional_to_rate_over_batch(case: Callable[[str], Any], tmp_path: Path) -> None:
    means = {}
    for batch in (4, 20):
        rows, _ = measure(case("mlp"), tmp_path / f"{batch}.h5", full_loss=None, batch=batch, draws=3000 // batch)
        means[batch] = rows["temperature"].astype(float).mean(0)
    expected = finite_population(4, 60, False) / 4 / (finite_population(20, 60, False) / 20)
    np.testing.assert_allclose(means[4] / means[20], expected, rtol=0.02)


def test_single_samples_are_measured_from_step_to_step(case: Callable[[str], Any], tmp_path: Path) -> None:
    built = case("mlp")
    options = {"batch": 1, "draws": 800, "replacement": True, "full_loss": None}
    rows, _ = measure(built, tmp_path / "log.h5", interval=2, **options)
    with h5py.File(tmp_path / "log.h5") as file:
        assert "|b| = 1" in text(file, "notes")
        assert "from step to step" in text(file, "layers")
    values = rows["temperature"].astype(float)
    # The first one has no step before it.
    assert np.isnan(values[0]).all() and np.isfinite(values[1:]).all()
    for index, layer in enumerate(model_layers(built.model)):
        exact = RATE / 2 * built.exact_variance(layer.parameters) / layer.size
        error = values[1:, index].std(ddof=1) / np.sqrt(len(values) - 1)
        assert abs(values[1:, index].mean() - exact) < 3 * error
    np.testing.assert_allclose(
        np.sqrt(np.nanmean(np.square(rows["temperature_se"].astype(float)), axis=0)), values[1:].std(0), rtol=0.15
    )


def test_unreadable_models_train_and_the_log_says_what_is_missing(tmp_path: Path) -> None:
    class Named(nn.Module):
        """Answers in a dictionary."""

        def __init__(self) -> None:
            super().__init__()
            self.noisy = nn.Parameter(torch.ones(4))

        def forward(self, inputs: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"logits": inputs * self.noisy}

    class Fused(nn.Module):
        """Has parameters beside those of other modules, and uses some without calling the module that holds them."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(4, 4)
            self.outer = Named()
            self.shift = nn.Parameter(torch.ones(4))

        def forward(self, inputs: torch.Tensor) -> dict[str, torch.Tensor]:
            return self.outer(nn.functional.linear(inputs, self.inner.weight, self.inner.bias) + self.shift)

    torch.manual_seed(0)
    model = Fused()
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    with Probe(model, optimizer, log=tmp_path / "log.h5", window=20) as probe:
        for _ in range(40):
            with probe.step():
                optimizer.zero_grad()
                model(torch.randn(8, 4))["logits"].square().mean().backward()
                optimizer.step()
        assert set(probe.unmeasured) == {"Fused", "inner", "outer"}
    with h5py.File(tmp_path / "log.h5") as file:
        assert "its parameters are used without calling the module" in text(file, "notes")
        assert "its output is of type dict" in text(file, "notes")
        assert "Fused uses its own parameters beside those of other layers" in text(file, "notes")
        rows = file["reservoir"][:]
    # Differences of successive gradients need no forward pass to read.
    assert np.isfinite(rows["temperature"][2:]).all()
