"""The probe on every device there is: the figures of a processor, the training untouched, and nobody waits."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from tests.devices import DEVICES
from tests.probe.conftest import Case
from tests.probe.test_loops import data, rows, small
from thermotui.probe import Probe, log, readings

BATCHES = torch.randint(60, (70, 9), generator=torch.Generator().manual_seed(8))


def on(device: str, case: Case) -> Case:
    inputs, targets = (tensor.to(device) for tensor in (case.inputs, case.targets))
    return dataclasses.replace(case, model=case.model.to(device), inputs=inputs, targets=targets)


@contextlib.contextmanager
def one_result() -> Iterator[None]:
    """Sums on a device come out alike from run to run, as far as it can."""
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.deterministic = True
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        torch.backends.cudnn.deterministic = False


def train(case: Case, path: Path | None, *, batches: Tensor, at_once: bool = False, **options: Any) -> list[Tensor]:
    """The parameters in the end; `path` is the probe's log, without it there is none. at_once: as on a device."""
    model = case.model
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    full = {"full_loss": lambda: [case.phi(torch.arange(60, device=case.inputs.device)).mean()], "full_interval": 3}
    as_on_a_device = patch.object(readings, "takes_norms_at_once", lambda device: True)
    with as_on_a_device if at_once else contextlib.nullcontext():
        probe = None if path is None else Probe(model, optimizer, log=path, **(full | options))
    for indices in batches:

        def update(indices: Tensor = indices) -> Tensor:
            optimizer.zero_grad()
            loss = case.phi(indices).mean()
            loss.backward()
            optimizer.step()
            return loss

        if probe is None:
            update()
        else:
            with probe.step() as step:
                step.record(loss=update())
    if probe is not None:
        probe.close()
    return [p.detach() for p in model.parameters()]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", ["mlp", "cnn", "transformer", "tied transformer", "gated"])
def test_a_device_gives_the_figures_of_the_processor(
    case: Callable[[str], Case], tmp_path: Path, name: str, device: str
) -> None:
    """Exact norms, so that no random sketch of the device's own comes in."""
    options: dict[str, Any] = {"sketch": 0, "window": 6, "lags": 3, "batches": BATCHES[:12]}
    train(case(name), tmp_path / "cpu.h5", **options)
    options["batches"] = BATCHES[:12].to(device)
    # Without a device the processor goes its way: all norms and all vectors in one operation.
    train(on(device, case(name)), tmp_path / "device.h5", at_once=True, **options)
    for stream in ("steps", "reservoir", "autocorrelation"):
        expected, found = rows(tmp_path / "cpu.h5", stream), rows(tmp_path / "device.h5", stream)
        assert len(found) == len(expected) > 0
        for column in set(expected.dtype.names) - {"time", "temperature_full_se"}:
            np.testing.assert_allclose(found[column], expected[column], rtol=1e-3, atol=1e-9, err_msg=column)
        if stream == "reservoir":
            assert np.isfinite(expected["temperature"]).all() and np.isfinite(expected["temperature_full"]).any()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", ["cnn", "transformer", "tied transformer"])
def test_a_sketch_is_unbiased_against_exact_norms(
    case: Callable[[str], Case], tmp_path: Path, name: str, device: str
) -> None:
    """At one θ, on the same batches, in every layer; a bias is part of its weight's sketch."""
    found = []
    for sketch in (0, 2):
        built = on(device, case(name))
        optimizer = torch.optim.SGD(built.model.parameters(), lr=0.1)
        with Probe(built.model, optimizer, log=tmp_path / f"{sketch}.h5", sketch=sketch) as probe:
            for indices in torch.cat([BATCHES] * 4).to(device):
                optimizer.zero_grad()
                with probe.step():
                    built.phi(indices).mean().backward()
        found.append(rows(tmp_path / f"{sketch}.h5"))
    exact, sketched = found
    difference = (sketched["temperature"] - exact["temperature"]).astype(np.float64)
    error = difference.std(0, ddof=1) / len(difference) ** 0.5
    assert (error > 0).any()
    assert (np.abs(difference.mean(0)) <= 4 * error + 1e-6 * exact["temperature"].mean(0)).all()
    # What the sketch adds to the scatter is in the claimed errors, which an unlucky draw of two columns makes small.
    claimed = np.sqrt((sketched["temperature_se"].astype(np.float64) ** 2).mean(0))
    assert (claimed >= 0.8 * difference.std(0)).all()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", ["mlp", "cnn", "transformer"])
