"""Whole runs: their logs, their ends, and resuming as if nothing had happened."""

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.devices import DEVICES
from thermotui.errors import InputError
from thermotui.runlog.reader import RunLogReader
from trainers.checkpoint import checkpoint_path
from trainers.config import resolve
from trainers.families.registry import FAMILIES
from trainers.loop import Outcome, resume, train
from trainers.signals import catching
from trainers.training import Training, affordable_full_stride

SMALL: dict[str, dict[str, Any]] = {
    "gaussian": {"dimension": 2, "probe_size": 16, "dataset_size": 50},
    "softmax": {"widths": "8,6", "probe_size": 16},
    "rbm": {
        "data": "bars-and-stripes",
        "hidden": 4,
        "learning_chains": 16,
        "chains": 64,
        "probe_size": 64,
        "batch_size": 10,
    },
    "ebm": {"data": "moons", "widths": "8", "tau": 3, "learning_chains": 16, "chains": 64, "probe_size": 64},
    "vae": {"widths": "8", "latent": 2, "probe_size": 16, "batch_size": 8},
    "transformer": {
        "context_length": 6,
        "width": 8,
        "depth": 1,
        "heads": 2,
        "probe_size": 8,
        "batch_size": 4,
        "full_stride": 50,
    },
}
"""Options that make a family quick."""

CLASSIC = ("gaussian", "softmax")
"""Families whose figures are exact, or mean over fixed inputs: all identities hold to rounding."""

STREAMS = ("steps", "thermo", "reservoir", "autocorrelation", "members")


def run(family: str, log: Path, **values: Any) -> Outcome:
    config, options = resolve(family, SMALL[family] | {"device": "cpu", "steps": 60, "ensemble": 3} | values)
    return train(family, config, options, log, lambda progress: None)


def rows(log: Path, stream: str) -> np.ndarray:
    with RunLogReader(log) as reader:
        return reader.read(stream)


def assert_same_rows(first: Path, second: Path) -> None:
    for stream in STREAMS:
        a, b = rows(first, stream), rows(second, stream)
        assert len(a) == len(b), stream
        for name in a.dtype.names or ():
            if name != "time":
                assert a[name].tobytes() == b[name].tobytes(), f"{stream}.{name}"
    assert alerts(first) == alerts(second)


def alerts(log: Path) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """The last version of each alert; how often one was entered on the way depends on when rows were flushed."""
    latest = {}
    for row in rows(log, "alerts"):
        latest[row["kind"], row["layer"], row["start"]] = (row["step"], row["end"], row["severity"], row["message"])
    return latest


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("family", CLASSIC)
def test_identities_hold_in_the_logged_columns(family: str, device: str, tmp_path: Path) -> None:
    outcome = run(family, tmp_path / "a.h5", stride=5, ensemble=4, device=device, full_stride=20)
    assert (outcome.state, outcome.step, outcome.signal) == ("finished", 60, 0)
    thermo = rows(tmp_path / "a.h5", "thermo")
    assert thermo["step"].tolist() == list(range(0, 61, 5))
    assert np.abs(thermo["work"] - thermo["ep_conditional"]).max() <= 1e-9
    gained = thermo["l_info_lower"] - thermo["l_info_lower"][0]
    assert np.abs(gained - (thermo["ep_marginal"] - thermo["ep_conditional"])).max() <= 1e-9
    assert (np.abs(thermo["first_law_residual"]) <= 3 * thermo["first_law_residual_se"]).all()
    assert (np.diff(thermo["work"]) > 0).all()
    assert (thermo["l_info_lower"] <= np.log(4) + 1e-9).all()
    assert (thermo["l_info_lower"] <= thermo["l_info_upper"] + 1e-9).all()
    # The data processing inequality (4), which a start far from the end makes sure of here.
    assert (thermo["m_info"] - gained >= -3 * thermo["m_info_se"] - 1e-12).all()
    steps = rows(tmp_path / "a.h5", "steps")
    assert steps["step"].tolist() == list(range(1, 61))
    assert np.isfinite(steps["loss"]).all() and (steps["gradient_norm"] > 0).all()
    members = rows(tmp_path / "a.h5", "members")
    np.testing.assert_allclose(members["work"].mean(1), thermo["work"][1:], rtol=1e-12)
    np.testing.assert_allclose(members["heat"].mean(1), thermo["heat"][1:], rtol=1e-12)
    np.testing.assert_allclose(members["loss"].mean(1), steps["loss"][4::5], rtol=1e-5)


