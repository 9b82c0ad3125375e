"""The probe leaves every kind of loop as it was, and reads the same physics from it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from thermotui.errors import InputError
from thermotui.probe import Probe


def small(dropout: float = 0.0) -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(5, 7), nn.LayerNorm(7), nn.ReLU(), nn.Dropout(dropout), nn.Linear(7, 3))


def data(size: int = 12) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(4)
    return torch.randn(size, 5, generator=generator), torch.randint(3, (size,), generator=generator)


def rows(path: Path, stream: str = "reservoir") -> np.ndarray:
    with h5py.File(path) as file:
        return file[stream][:]


def one_step(path: Path, backward: Callable[[nn.Module], Any], model: nn.Module | None = None, **options: Any) -> Any:
    """The reservoir row of one step at the same θ, its optimizer untouched."""
    model = small() if model is None else model
    with Probe(model, torch.optim.SGD(model.parameters(), lr=0.1), log=path, **options) as probe, probe.step():
        backward(model)
    return rows(path)[0]


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
def test_training_is_bitwise_the_same(case: Callable[[str], Any], tmp_path: Path, optimizer: str) -> None:
    def train(name: str, probed: bool) -> list[Tensor]:
        built = case(name)
        model = nn.Sequential(built.model, nn.Dropout(0.1)) if name == "mlp" else built.model
        kinds: dict[str, Callable[..., torch.optim.Optimizer]] = {
            "sgd": lambda p: torch.optim.SGD(p, lr=0.05, weight_decay=0.01),
            "momentum": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9),
            "adam": lambda p: torch.optim.AdamW(p, lr=0.01),
        }
        made = kinds[optimizer](model.parameters())
        probe = Probe(model, made, log=tmp_path / f"{name}.h5", window=20, sketch=2) if probed else None
        torch.manual_seed(5)
        for _ in range(25):
            indices = torch.randint(60, (9,))

            def update(indices: Tensor = indices) -> None:
                made.zero_grad()
                built.loss(model, built.inputs[indices], built.targets[indices]).mean().backward()
                nn.utils.clip_grad_norm_(model.parameters(), 0.5)
                made.step()

            if probe is None:
                update()
            else:
                with probe.step():
                    update()
        if probe is not None:
            probe.close()
        return [p.detach().clone() for p in model.parameters()] + [torch.rand(3)]

    for name in ("mlp", "cnn", "tied transformer", "gated"):
        pairs = zip(train(name, False), train(name, True), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs), name


def test_mean_and_sum_losses_micro_batches_scaling_and_clipping_give_one_temperature(tmp_path: Path) -> None:
    inputs, targets = data()
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)

    def clipped(model: nn.Module) -> None:
        F.cross_entropy(model(inputs), targets).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1e-3)

    def accumulated(model: nn.Module) -> None:
        for part in (slice(0, 4), slice(4, 8), slice(8, 12)):
            (F.cross_entropy(model(inputs[part]), targets[part]) / 3).backward()

    loops: dict[str, tuple[Callable[[nn.Module], Any], dict[str, Any]]] = {
        "mean": (lambda m: F.cross_entropy(m(inputs), targets).backward(), {}),
        "clipped": (clipped, {}),
        "sum": (lambda m: F.cross_entropy(m(inputs), targets, reduction="sum").backward(), {"reduction": "sum"}),
        "accumulated": (accumulated, {}),
        "scaled": (
            lambda m: scaler.scale(F.cross_entropy(m(inputs), targets)).backward(),
            {"scaler": scaler},
        ),
    }
    found = {name: one_step(tmp_path / f"{name}.h5", *loop[:1], **loop[1]) for name, loop in loops.items()}
    for name, row in found.items():
        # A sum of 12 losses with rate r moves like a mean with rate 12 r.
        factor = 12.0 if name == "sum" else 1.0
        for column in ("temperature", "temperature_se"):
            np.testing.assert_allclose(row[column], factor * found["mean"][column], rtol=2e-4, err_msg=name)
        np.testing.assert_allclose(row["mobility"], factor * 0.1, rtol=1e-5)
    norms = {name: rows(tmp_path / f"{name}.h5", "steps")["gradient_norm"][0] for name in loops}
    np.testing.assert_allclose(norms["scaled"], norms["mean"], rtol=1e-4)
    np.testing.assert_allclose(norms["clipped"], norms["mean"], rtol=1e-4)


@pytest.mark.parametrize("to_none", [True, False])
@pytest.mark.parametrize("micro_batches", [1, 3])
def test_passes_whose_gradients_are_thrown_away_are_not_of_the_step(
    tmp_path: Path, to_none: bool, micro_batches: int
) -> None:
    """As by SAM and by the closures of L-BFGS, which look at a step from several places."""
    inputs, targets = data()

    def passes(model: nn.Module, looks: int) -> None:
        for _ in range(looks):
            model.zero_grad(set_to_none=to_none)
            for part in range(micro_batches):
                mine = slice(part, None, micro_batches)
                (F.cross_entropy(model(inputs[mine]), targets[mine]) / micro_batches).backward()

    once = one_step(tmp_path / "once.h5", lambda model: passes(model, 1))
    thrice = one_step(tmp_path / "thrice.h5", lambda model: passes(model, 3))
    for name in ("temperature", "temperature_se"):
        np.testing.assert_array_equal(thrice[name], once[name])
    with h5py.File(tmp_path / "thrice.h5") as file:
        assert file.attrs["batch_size"] == 12


def test_the_closures_of_an_optimizer_are_one_step(tmp_path: Path) -> None:
    inputs, targets = data()
    model = small()
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.5, max_iter=5)
    calls = []

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), targets)
        loss.backward()
        calls.append([parameter.detach().clone() for parameter in model.parameters()])
        return loss

    with Probe(model, optimizer, log=tmp_path / "log.h5") as probe, probe.step():
        optimizer.step(closure)
    assert len(calls) > 1
    # The last look of the step is what it reads, at the parameters of that look.
    optimizer.zero_grad()
    with torch.no_grad():
        for parameter, value in zip(model.parameters(), calls[-1], strict=True):
            parameter.copy_(value)
    last = one_step(tmp_path / "last.h5", lambda model: F.cross_entropy(model(inputs), targets).backward(), model)
    found = rows(tmp_path / "log.h5")[0]
    # Its learning rate is another.
    np.testing.assert_allclose(
        found["temperature"] / found["mobility"], last["temperature"] / last["mobility"], rtol=1e-6
    )


def test_ignored_targets_are_not_samples(tmp_path: Path) -> None:
    inputs, targets = data()
    ignored = targets.clone()
    ignored[8:] = -100
    row = one_step(tmp_path / "a.h5", lambda m: F.cross_entropy(m(inputs), ignored).backward(), ignored=True)
    kept = one_step(tmp_path / "b.h5", lambda m: F.cross_entropy(m(inputs[:8]), targets[:8]).backward())
    np.testing.assert_allclose(row["temperature"], kept["temperature"], rtol=1e-5)


def test_samples_beyond_the_margin_of_a_hinge_are_samples(tmp_path: Path) -> None:
    """Three in four have no gradient at all; they are part of the mean all the same."""
    torch.manual_seed(6)
    model = nn.Linear(4, 1)
    with torch.no_grad():
        model.weight.mul_(2.0)
        model.bias.fill_(0.5)
    inputs = torch.randn(2000, 4)
    beyond = model(inputs).detach()[:, 0] >= 0.0
    assert 0.4 < beyond.double().mean() < 0.9
    per_sample = torch.cat([inputs, torch.ones(2000, 1)], dim=1) * ~beyond[:, None]
    truth = float(per_sample.var(0, unbiased=False).sum()) / 16
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-9)
    generator = torch.Generator().manual_seed(7)
    with Probe(model, optimizer, log=tmp_path / "log.h5") as probe:
        for _ in range(400):
            batch = inputs[torch.randint(2000, (16,), generator=generator)]
            with probe.step():
                optimizer.zero_grad()
                torch.relu(-model(batch)).mean().backward()
                optimizer.step()
    found = rows(tmp_path / "log.h5")["temperature"].astype(float)[:, 0] * 2 * 5 / 1e-9
    assert abs(found.mean() - truth) < 4 * found.std() / 20


def test_autocast_agrees_to_its_precision(tmp_path: Path) -> None:
    inputs, targets = data()

    def mixed(model: nn.Module) -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = F.cross_entropy(model(inputs).float(), targets)
        loss.backward()

    plain = one_step(tmp_path / "a.h5", lambda m: F.cross_entropy(m(inputs), targets).backward())
    np.testing.assert_allclose(one_step(tmp_path / "b.h5", mixed)["temperature"], plain["temperature"], rtol=0.05)


def test_frozen_layers_are_left_out(tmp_path: Path) -> None:
    inputs, targets = data()
    model = small()
    model[0].requires_grad_(False)
    model[1].bias.requires_grad_(False)
    row = one_step(tmp_path / "a.h5", lambda m: F.cross_entropy(m(inputs), targets).backward(), model)
    assert row["temperature"].shape == (2,)
    assert np.isfinite(row["temperature"]).all()


def test_momentum_and_adam_are_logged_as_beyond_the_paper(tmp_path: Path) -> None:
    inputs, targets = data()
    for name, expected in (("momentum", 0.5), ("adam", None)):
        model = small()
        optimizer: torch.optim.Optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.8)
        if name == "adam":
            optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        path = tmp_path / f"{name}.h5"
        with Probe(model, optimizer, log=path) as probe, probe.step():
            F.cross_entropy(model(inputs), targets).backward()
            optimizer.step()
        if expected is None:
            # By layer −Δθ·g/‖g‖², by components over all of them.
            layers = [
                torch.cat([p.grad.flatten() for p in one.parameters()]) for one in model if len([*one.parameters()])
            ]
            rates = [float(0.01 * g.abs().sum() / g.square().sum()) for g in layers]
            expected = np.average(rates, weights=[len(g) for g in layers])
        np.testing.assert_allclose(rows(path)["mobility"][0], expected, rtol=1e-3)
        with h5py.File(path) as file:
            assert "beyond the paper" in str(file.attrs["notes"])


@pytest.mark.parametrize("kind", ["plain", "momentum", "decay", "adam"])
def test_the_gap_and_yaida_are_measured_for_plain_sgd_alone(tmp_path: Path, kind: str) -> None:
    inputs, targets = data()
    model = small()
    optimizers: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
        "plain": lambda p: torch.optim.SGD(p, lr=0.1),
        "momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.5),
        "decay": lambda p: torch.optim.SGD(p, lr=0.1, weight_decay=0.1),
        "adam": lambda p: torch.optim.Adam(p, lr=0.01),
    }
    optimizer = optimizers[kind](model.parameters())

    def loss() -> Tensor:
        return F.cross_entropy(model(inputs), targets)

    with Probe(model, optimizer, log=tmp_path / "log.h5", full_interval=1) as probe:
        for _ in range(3):
            with probe.step(replay=loss):
                optimizer.zero_grad()
                loss().backward()
                optimizer.step()
    found = rows(tmp_path / "log.h5")[0]
    for column in ("reversibility_gap", "fluctuation_dissipation"):
        assert np.isfinite(found[column]).all() == (kind == "plain"), column
        assert np.isnan(found[column]).all() == (kind != "plain"), column
    with h5py.File(tmp_path / "log.h5") as file:
        assert ("plain SGD" in str(file.attrs["notes"])) == (kind != "plain")


@pytest.mark.parametrize("part", [False, True])
def test_compiled_models_are_read_by_their_gradients(tmp_path: Path, part: bool) -> None:
    inputs, targets = data()
    plain = small()
    model = torch.compile(plain, backend="aot_eager")
    if part:
        plain[0] = torch.compile(plain[0], backend="aot_eager")
        model = plain
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    with Probe(model, optimizer, log=tmp_path / "log.h5", window=20) as probe:
        for _ in range(20):
            with probe.step():
                optimizer.zero_grad()
                F.cross_entropy(model(inputs), targets).backward()
                optimizer.step()
        assert probe.unmeasured == {name: f"{name} is compiled" for name in (["0"] if part else ["0", "1", "4"])}
    last = rows(tmp_path / "log.h5")[-1]
    # What is left where no module can be read: successive gradients, and the gradient's norm.
    assert np.isfinite(last["temperature"]).all()
    assert rows(tmp_path / "log.h5", "steps")["gradient_norm"][-1] > 0


def test_noise_fed_in_on_purpose_comes_back_at_each_lag(tmp_path: Path) -> None:
    """A linear loss whose gradient is AR(1) noise: its autocorrelation is ρ^lag."""
    rho, window = 0.5, 500
    generator = torch.Generator().manual_seed(6)
    model = nn.Linear(40, 30, bias=False).double()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    noise = torch.zeros(30, 40, dtype=torch.float64)
    options = {"window": window, "lags": 8, "interval": 1}
    with Probe(model, optimizer, log=tmp_path / "log.h5", **options) as probe:
        for _ in range(8 * window):
            noise = rho * noise + torch.randn(30, 40, generator=generator, dtype=torch.float64)
            with probe.step():
                optimizer.zero_grad()
                (model.weight * noise).sum().backward()
    found = rows(tmp_path / "log.h5", "autocorrelation")["autocorrelation"][:, 0].astype(float)
    assert found.shape == (8, 8)
    error = found.std(0, ddof=1) / np.sqrt(len(found))
    bias = (1 + rho) / (1 - rho) * 2 / window
    assert (np.abs(found.mean(0) - rho ** np.arange(8))[1:] < 4 * error[1:] + bias).all()


def test_gap_and_balance_on_a_quadratic(tmp_path: Path) -> None:
    """φ = h/2 ‖θ − x‖²: the gap is rh, and ⟨θ·∇U⟩ = r/2 ⟨g²⟩ when stationary."""
    curvature, rate = 0.8, 0.5
    generator = torch.Generator().manual_seed(7)

    class Quadratic(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.theta = nn.Parameter(torch.zeros(2000))

        def forward(self, x: Tensor) -> Tensor:
            return curvature / 2 * (self.theta - x).square().sum(1)

    model = Quadratic()
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    options = {"full_interval": 50, "window": 1600, "interval": 1}
    with Probe(model, optimizer, log=tmp_path / "log.h5", **options) as probe:
        for _ in range(800):
            x = torch.randn(4, 2000, generator=generator)
            with probe.step(replay=lambda x=x: model(x).mean()):
                optimizer.zero_grad()
                model(x).mean().backward()
                optimizer.step()
    found = rows(tmp_path / "log.h5")
    gaps = found["reversibility_gap"][::50]
    np.testing.assert_allclose(gaps, rate * curvature, rtol=1e-3)
    assert np.isnan(found["reversibility_gap"][1:50]).all()
    ratios = found["fluctuation_dissipation"][:, 0]
    # The mean of fifty readings of 2,000 components: an error of 0.004.
    np.testing.assert_allclose(ratios[~np.isnan(ratios)][-1], 1.0, atol=0.02)


def test_epoch_echo_is_expected_in_the_log(tmp_path: Path) -> None:
    inputs, targets = data(12)
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    options = {"window": 30, "lags": 6, "dataset_size": 12, "replacement": False}
    with Probe(model, optimizer, log=tmp_path / "log.h5", **options) as probe:
        for _ in range(20):
            for part in torch.randperm(12).split(3):
                with probe.step():
                    optimizer.zero_grad()
                    F.cross_entropy(model(inputs[part]), targets[part]).backward()
                    optimizer.step()
    found = rows(tmp_path / "log.h5", "autocorrelation")
    np.testing.assert_allclose(found["expected_echo"][0], [1, -1 / 4, -1 / 6, -1 / 12, 0, 0], atol=1e-6)
    assert found["autocorrelation"][:, :, 1].mean() < -0.1


def test_a_budget_widens_the_interval_and_the_log_says_so(tmp_path: Path) -> None:
    inputs, targets = data()
    model = small()
    with Probe(model, torch.optim.SGD(model.parameters(), lr=0.1), log=tmp_path / "log.h5", overhead=0.01) as probe:
        for _ in range(300):
            with probe.step():
                F.cross_entropy(model(inputs), targets).backward()
        assert probe.interval > 2
    assert len(rows(tmp_path / "log.h5")) < 150
    assert any(b"measuring one step in" in message for message in rows(tmp_path / "log.h5", "heartbeat")["message"])


def test_bad_settings_are_refused_in_words(tmp_path: Path) -> None:
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for options, words in (
        ({"window": 10}, "too short"),
        ({"sketch": 1}, "at least 2 columns"),
        ({"interval": 0}, "at least 1"),
        ({"overhead": 2.0}, "between 0 and 1"),
    ):
        with pytest.raises(InputError, match=words):
            Probe(model, optimizer, log=tmp_path / "log.h5", **options)
    with pytest.raises(InputError, match="without trainable parameters"):
        Probe(nn.ReLU(), optimizer, log=tmp_path / "log.h5")
