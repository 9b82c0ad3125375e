"""Hooks are on the model in steps with something to read, and whatever the loop does, they leave it alone."""

import contextlib
import copy
import gc
import io
import logging
import weakref
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from thermotui.errors import InputError
from thermotui.probe import Probe
from thermotui.probe.hooks import RestingHook, when_gradient_comes


def small() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3))


def batch(size: int = 12) -> Tensor:
    return torch.randn(size, 5, generator=torch.Generator().manual_seed(4))


def hooks(model: nn.Module) -> int:
    modules = sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())
    return modules + sum(len(p._post_accumulate_grad_hooks or ()) for p in model.parameters())


def rows(path: Path, stream: str = "reservoir") -> np.ndarray:
    with h5py.File(path) as file:
        return file[stream][:]


def test_steps_between_measurements_have_no_hooks(tmp_path: Path) -> None:
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    found = []
    with Probe(model, optimizer, log=tmp_path / "log.h5", interval=4, window=17) as probe:
        for _ in range(34):
            with probe.step():
                found.append(hooks(model))
                model(batch()).square().mean().backward()
    # The first window is measured at every step: its gradients are projected.
    assert all(found[:17])
    assert [step for step in range(17, 34) if found[step]] == [20, 24, 28, 32]
    assert hooks(model) == 0
    assert len(rows(tmp_path / "log.h5")) == 9


@pytest.mark.parametrize("size", [12, 1], ids=["within the batch", "from step to step"])
@pytest.mark.parametrize("interval", [1, 4])
def test_passes_between_steps_leave_the_log_as_it_is(tmp_path: Path, size: int, interval: int) -> None:
    """A critic's or an evaluation's gradients, as long as the loop takes them away again, are no part of any step."""
    generator = torch.Generator().manual_seed(6)
    batches = torch.randn(40, size, 5, generator=generator)

    def train(path: Path, aside: bool) -> dict[str, np.ndarray]:
        model = small()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        with Probe(model, optimizer, log=path, interval=interval, window=20) as probe:
            for inputs in batches:
                optimizer.zero_grad()
                with probe.step() as step:
                    loss = model(inputs).square().mean()
                    loss.backward()
                    optimizer.step()
                    step.record(loss=loss)
                if aside:
                    optimizer.zero_grad()
                    (100 * model(inputs).mean()).backward()
        return {
            f"{stream} {column}": rows(path, stream)[column]
            for stream, columns in {
                "steps": ("step", "loss", "gradient_norm"),
                "reservoir": ("step", "temperature"),
                "autocorrelation": ("step", "autocorrelation"),
            }.items()
            for column in columns
        }

    with_passes, without = train(tmp_path / "a.h5", True), train(tmp_path / "b.h5", False)
    assert np.isfinite(without["reservoir temperature"][2:]).all()
    for name, expected in without.items():
        np.testing.assert_array_equal(with_passes[name], expected, err_msg=name)


def test_gradients_of_other_passes_are_not_the_layers_noise(tmp_path: Path) -> None:
    """`autograd.grad` in a step ends in no parameter: the temperature is that of the loss alone."""

    def one(path: Path, aside: bool) -> np.ndarray:
        model, inputs = small(), batch().requires_grad_()
        with Probe(model, torch.optim.SGD(model.parameters(), lr=0.1), log=path) as probe, probe.step():
            loss = model(inputs).square().mean()
            if aside:
                torch.autograd.grad(loss, inputs, retain_graph=True)
            loss.backward()
        return rows(path)["temperature"]

    np.testing.assert_allclose(one(tmp_path / "a.h5", True), one(tmp_path / "b.h5", False), rtol=1e-5)


def test_a_gradient_penalty_is_said_to_be_out_of_reach(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model, inputs = small(), batch().requires_grad_()
    with (
        caplog.at_level(logging.WARNING, "thermotui"),
        Probe(model, torch.optim.SGD(model.parameters(), lr=0.1), log=tmp_path / "log.h5") as probe,
        probe.step(),
    ):
        loss = model(inputs).square().mean()
        (slope,) = torch.autograd.grad(loss, inputs, create_graph=True)
        (loss + slope.square().sum()).backward()
    assert set(probe.unmeasured) == {"0", "2"}
    assert "differentiated once more" in caplog.text
    assert np.isnan(rows(tmp_path / "log.h5")["temperature"]).all()


@pytest.mark.filterwarnings("ignore:Using backward.. with create_graph=True:UserWarning")
def test_a_backward_pass_that_can_be_differentiated_leaves_what_does_not_depend_on_it(tmp_path: Path) -> None:
    """The loss is linear in the last layer's output, so that its deltas carry no graph though its inputs do."""
    measured = []
    for create_graph in (False, True):
        model, log = small(), tmp_path / f"{create_graph}.h5"
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        with Probe(model, optimizer, log=log) as probe:
            for _ in range(3):
                optimizer.zero_grad()
                with probe.step():
                    (model(batch()) * torch.ones(3)).mean().backward(create_graph=create_graph)
                    optimizer.step()
        measured.append(rows(log)["temperature"][:, 1])
    assert np.all(measured[0] > 0.0)
    assert np.array_equal(*measured)


def test_an_optimizer_inside_the_backward_pass_is_left_alone(tmp_path: Path) -> None:
    """Its gradients are gone when the pass is over: the training goes on, the figures are missing."""
    model, alone = small(), small()
    for one in (model, alone):
        for parameter in one.parameters():

            def update(parameter: Tensor) -> None:
                with torch.no_grad():
                    parameter -= 0.1 * parameter.grad
                parameter.grad = None

            parameter.register_post_accumulate_grad_hook(update)
    with Probe(model, torch.optim.SGD(model.parameters(), lr=0.1), log=tmp_path / "log.h5", window=20) as probe:
        for _ in range(20):
            with probe.step():
                model(batch()).square().mean().backward()
    for _ in range(20):
        alone(batch()).square().mean().backward()
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), alone.parameters(), strict=True))
    assert np.isnan(rows(tmp_path / "log.h5")["temperature"]).all()