def test_header_says_how_the_run_was_made(tmp_path: Path) -> None:
    run("softmax", tmp_path / "a.h5", ensemble_varies="data", batch_size=7, replacement=False)
    with RunLogReader(tmp_path / "a.h5") as reader:
        header = reader.header
    assert (header.family, header.ensemble, header.ensemble_varies, header.batch_size) == ("softmax", 3, "data", 7)
    assert [layer.name for layer in header.layers] == ["hidden 1", "hidden 2", "output"]
    assert [layer.size for layer in header.layers] == [64 * 8 + 8, 8 * 6 + 6, 6 * 10 + 10]
    assert header.marginal == "ensemble" and header.figures["l_info_lower"] == "lower bound"
    assert header.config["widths"] == "8,6" and header.detectors and header.versions["torch"] == torch.__version__


def test_a_single_run_is_labelled_as_read_against_its_own_past(tmp_path: Path) -> None:
    run("softmax", tmp_path / "a.h5", ensemble=1)
    with RunLogReader(tmp_path / "a.h5") as reader:
        assert reader.header.marginal == "window"
        assert reader.header.figures["l_info_window"] == "substitute"
        thermo = reader.read("thermo")
    assert np.isnan(thermo["l_info_lower"]).all() and np.isnan(thermo["l_info_upper"]).all()
    assert (thermo["l_info_window"][1:] > 0).all()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("ensemble", [1, 3])
def test_a_resumed_run_is_the_straight_run_bit_for_bit(family: str, ensemble: int, device: str, tmp_path: Path) -> None:
    values = {
        "device": device,
        "ensemble": ensemble,
        "optimizer": "momentum" if ensemble == 3 else "adam",
        "replacement": ensemble == 1,
        "reservoir_stride": 7,
        "full_stride": SMALL[family].get("full_stride", 20),
        "stride": 3,
        "learning_rate_at": ("20:0.03", "45:0.01"),
    }
    if family == "softmax":
        values["corrupt_labels"] = ("30:50:0.3",)
    run(family, tmp_path / "straight.h5", **values)
    run(family, tmp_path / "parts.h5", **values, checkpoint_every=20, steps=33)
    # As after a kill: rows are logged beyond the checkpoint that is left.
    kept = checkpoint_path(tmp_path / "parts.h5").read_bytes()
    resume(tmp_path / "parts.h5", 47, lambda progress: None)
    checkpoint_path(tmp_path / "parts.h5").write_bytes(kept)
    outcome = resume(tmp_path / "parts.h5", 60, lambda progress: None)
    assert (outcome.state, outcome.step) == ("finished", 60)
    assert_same_rows(tmp_path / "straight.h5", tmp_path / "parts.h5")
    first = torch.load(checkpoint_path(tmp_path / "straight.h5"), weights_only=True)
    second = torch.load(checkpoint_path(tmp_path / "parts.h5"), weights_only=True)
    for name, value in first["module"].items():
        assert torch.equal(value, second["module"][name]), name


def test_checkpoints_change_nothing(tmp_path: Path) -> None:
    run("softmax", tmp_path / "often.h5", checkpoint_every=1, steps=30)
    run("softmax", tmp_path / "never.h5", steps=30)
    assert_same_rows(tmp_path / "often.h5", tmp_path / "never.h5")


