"""The mobility is what a unit of gradient moves the parameters by, layer by layer, or it is no number."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.devices import DEVICES
from tests.probe.test_devices import nobody_waits
from thermotui.errors import InputError
from thermotui.probe import Probe
from thermotui.probe.measurement import RAW, MeasurementRows, Measurements, Sampling
from thermotui.probe.mobility import Mobility
from thermotui.runlog.schema import RESERVOIR, Header, Layer, row_dtype

Make = Callable[[Any], torch.optim.Optimizer]

KINDS: dict[str, Make] = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.3),
    "nesterov": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "adam": lambda p: torch.optim.Adam(p, lr=0.01),
    "amsgrad": lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.0, amsgrad=True),
    "nadam": lambda p: torch.optim.NAdam(p, lr=0.01),
    "radam": lambda p: torch.optim.RAdam(p, lr=0.01),
    "sparse adam": lambda p: torch.optim.SparseAdam(list(p), lr=0.01, eps=1e-2),
    "adamax": lambda p: torch.optim.Adamax(p, lr=0.01),
    "adagrad": lambda p: torch.optim.Adagrad(p, lr=0.01, lr_decay=0.002),
    "adadelta": lambda p: torch.optim.Adadelta(p, lr=0.5, rho=0.999),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.01, alpha=0.999),
    "rmsprop with momentum": lambda p: torch.optim.RMSprop(p, lr=0.01, alpha=0.999, momentum=0.8),
    "rmsprop, centered": lambda p: torch.optim.RMSprop(p, lr=0.01, alpha=0.999, centered=True),
}


def layers() -> list[list[nn.Parameter]]:
    torch.manual_seed(0)
    return [[nn.Parameter(torch.randn(4, 3).double()), nn.Parameter(torch.randn(5).double())]]


def response(moved: list[Tensor], gradients: list[Tensor]) -> float:
    """μ of μ‖g‖² = −Δθ·g."""
    steps, forces = (torch.cat([one.flatten() for one in each]) for each in (moved, gradients))
    return float(steps @ forces / (forces @ forces))


def mobility_of(mobility: Mobility) -> np.ndarray:
    preconditioner = mobility.preconditioner()
    return mobility.rates() * (1.0 if preconditioner is None else preconditioner.double().numpy())


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_what_a_unit_of_gradient_moves_in_the_long_run(kind: str) -> None:
    """Gradients that alternate about a mean: displacement along the mean gradient, over its square."""
    parameters = layers()
    optimizer = KINDS[kind](iter(parameters[0]))
    mobility = Mobility(optimizer, parameters)
    means = [torch.rand_like(p) + 0.1 for p in parameters[0]]
    found = []
    for step in range(2000):
        if step == 1998:
            before = [p.detach().clone() for p in parameters[0]]
        for parameter, mean in zip(parameters[0], means, strict=True):
            gradient = mean * (1.5 if step % 2 else 0.5)
            parameter.grad = gradient.to_sparse(1) if kind == "sparse adam" else gradient
        optimizer.step()
        if step >= 1998:
            found.append(mobility_of(mobility)[0])
    moved = [(b - p.detach()) / 2 for b, p in zip(before, parameters[0], strict=True)]
    assert np.mean(found) == pytest.approx(response(moved, means), rel=0.01)


@pytest.mark.parametrize("kind", ["adam", "amsgrad", "radam", "sparse adam", "adagrad"])
def test_it_is_what_a_unit_of_gradient_moves_from_the_first_step(kind: str) -> None:
    parameters = layers()
    optimizer = KINDS[kind](iter(parameters[0]))
    mobility = Mobility(optimizer, parameters)
    gradients = [torch.rand_like(p) + 0.1 for p in parameters[0]]
    for _ in range(12):
        before = [p.detach().clone() for p in parameters[0]]
        for parameter, gradient in zip(parameters[0], gradients, strict=True):
            parameter.grad = gradient.to_sparse(1) if kind == "sparse adam" else gradient.clone()
        optimizer.step()
        expected = response([b - p.detach() for b, p in zip(before, parameters[0], strict=True)], gradients)
        # A default device is the affair of the training.
        with torch.device("meta"):
            assert mobility_of(mobility)[0] == pytest.approx(expected, rel=1e-5)


DEVICE_KINDS: dict[str, Make] = {kind: make for kind, make in KINDS.items() if "sparse" not in kind} | {
    "adam, fused": lambda p: torch.optim.Adam(p, lr=0.01, fused=True),
    "radam, capturable": lambda p: torch.optim.RAdam(p, lr=0.01, capturable=True),
}


@pytest.mark.parametrize(
    ("kind", "device"),
    # What can be captured in a graph is for devices alone.
    [(kind, device) for kind in DEVICE_KINDS for device in DEVICES if device != "cpu" or "capturable" not in kind],
)
def test_it_is_read_on_any_device_without_waiting_for_it(kind: str, device: str) -> None:
    found = []
    reference = KINDS[kind if kind in KINDS else kind.partition(",")[0]]
    for where, make in (("cpu", reference), (device, DEVICE_KINDS[kind])):
        parameters = [[nn.Parameter(p.detach().to(where)) for p in layer] for layer in layers()]
        unused = nn.Parameter(torch.zeros(3, dtype=torch.float64, device=where))
        optimizer = make([*parameters[0], unused])
        mobility = Mobility(optimizer, [*parameters, [unused]])
        for _ in range(8):
            for parameter in parameters[0]:
                parameter.grad = torch.linspace(0.1, 1.0, parameter.numel()).view_as(parameter).to(parameter)
            optimizer.step()
        # What the optimizers keep on the host can be read there at any time.
        with contextlib.nullcontext() if where == "cpu" else nobody_waits(where):
            preconditioner, rates = mobility.preconditioner(), mobility.rates()
        if preconditioner is None:
            found.append(rates)
            continue
        assert preconditioner.device.type == where
        found.append(rates * preconditioner.double().cpu().numpy())
    np.testing.assert_allclose(found[1], found[0], rtol=1e-4)
    assert np.isfinite(found[0][0])
    assert np.isfinite(found[0][1]) == (kind in ("sgd", "momentum", "nesterov"))


def test_complex_parameters_count_by_their_real_components() -> None:
    parameter = nn.Parameter(torch.randn(6, dtype=torch.complex128))
    optimizer = torch.optim.Adam([parameter], lr=0.01)
    mobility = Mobility(optimizer, [[parameter]])
    parameter.grad = torch.randn(6, dtype=torch.complex128)
    before = parameter.detach().clone()
    optimizer.step()
    moved, gradient = (torch.view_as_real(one) for one in (before - parameter.detach(), parameter.grad))
    assert mobility_of(mobility)[0] == pytest.approx(response([moved], [gradient]), rel=1e-5)


def test_momentum_without_friction_has_no_mobility() -> None:
    parameters = layers()
    assert np.isnan(Mobility(torch.optim.SGD(parameters[0], lr=0.1, momentum=1.0), parameters).rates()).all()


def test_a_layer_partly_in_the_optimizer_counts_the_rest_as_still() -> None:
    parameters = layers()
    optimizer = torch.optim.Adam(parameters[0][:1], lr=0.01)
    mobility = Mobility(optimizer, parameters)
    parameters[0][0].grad = torch.ones_like(parameters[0][0])
    optimizer.step()
    assert mobility_of(mobility)[0] == pytest.approx(0.01 * 12 / 17, rel=1e-5)


@pytest.mark.parametrize("kind", ["adam", "adagrad"])
def test_a_layer_that_the_optimizer_made_no_step_with_has_no_mobility_and_leaves_the_others_theirs(kind: str) -> None:
    used, unused = layers()[0]
    optimizer = KINDS[kind]([used, unused])
    mobility = Mobility(optimizer, [[used], [unused]])
    assert np.isnan(mobility_of(mobility)).all()
    used.grad = torch.ones_like(used)
    optimizer.step()
    np.testing.assert_allclose(mobility_of(mobility), [0.01, np.nan], rtol=1e-5)


def test_groups_that_change_are_noticed() -> None:
    first, second = layers()[0]
    optimizer = torch.optim.SGD([first], lr=0.1)
    mobility = Mobility(optimizer, [[first], [second]])
    np.testing.assert_array_equal(mobility.rates(), [0.1, np.nan])
    assert mobility.absent == (1,)
    optimizer.param_groups[0]["params"].append(second)
    np.testing.assert_array_equal(mobility.rates(), [0.1, 0.1])
    assert mobility.absent == ()
    # As many groups of as many parameters, but others.
    optimizer.param_groups.clear()
    optimizer.add_param_group({"params": [second, nn.Parameter(torch.zeros(1))], "lr": 0.2})
    np.testing.assert_array_equal(mobility.rates(), [np.nan, 0.2])
    optimizer.param_groups.pop()
    assert np.isnan(mobility.rates()).all() and np.isnan(mobility.learning_rate)


def test_figures_of_a_layer_are_unknown_until_its_preconditioner_was_read() -> None:
    dtype = row_dtype(RESERVOIR, Header("", 0.0, "x", (Layer("a", 10), Layer("b", 30)), lags=4))
    raw = np.full((4, len(RAW), 2), np.nan)
    raw[:, RAW.index("from_steps")] = 1.0
    raw[1, RAW.index("preconditioner")] = [np.nan, 2.0]
    raw[3, RAW.index("preconditioner")] = [4.0, 8.0]
    steps = np.arange(4)
    measured = Measurements(steps, np.zeros(4), np.ones(4, np.int64), np.full((4, 2), 0.1), np.ones(4), raw)
    for preconditioned, before in ((True, np.nan), (False, 1.0)):
        rows = MeasurementRows(
            dtype, np.array([10.0, 30.0]), Sampling(0, True, 1, False), averaged=1, preconditioned=preconditioned
        ).rows(measured)
        factors = np.array([[before, before], [np.nan, 2.0], [np.nan, 2.0], [4.0, 8.0]])
        np.testing.assert_allclose(rows["temperature"], 0.05 * factors / [10.0, 30.0], rtol=1e-6)
        # That of the step is over the layers in which it is known.
        np.testing.assert_allclose(rows["mobility"], [0.1 * before, 0.2, 0.2, 0.7], rtol=1e-6)


class Network(nn.Module):
    """Two layers in use, and one that is not where it is wanted."""

    def __init__(self, pooler: bool = False) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.body, self.head = nn.Linear(6, 10), nn.Linear(10, 3)
        if pooler:
            self.pooler = nn.Linear(10, 10)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(torch.tanh(self.body(inputs)))


def trained(
    path: Path,
    make: Callable[[Network], torch.optim.Optimizer],
    *,
    model: Network | None = None,
    steps: int = 40,
    before: Callable[[int, torch.optim.Optimizer], object] = lambda step, optimizer: None,
    update: Callable[[int, torch.optim.Optimizer], object] = lambda step, optimizer: optimizer.step(),
) -> np.ndarray:
    """Rows of the reservoir of a training; before: each step, update: in the place of the optimizer's own."""
    model = Network() if model is None else model
    optimizer = make(model)
    generator = torch.Generator().manual_seed(2)
    with Probe(model, optimizer, log=path) as probe:
        for step in range(steps):
            before(step, optimizer)
            inputs = torch.randn(8, 6, generator=generator)
            targets = torch.randint(3, (8,), generator=generator)
            with probe.step():
                model.zero_grad()
                F.cross_entropy(model(inputs), targets).backward()
                update(step, optimizer)
    with h5py.File(path) as file:
        return np.asarray(file["reservoir"][:])


