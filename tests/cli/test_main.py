"""The top command, and what the small commands say of logs that know little."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import thermotui
from tests.tui import scripted
from thermotui.runlog.reader import RunLogReader
from thermotui.runlog.writer import RunLogWriter


def run(*arguments: str, folder: Path, seconds: float = 120) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "thermotui", *arguments],
        capture_output=True, text=True, encoding="utf-8", timeout=seconds, check=False, cwd=folder,
    )  # fmt: skip


def test_version(tmp_path: Path) -> None:
    result = run("--version", folder=tmp_path)
    assert (result.returncode, result.stdout) == (0, f"thermotui {thermotui.__version__}\n")


def test_a_theme_that_is_none_is_said_without_a_screen_too(tmp_path: Path) -> None:
    scripted.scripted_log(tmp_path / "run.h5", rows=50)
    result = run("watch", "--once", "--theme", "nope", "run.h5", folder=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.count("\n") == 1 and "there is no theme 'nope'; there are dark" in result.stderr


def test_inspect_says_only_what_is_known(tmp_path: Path) -> None:
    known = scripted.header("known")
    unknown = replace(known, ensemble=1, batch_size=0, dataset_size=0, layers=())
    for name, header in (("known", known), ("unknown", unknown)):
        with RunLogWriter.create(tmp_path / f"{name}.h5", header) as writer:
            writer.append("steps", step=0, loss=1.0)
    told, untold = (run("inspect", f"{name}.h5", folder=tmp_path).stdout for name in ("known", "unknown"))
    assert "8 members, varying the data" in told and "10 of 1,797, with replacement" in told
    for part in ("ensemble", "members", "batch", "parameters"):
        assert part not in untold


def test_inspect_tells_an_alert_that_lasts(tmp_path: Path) -> None:
    path = scripted.scripted_log(tmp_path / "run.h5")
    with RunLogReader(path) as log:
        assert log.read("alerts", ["end"])["end"].tolist() == [760, -1]
    lines = [
        line for line in run("inspect", str(path), folder=tmp_path).stdout.splitlines() if "temperature_jump" in line
    ]
    assert len(lines) == 1 and "1,200 – …" in lines[0] and "-1" not in lines[0]
    once = run("watch", "--once", str(path), folder=tmp_path).stdout
    assert "warning  1200–  temperature jump" in once


def test_plot_replaces_a_picture_only_when_told(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    scripted.scripted_log(tmp_path / "run.h5", rows=100)
    (tmp_path / "run.svg").write_text("mine")
    refused = run("plot", "run.h5", "--panel", "loss", folder=tmp_path)
    assert refused.returncode == 2 and "run.svg" in refused.stderr and "--force" in refused.stderr
    assert (tmp_path / "run.svg").read_text() == "mine"
    forced = run("plot", "run.h5", "--panel", "loss", "--force", folder=tmp_path)
    assert (forced.returncode, forced.stdout) == (0, "run.svg\n")
    assert "<svg" in (tmp_path / "run.svg").read_text()
    assert {file.name for file in tmp_path.iterdir()} == {"run.h5", "run.svg"}


def test_demo_trains_in_a_child_and_leaves_a_finished_log(tmp_path: Path) -> None:
    result = run("demo", "--steps", "60", folder=tmp_path)
    assert result.returncode == 0, result.stderr
    (path,) = (tmp_path / "runs").glob("demo-*.h5")
    assert f"thermotui watch runs/{path.name}" in result.stderr
    assert "finished" in result.stdout
    with RunLogReader(path) as log:
        assert log.state().state == "finished"
        assert np.array_equal(log.read("steps", ["step"])["step"], np.arange(1, 61))


def test_demo_never_writes_over_a_log(tmp_path: Path) -> None:
    (tmp_path / "kept.h5").write_text("mine")
    result = run("demo", "--log", "kept.h5", folder=tmp_path)
    assert result.returncode == 2 and "kept.h5 exists already" in result.stderr
    assert (tmp_path / "kept.h5").read_text() == "mine"