def test_a_finished_run_is_resumed_only_to_more_steps(tmp_path: Path) -> None:
    run("gaussian", tmp_path / "a.h5")
    with pytest.raises(InputError, match=r"a\.h5: the run has done its 60 steps"):
        resume(tmp_path / "a.h5", None, lambda progress: None)


def test_checkpoints_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    run("gaussian", tmp_path / "a.h5", steps=10)
    run("gaussian", tmp_path / "b.h5", steps=10)
    own, other = checkpoint_path(tmp_path / "a.h5"), checkpoint_path(tmp_path / "b.h5")
    whole = own.read_bytes()
    own.write_bytes(other.read_bytes())
    with pytest.raises(InputError, match="belongs to another run"):
        resume(tmp_path / "a.h5", 20, lambda progress: None)
    for damaged in (whole[:100], whole[: len(whole) // 2], b"", b"no checkpoint"):
        own.write_bytes(damaged)
        with pytest.raises(InputError, match="damaged"):
            resume(tmp_path / "a.h5", 20, lambda progress: None)
    torch.save(torch.load(io.BytesIO(whole)) | {"monitor": {}}, own)
    with pytest.raises(InputError, match="another version"):
        resume(tmp_path / "a.h5", 20, lambda progress: None)
    torch.save(torch.load(io.BytesIO(whole)) | {"device": "cuda"}, own)
    with pytest.raises(InputError, match=r"a\.checkpoint: was saved on cuda, which PyTorch does not find"):
        resume(tmp_path / "a.h5", 20, lambda progress: None)
    own.unlink()
    with pytest.raises(InputError, match="no checkpoint"):
        resume(tmp_path / "a.h5", 20, lambda progress: None)


def test_a_disk_that_refuses_a_checkpoint_does_not_end_the_training(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint_path(tmp_path / "a.h5").mkdir()
    assert run("gaussian", tmp_path / "a.h5").state == "finished"
    assert "the training goes on" in caplog.text
    assert not list(tmp_path.glob(".*.tmp"))


def test_learning_rate_and_labels_change_when_they_should(tmp_path: Path) -> None:
    run(
        "softmax",
        tmp_path / "a.h5",
        steps=400,
        learning_rate=0.1,
        learning_rate_at=("390:0.01",),
        corrupt_labels=("300:350:0.9",),
    )
    steps = rows(tmp_path / "a.h5", "steps")
    rate = steps["learning_rate"]
    assert (rate[:389] == np.float32(0.1)).all() and (rate[389:] == np.float32(0.01)).all()
    accuracy = steps["accuracy"]
    assert accuracy[299:302].mean() < 0.4 < 0.5 < accuracy[250:299].mean()
    assert accuracy[380:].mean() > 0.5


def test_a_disturbance_needs_labels(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="family gaussian has no labels"):
        run("gaussian", tmp_path / "a.h5", corrupt_labels=("1:5:0.5",))
    assert not list(tmp_path.iterdir())


def test_a_diverged_run_goes_on_or_stops_as_told(tmp_path: Path) -> None:
    outcome = run("softmax", tmp_path / "a.h5", learning_rate=1e12, steps=120)
    assert (outcome.state, outcome.step) == ("finished", 120)
    assert not np.isfinite(rows(tmp_path / "a.h5", "steps")["loss"][-1])
    assert b"non_finite" in rows(tmp_path / "a.h5", "alerts")["kind"]
    outcome = run("softmax", tmp_path / "b.h5", learning_rate=1e12, steps=10**6, stop_on=("non_finite",))
    assert outcome.state == "interrupted" and outcome.step < 10**6
    assert outcome.message.startswith("stopped on non_finite at step")
    with RunLogReader(tmp_path / "b.h5") as reader:
        assert reader.state().state == "interrupted"


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("learning_rate", [30.0, 1e6])
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_a_run_that_goes_astray_is_told_of_by_alerts_and_not_by_warnings_of_numpy(
    family: str, learning_rate: float, tmp_path: Path
) -> None:
    values = {"reservoir_stride": 5, "full_stride": 10, "stride": 2}
    assert run(family, tmp_path / "a.h5", learning_rate=learning_rate, **values).state == "finished"


def test_a_run_stops_on_an_alert_that_is_raised_when_already_over(tmp_path: Path) -> None:
    options: dict[str, Any] = {"batch_size": 32, "stop_on": ("temperature_jump",), "reservoir_stride": 2}
    outcome = run("softmax", tmp_path / "a.h5", **options, learning_rate=0.02, steps=1500)
    assert outcome.state == "interrupted" and outcome.step < 1500
    assert outcome.message.startswith("stopped on temperature_jump at step")


def test_an_existing_log_is_never_written_over(tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_bytes(b"mine")
    with pytest.raises(InputError, match="exists already"):
        run("gaussian", tmp_path / "a.h5")
    assert (tmp_path / "a.h5").read_bytes() == b"mine"


def test_a_signal_is_a_wish_the_second_acts_as_usual() -> None:
    previous = signal.getsignal(signal.SIGINT)
    with catching() as wish:
        os.kill(os.getpid(), signal.SIGINT)
        assert wish.signal == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)
    assert signal.getsignal(signal.SIGINT) == previous


def test_sigint_ends_the_command_with_a_closed_log(tmp_path: Path) -> None:
    log = tmp_path / "a.h5"
    arguments = ["train", "gaussian", "--steps", "1000000", "--log", str(log), "--probe-size", "16"]
    process = subprocess.Popen(
        [sys.executable, "-m", "thermotui", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not (log.exists() and len(rows(log, "steps"))) and time.monotonic() < deadline:
        time.sleep(0.1)
    try:
        assert log.exists() and len(rows(log, "steps"))
    except BaseException:
        process.kill()
        raise
    process.send_signal(signal.SIGINT)
    output, said = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGINT
    assert output.strip() == str(log)
    assert "stopped by SIGINT" in said
    with RunLogReader(log) as reader:
        assert reader.state().state == "interrupted"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_every_row_and_a_checkpoint(number: signal.Signals, tmp_path: Path) -> None:
    log = tmp_path / "a.h5"
    config, options = resolve("gaussian", SMALL["gaussian"] | {"steps": 10**6})
    outcome = train("gaussian", config, options, log, lambda progress: os.kill(os.getpid(), number))
    assert (outcome.state, outcome.signal) == ("interrupted", number)
    assert f"stopped by {number.name}" in outcome.message
    with RunLogReader(log) as reader:
        state = reader.state()
        assert (state.state, state.step) == ("interrupted", outcome.step) and number.name in state.message
        assert reader.read("steps")["step"].tolist() == list(range(1, outcome.step + 1))
    assert resume(log, outcome.step + 5, lambda progress: None).step == outcome.step + 5


def test_full_gradients_take_about_a_tenth_of_the_time() -> None:
    config, _ = resolve("softmax", {"batch_size": 100, "reservoir_stride": 20})
    assert affordable_full_stride(config, 60_000) == 6000
    assert affordable_full_stride(config, 100) == 20


def test_no_cuda_is_said() -> None:
    if torch.cuda.is_available():
        assert Training("gaussian", *resolve("gaussian", {"device": "cuda"})).device.type == "cuda"
    else:
        with pytest.raises(InputError, match="--device cuda"):
            Training("gaussian", *resolve("gaussian", {"device": "cuda"}))


def test_a_model_that_does_not_fit_is_refused_in_one_sentence(tmp_path):
    log = tmp_path / "run.h5"
    config, options = resolve("rbm", {"hidden": 10**12, "ensemble": 2})
    with pytest.raises(InputError, match="2 members of this rbm need more memory than there is"):
        train("rbm", config, options, log, lambda progress: None)
    assert not log.exists()