def test_a_window_has_consecutive_steps_wherever_the_log_goes_on(tmp_path: Path) -> None:
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for first, last in ((0, 30), (30, 85)):
        with Probe(model, optimizer, log=tmp_path / "log.h5", window=20, start_step=first) as probe:
            for _ in range(first, last):
                with probe.step():
                    optimizer.zero_grad()
                    model(torch.randn(8, 5)).square().mean().backward()
                    optimizer.step()
    assert rows(tmp_path / "log.h5", "autocorrelation")["step"].tolist() == [19, 59, 79]


def test_a_model_compiled_in_place_keeps_its_hooks_and_trains_the_same(tmp_path: Path) -> None:
    def train(probed: bool) -> list[Tensor]:
        model = small()
        model.compile(backend="aot_eager")
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        probe = Probe(model, optimizer, log=tmp_path / "log.h5", interval=3, window=20) if probed else None
        for _ in range(8):
            if probe is not None:
                probe.begin_step()
            optimizer.zero_grad()
            model(batch()).square().mean().backward()
            optimizer.step()
            if probe is not None:
                probe.end_step()
        if probe is not None:
            assert probe.unmeasured == {"0": "0 is compiled", "2": "2 is compiled"}
            probe.close()
        return [p.detach().clone() for p in model.parameters()]

    assert all(torch.equal(a, b) for a, b in zip(train(False), train(True), strict=True))


def resting(model: nn.Module, called: list[str]) -> RestingHook:
    def register() -> RemovableHandle:
        return model.register_forward_hook(lambda *_, **__: called.append("ours"), with_kwargs=True)

    return RestingHook(register, model, ("_forward_hooks", "_forward_hooks_with_kwargs"))