def notes(path: Path) -> str:
    with h5py.File(path) as file:
        return str(file.attrs["notes"])


def adam(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), lr=1e-3)


def test_one_layer_without_a_state_does_not_take_the_preconditioner_from_the_others(tmp_path: Path) -> None:
    whole = trained(tmp_path / "a.h5", adam)
    pooler = trained(tmp_path / "b.h5", adam, model=Network(pooler=True))
    np.testing.assert_allclose(pooler["temperature"][:, :2], whole["temperature"], rtol=1e-5)
    np.testing.assert_allclose(pooler["mobility"], whole["mobility"], rtol=1e-5)
    assert np.isnan(pooler["temperature"][:, 2]).all()
    assert whole["mobility"][-1] > 5e-3


def test_a_first_step_that_is_skipped_leaves_one_measurement_unknown(tmp_path: Path) -> None:
    """As a GradScaler does whose first scale is too large."""

    def unless_first(step: int, optimizer: torch.optim.Optimizer) -> None:
        if step:
            optimizer.step()

    rows = trained(tmp_path / "log.h5", adam, steps=5, update=unless_first)
    assert np.isnan(rows["temperature"][0]).all() and np.isnan(rows["mobility"][0])
    assert np.isfinite(rows["temperature"][1:]).all() and (rows["mobility"][1:] > 5e-3).all()