def test_training_on_a_device_is_bitwise_the_same(
    case: Callable[[str], Case], tmp_path: Path, name: str, device: str
) -> None:
    batches = BATCHES[:25].to(device)
    with one_result():
        alone = train(on(device, case(name)), None, batches=batches)
        again = train(on(device, case(name)), None, batches=batches)
        probed = train(on(device, case(name)), tmp_path / "log.h5", batches=batches, sketch=2, window=20)
    assert all(torch.equal(a, b) for a, b in zip(alone, again, strict=True)), "the training itself is not repeatable"
    assert all(torch.equal(a, b) for a, b in zip(alone, probed, strict=True))


class Waits(TorchDispatchMode):
    """Refuses what makes the host wait for a device, also where there is none to wait for."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default):
            raise AssertionError(f"the host waits in {func}")
        return func(*args, **(kwargs or {}))


@contextlib.contextmanager
def nobody_waits(device: str) -> Iterator[None]:
    if device == "cpu":
        with Waits():
            yield
        return
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", ["mlp", "cnn", "transformer", "tied transformer"])
def test_the_host_does_not_wait_for_the_device_in_a_step(
    case: Callable[[str], Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, device: str
) -> None:
    """Seventy steps: what is read at every 16th measurement and windows that end are among them, a flush is not."""
    monkeypatch.setattr(log, "FLUSH_SECONDS", 1e9)
    built = on(device, case(name))
    batches = BATCHES.to(device)
    optimizer = torch.optim.SGD(built.model.parameters(), lr=0.05)
    with Probe(built.model, optimizer, log=tmp_path / "log.h5", window=20) as probe:
        for number, indices in enumerate(batches):
            # The log is made after the first step; a batch of another size is an epoch's last.
            waiting = contextlib.nullcontext() if number == 0 else nobody_waits(device)
            with waiting, probe.step():
                optimizer.zero_grad()
                built.phi(indices if number % 10 else indices[:5]).mean().backward()
                optimizer.step()
    assert np.isfinite(rows(tmp_path / "log.h5")["temperature"]).all()
    assert len(rows(tmp_path / "log.h5", "autocorrelation")) == 3


@pytest.mark.parametrize("device", DEVICES)
def test_autocast_with_a_scaler_agrees_to_its_precision(tmp_path: Path, device: str) -> None:
    inputs, targets = (tensor.to(device) for tensor in data(48))
    found = {}
    for name, dtype in (("full", torch.float32), ("half", torch.bfloat16 if device == "cpu" else torch.float16)):
        model = small().to(device)
        scaler = torch.amp.GradScaler(device, init_scale=256.0, enabled=name == "half")
        path = tmp_path / f"{name}.h5"
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        with Probe(model, optimizer, log=path, scaler=scaler) as probe, probe.step():
            with torch.autocast(device, dtype=dtype, enabled=name == "half"):
                loss = F.cross_entropy(model(inputs), targets)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
        found[name] = rows(path)[0]
    for column in ("temperature", "temperature_se", "force"):
        np.testing.assert_allclose(found["half"][column], found["full"][column], rtol=0.03)


def test_everything_the_probe_makes_says_on_which_device(case: Callable[[str], Case], tmp_path: Path) -> None:
    """Whoever has set a default device may train on another one: `meta` holds no numbers at all."""
    for name in ("mlp", "cnn", "tied transformer", "gated"):
        built = case(name)
        everything = torch.arange(60)
        full: dict[str, Any] = {"full_loss": lambda b=built, all=everything: [b.phi(all).mean()], "full_interval": 4}
        optimizer = torch.optim.SGD(built.model.parameters(), lr=0.05)
        with (
            torch.device("meta"),
            Probe(built.model, optimizer, log=tmp_path / f"{name}.h5", window=20, **full) as probe,
        ):
            for indices in BATCHES[:25]:
                with probe.step() as step:
                    optimizer.zero_grad()
                    loss = built.phi(indices).mean()
                    loss.backward()
                    optimizer.step()
                    step.record(loss=loss)
        assert np.isfinite(rows(tmp_path / f"{name}.h5")["temperature"]).all(), name