def pickled(model: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.save(model, file)
    # What is loaded elsewhere needs nothing of the probe.
    assert b"thermotui" not in file.getvalue()
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize("copied", [copy.deepcopy, pickled, lambda model: torch.optim.swa_utils.AveragedModel(model)])
@pytest.mark.parametrize("inside", [False, True])
def test_a_model_is_copied_and_saved_without_the_probe(
    tmp_path: Path, copied: Callable[[nn.Module], nn.Module], inside: bool
) -> None:
    def train(path: Path, with_copy: bool) -> np.ndarray:
        model = small()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        with Probe(model, optimizer, log=path, window=17) as probe:
            for _ in range(3):
                with probe.step():
                    optimizer.zero_grad()
                    loss = model(batch()).square().mean()
                    if with_copy and inside:
                        # Neither of the copy's passes is one of the model's.
                        copied(model)(batch(4)).square().sum().backward()
                    loss.backward()
                    optimizer.step()
                if with_copy:
                    other = copied(model)
                    assert torch.equal(other(batch()), model(batch()))
        return rows(path)

    plain, with_copies = train(tmp_path / "plain.h5", False), train(tmp_path / "copies.h5", True)
    for name in ("temperature", "temperature_se", "force"):
        assert np.array_equal(plain[name], with_copies[name], equal_nan=True)


@pytest.mark.parametrize("theirs", [True, False])
def test_a_hook_on_a_gradient_leaves_the_tensor_as_it_is(theirs: bool) -> None:
    weight = torch.ones(3, requires_grad=True)
    output = weight * 2.0
    seen: list[tuple[str, Tensor | None]] = []
    if theirs:
        output.register_hook(lambda gradient: seen.append(("theirs before", gradient)))
    before = output._backward_hooks
    when_gradient_comes(output, output.grad_fn, lambda gradient: seen.append(("ours", gradient)))
    assert output._backward_hooks is before
    output.register_hook(lambda gradient: seen.append(("theirs", gradient)))
    output.retain_grad()
    # What is done to the output later is none of the hook's business.
    output.mul_(3.0)
    output.sum().backward()
    found = dict(seen)
    assert found.keys() == {"ours", "theirs"} | ({"theirs before"} if theirs else set())
    assert all(torch.equal(gradient, torch.full((3,), 3.0)) for gradient in found.values() if gradient is not None)
    assert torch.equal(weight.grad, torch.full((3,), 6.0))


def test_a_resting_hook_comes_back_as_the_last_one() -> None:
    model, called = nn.Linear(2, 2), list[str]()
    hook = resting(model, called)
    hook.rest()
    hook.rest()
    model(torch.ones(2))
    assert called == [] and not model._forward_hooks_with_kwargs
    model.register_forward_hook(lambda *_: called.append("theirs"))
    hook.wake()
    model(torch.ones(2))
    assert called == ["theirs", "ours"]


def test_the_first_of_all_hooks_comes_back_as_the_first_one() -> None:
    model, called = nn.Linear(2, 2), list[str]()
    model.register_forward_hook(lambda *_: called.append("theirs"))
    register = partial(model.register_forward_hook, lambda *_: called.append("ours"), prepend=True)
    hook = RestingHook(register, model, ("_forward_hooks",), first=True)
    model(torch.ones(2))
    hook.rest()
    hook.wake()
    model(torch.ones(2))
    assert called == ["ours", "theirs"] * 2


@pytest.mark.parametrize("name", ["_forward_hooks", "_forward_hooks_with_kwargs"])
def test_a_resting_hook_comes_back_where_the_module_has_another_place_for_it(name: str) -> None:
    """As copying, wrapping or stripping a module gives it, whether or not somebody keeps the old one."""
    model, called = nn.Linear(2, 2), list[str]()
    hook = resting(model, called)
    hook.rest()
    before = getattr(model, name)
    setattr(model, name, OrderedDict())
    for _ in range(2):
        hook.wake()
        model(torch.ones(2))
        hook.rest()
        model(torch.ones(2))
    assert called == ["ours", "ours"] and not before


@pytest.mark.parametrize("interval", [1, 4])
def test_parameters_frozen_before_the_first_step_are_read_once_they_are_trained(tmp_path: Path, interval: int) -> None:
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Probe(model, optimizer, log=tmp_path / "log.h5", interval=interval, window=17) as probe:
        model[2].requires_grad_(False)
        for step in range(40):
            model[2].requires_grad_(step >= 20)
            with probe.step():
                optimizer.zero_grad()
                model(batch()).square().mean().backward()
                optimizer.step()
    temperatures = rows(tmp_path / "log.h5")["temperature"]
    assert np.isfinite(temperatures[:, 0]).all()
    assert np.isfinite(temperatures[20 // interval :, 1]).all() and not probe.unmeasured


def test_a_directory_that_cannot_be_made_is_said_before_the_training(tmp_path: Path) -> None:
    model = small()
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        Probe(model, torch.optim.SGD(model.parameters(), lr=0.1), log=tmp_path / "file" / "log.h5")


def test_a_loss_that_is_added_up_after_it_was_recorded_is_noted_as_a_whole(tmp_path: Path) -> None:
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    expected = []
    with Probe(model, optimizer, log=tmp_path / "log.h5") as probe:
        for _ in range(3):
            optimizer.zero_grad()
            with probe.step() as step:
                total = torch.zeros(1)
                step.record(loss=total, accuracy=torch.tensor(0.5, requires_grad=True))
                for part in batch().chunk(2):
                    loss = model(part).square().mean() / 2
                    loss.backward()
                    total += loss.detach()
                optimizer.step()
            assert step.loss is None
            expected.append(total.item())
    found = rows(tmp_path / "log.h5", "steps")
    assert found["loss"].tolist() == expected and (found["accuracy"] == 0.5).all()


def test_a_window_begins_among_steps_that_nothing_reads(tmp_path: Path) -> None:
    """Where a run was continued at any step, the steps measured are not those at which windows begin."""
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Probe(model, optimizer, log=tmp_path / "log.h5", interval=4, window=17, start_step=1) as probe:
        for _ in range(90):
            with probe.step():
                optimizer.zero_grad()
                model(batch()).square().mean().backward()
                optimizer.step()
    assert 68 not in rows(tmp_path / "log.h5")["step"]
    assert rows(tmp_path / "log.h5", "autocorrelation")["step"].tolist() == [84]


@pytest.mark.parametrize("fails", [False, True])
def test_a_recorded_loss_does_not_keep_its_graph(tmp_path: Path, fails: bool) -> None:
    """An abandoned step may be one that ran out of memory."""
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Probe(model, optimizer, log=tmp_path / "log.h5") as probe:
        with contextlib.suppress(MemoryError), probe.step() as step:
            loss = model(batch()).square().mean()
            held = weakref.ref(loss)
            step.record(loss=loss)
            if fails:
                raise MemoryError
            loss.backward()
        del loss
        gc.collect()
        assert held() is None