def test_layers_of_another_optimizer_have_no_temperature_and_the_log_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = trained(tmp_path / "whole.h5", lambda model: torch.optim.SGD(model.parameters(), lr=0.0))
    with caplog.at_level(logging.WARNING, "thermotui"):
        rows = trained(tmp_path / "log.h5", lambda model: torch.optim.SGD(model.head.parameters(), lr=0.05))
    said = "body: none of its parameters are in the optimizer, so its mobility is unknown."
    assert [record.getMessage() for record in caplog.records] == [said]
    assert said in notes(tmp_path / "log.h5") and said not in notes(tmp_path / "whole.h5")
    assert np.isnan(rows["temperature"][:, 0]).all() and (rows["temperature"][:, 1] > 0).all()
    np.testing.assert_allclose(rows["mobility"], 0.05)
    np.testing.assert_array_equal(whole["temperature"], 0.0)


@pytest.mark.parametrize("whole", [False, True])
def test_groups_taken_away_do_not_stop_the_loop(tmp_path: Path, whole: bool, caplog: pytest.LogCaptureFixture) -> None:
    def by_layer(model: Network) -> torch.optim.Optimizer:
        groups = [{"params": layer.parameters()} for layer in (model.body, model.head)]
        return torch.optim.Adam(groups, lr=1e-3)

    def take_away(step: int, optimizer: torch.optim.Optimizer) -> None:
        if step == 5:
            del optimizer.param_groups[0 if whole else 1 :]

    with caplog.at_level(logging.WARNING, "thermotui"):
        rows = trained(tmp_path / "log.h5", by_layer, before=take_away)
    assert np.isfinite(rows["temperature"][:5]).all()
    assert np.isnan(rows["temperature"][5:, 1]).all()
    assert np.isnan(rows["temperature"][5:, 0]).all() == whole
    absent = "body, head" if whole else "head"
    assert [record.getMessage() for record in caplog.records if record.getMessage().startswith(absent)]


