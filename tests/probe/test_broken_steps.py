"""Steps that do not come to their end: of an exception, a batch that was passed over, a log that cannot be written."""

import contextlib
from pathlib import Path
from typing import Any
from unittest.mock import Mock, patch

import h5py
import pytest
import torch
from torch.nn import functional as F

from tests.probe.test_hooks import hooks
from tests.probe.test_loops import data, rows, small
from thermotui.probe import Probe


def train(
    probe: Probe, model: torch.nn.Module, optimizer: torch.optim.Optimizer, steps: int, broken: int, part: Any
) -> None:
    """Steps of which one is broken, as the method `part` of an object fails in it: (object, name, error)."""
    owner, name, error = part
    inputs, targets = data()
    for count in range(steps):
        with contextlib.ExitStack() as around:
            if count == broken:
                around.enter_context(patch.object(owner, name, Mock(side_effect=error)))
                around.enter_context(pytest.raises(type(error)))
            around.enter_context(probe.step())
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), targets).backward()
            optimizer.step()


@pytest.mark.parametrize("caught", [False, True])
def test_an_exception_in_a_step_passes_through_and_leaves_nothing(tmp_path: Path, caught: bool) -> None:
    """As it is, whether the loop lets it out or catches it and goes on; its step is not in the log."""
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    error = RuntimeError("out of memory")
    try:
        with Probe(model, optimizer, log=tmp_path / "log.h5", window=20) as probe:
            for step in range(6):
                try:
                    with probe.step():
                        optimizer.zero_grad()
                        model(data()[0]).square().mean().backward()
                        if step == 3:
                            raise error
                        optimizer.step()
                except RuntimeError as passed:
                    assert passed is error
                    # A forward and backward pass out of the step, as evaluation has them, is not read.
                    model(data(4)[0]).sum().backward()
                    assert probe._recorder.step_samples == 12
                    if not caught:
                        raise
    except RuntimeError as passed:
        assert passed is error and not caught
    assert hooks(model) == 0
    assert rows(tmp_path / "log.h5")["step"].tolist() == list(range(5 if caught else 3))
    assert rows(tmp_path / "log.h5", "heartbeat")["state"][-1] == (b"finished" if caught else b"failed")


def test_an_error_in_the_loop_is_the_loops_own_and_closes_the_log(tmp_path: Path) -> None:
    model = small()
    with (
        pytest.raises(RuntimeError, match="mine"),
        Probe(model, torch.optim.SGD(model.parameters(), lr=0.1), log=tmp_path / "log.h5") as probe,
    ):
        with probe.step() as step:
            loss = model(data()[0]).square().mean()
            loss.backward()
            step.record(loss=loss, accuracy=0.5)
        with probe.step():
            raise RuntimeError("mine")
    assert rows(tmp_path / "log.h5", "heartbeat")["state"][-1] == b"failed"
    assert rows(tmp_path / "log.h5", "steps")[["step", "accuracy"]].tolist() == [(0, 0.5)]
    assert not any(module._forward_hooks for module in model.modules())


def test_steps_begun_anew_before_the_first_one_ended_count_their_own_samples(tmp_path: Path) -> None:
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Probe(model, optimizer, log=tmp_path / "log.h5", interval=8, window=17, start_step=17) as probe:
        for _ in range(4):
            probe.begin_step()
            probe.micro_batch(12)
        model(data()[0]).square().mean().backward()
        probe.end_step()
    with h5py.File(tmp_path / "log.h5") as file:
        assert file.attrs["batch_size"] == 12


@pytest.mark.parametrize("interval", [1, 3])
def test_a_step_that_is_begun_twice_is_measured_once(tmp_path: Path, interval: int) -> None:
    """As of a batch that the loop passes over, at every kind of step there is."""
    model, (inputs, targets) = small(), data()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    probe = Probe(model, optimizer, log=tmp_path / "run.h5", window=20, lags=4, interval=interval)
    for _ in range(100):
        probe.begin_step()
        F.cross_entropy(model(inputs), targets).backward()
        probe.begin_step()
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
        probe.end_step()
    probe.close()
    assert rows(tmp_path / "run.h5", "steps")["step"].tolist() == list(range(100))
    assert rows(tmp_path / "run.h5", "reservoir")["step"].tolist() == list(range(0, 100, interval))


def test_a_step_that_nothing_reads_is_left_by_an_exception_like_any_other(tmp_path: Path) -> None:
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Probe(model, optimizer, log=tmp_path / "log.h5", interval=8, window=17) as probe:
        for attempt in range(60):
            try:
                with probe.step() as step:
                    optimizer.zero_grad()
                    loss = model(data()[0]).square().mean()
                    loss.backward()
                    if attempt % 3 == 1:
                        raise ValueError("a batch that cannot be read")
                    optimizer.step()
                    step.record(loss=loss)
            except ValueError:
                pass
    assert rows(tmp_path / "log.h5", "steps")["step"].tolist() == list(range(40))
    assert rows(tmp_path / "log.h5")["step"].tolist() == [0, 8, 16, 24, 32]


def test_a_loop_goes_on_where_the_log_could_not_be_written_once(tmp_path: Path) -> None:
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Probe(model, optimizer, log=tmp_path / "run.h5", window=20, lags=4) as probe:
        train(probe, model, optimizer, 45, 7, (probe._log, "add", OSError("no space left on device")))
    assert rows(tmp_path / "run.h5", "steps")["step"].tolist() == list(range(44))
    assert rows(tmp_path / "run.h5", "reservoir")["step"].tolist() == list(range(44))
    # The step was begun anew, so that the first window is full one step early; the second one is as always.
    assert rows(tmp_path / "run.h5", "autocorrelation")["step"].tolist() == [18, 39]


def test_one_step_that_cannot_be_taken_leaves_the_others(tmp_path: Path) -> None:
    model = small()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    with Probe(model, optimizer, log=tmp_path / "run.h5", window=40, lags=4) as probe:
        train(probe, model, optimizer, 70, 32, (probe._mobility, "preconditioner", MemoryError("out of memory")))
    assert rows(tmp_path / "run.h5", "steps")["step"].tolist() == list(range(69))
    # The step was begun anew, and is not measured twice.
    assert rows(tmp_path / "run.h5", "reservoir")["step"].tolist() == [step for step in range(69) if step != 32]