def test_parameters_appended_to_a_group_have_a_mobility_from_then_on(tmp_path: Path) -> None:
    model = Network()

    def append(step: int, optimizer: torch.optim.Optimizer) -> None:
        if step == 5:
            optimizer.param_groups[0]["params"].extend(model.body.parameters())

    def head(model: Network) -> torch.optim.Optimizer:
        return torch.optim.SGD(model.head.parameters(), lr=0.05)

    rows = trained(tmp_path / "log.h5", head, model=model, before=append)
    assert np.isnan(rows["temperature"][:5, 0]).all() and (rows["temperature"][5:, 0] > 0).all()


@pytest.mark.parametrize("kind", ["ASGD", "Rprop", "Adafactor"])
def test_the_log_says_where_a_preconditioner_is_not_known(tmp_path: Path, kind: str) -> None:
    make = getattr(torch.optim, kind)
    rows = trained(tmp_path / "log.h5", lambda model: make(model.parameters(), lr=1e-3), steps=3)
    np.testing.assert_allclose(rows["mobility"], 1e-3)
    assert f"{kind}: " in notes(tmp_path / "log.h5")
    assert "not known, so that the mobility is the learning rate alone" in notes(tmp_path / "log.h5")


def test_momentum_of_an_optimizer_that_is_not_known_does_not_add_up() -> None:
    class Mine(torch.optim.Optimizer):
        """Its momentum may be that of a running mean, as Muon's is."""

        def __init__(self, params: Any) -> None:
            super().__init__(params, {"lr": 0.1, "momentum": 0.9})

    parameters = layers()
    assert Mobility(Mine(parameters[0]), parameters).rates().tolist() == [0.1]


@pytest.mark.parametrize("loop", ["another", "its own", "its own, late"])
def test_an_optimizer_that_makes_no_steps_is_noticed_once(
    tmp_path: Path, loop: str, caplog: pytest.LogCaptureFixture
) -> None:
    model = Network()
    fresh = torch.optim.SGD(model.parameters(), lr=0.005)

    def step_with_the_new_one(step: int, optimizer: torch.optim.Optimizer) -> None:
        if loop == "another":
            (fresh if step >= 5 else optimizer).step()
        elif loop == "its own":
            optimizer.step()

    def step_late(step: int, optimizer: torch.optim.Optimizer) -> None:
        if loop == "its own, late" and step:
            optimizer.step()

    with caplog.at_level(logging.WARNING, "thermotui"):
        trained(
            tmp_path / "log.h5",
            lambda model: torch.optim.SGD(model.parameters(), lr=0.05),
            model=model,
            update=step_with_the_new_one,
            before=step_late,
        )
    said = [record.getMessage() for record in caplog.records if "makes no steps" in record.getMessage()]
    assert len(said) == (loop == "another")


def test_an_optimizer_that_does_not_tell_of_its_steps_is_refused_in_words(tmp_path: Path) -> None:
    class Wrapper:
        def __init__(self, base: torch.optim.Optimizer) -> None:
            self.base, self.param_groups, self.state = base, base.param_groups, base.state

    model = Network()
    wrapper: Any = Wrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    with pytest.raises(InputError, match="an optimizer like Wrapper, which has no register_step_pre_hook"):
        Probe(model, wrapper, log=tmp_path / "log.h5")
    # The model is as it was.
    assert not any(module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize("kind", ["adam", "adamax", "adagrad", "adagrad, begun", "adadelta", "rmsprop"])
def test_tokens_that_never_came_are_not_in_the_mobility(tmp_path: Path, kind: str) -> None:
    make: dict[str, Make] = {
        "adam": lambda p: torch.optim.Adam(p, lr=1e-3),
        "adamax": lambda p: torch.optim.Adamax(p, lr=1e-3),
        "adagrad": lambda p: torch.optim.Adagrad(p, lr=1e-3),
        "adagrad, begun": lambda p: torch.optim.Adagrad(p, lr=1e-3, initial_accumulator_value=1e-9),
        "adadelta": lambda p: torch.optim.Adadelta(p, lr=1e-3),
        "rmsprop": lambda p: torch.optim.RMSprop(p, lr=1e-3),
    }

    def preconditioner(path: Path, vocabulary: int) -> float:
        torch.manual_seed(0)
        # The rest of the vocabulary is in no sample.
        model = nn.Sequential(nn.Embedding(50, 4), nn.Flatten(), nn.Linear(12, 3))
        if vocabulary > 50:
            model[0].weight = nn.Parameter(torch.cat([model[0].weight.detach(), torch.zeros(vocabulary - 50, 4)]))
        optimizer = make[kind](model.parameters())
        generator = torch.Generator().manual_seed(1)
        with Probe(model, optimizer, log=path) as probe:
            for _ in range(40):
                with probe.step():
                    optimizer.zero_grad()
                    model(torch.randint(50, (16, 3), generator=generator)).square().mean().backward()
                    optimizer.step()
            found = probe._mobility.preconditioner()
        assert found is not None
        return float(found[0])

    np.testing.assert_allclose(preconditioner(tmp_path / "a.h5", 100), preconditioner(tmp_path / "b.h5", 50), rtol=1e-4)
