"""`thermotui train` on a small disk that fills: it ends well, warns once, and leaves a log and a checkpoint to read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from thermotui.runlog.reader import RunLogReader
from trainers.checkpoint import checkpoint_path, load_checkpoint

MEBIBYTE = 1 << 20
SIZE = 16 * MEBIBYTE
STEPS = 3000
WIDE = ("--ensemble", "64", "--dimension", "1", "--dataset-size", "50", "--probe-size", "8", "--stride", "1")
"""Rows of 64 members: 5 kB a step, so that a short run fills the disk."""
SCRIPT = """
mount -t tmpfs -o size=16m tmpfs "$1" || exit 99
head -c "$2" /dev/zero > "$1/other"
disk="$1"; kept="$3"
shift 3
"$@"
status=$?
cp "$disk"/run.* "$kept"
ls -A "$disk" > "$kept/left"
exit $status
"""


def train(place: Path, free: int, *options: str) -> subprocess.CompletedProcess[str]:
    """The command on a tmpfs with that much room, in a mount namespace of its own; what it left is in place/kept."""
    disk, kept = place / "disk", place / "kept"
    disk.mkdir()
    kept.mkdir()
    program = [sys.executable, "-m", "thermotui", "train", "gaussian", "--device", "cpu", "--log", str(disk / "run.h5")]
    script = ["unshare", "-m", "sh", "-c", SCRIPT, "sh", str(disk), str(SIZE - free), str(kept)]
    command = [*script, *program, *WIDE, *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def warnings(result: subprocess.CompletedProcess[str]) -> list[str]:
    return [line for line in result.stderr.splitlines() if "the training goes on" in line]


@pytest.mark.slow
@pytest.mark.parametrize("free", [(8 + 0.5 * level) * MEBIBYTE for level in range(10)])
def test_the_log_ends_and_the_training_does_not(tmp_path: Path, free: float) -> None:
    result = train(tmp_path, int(free), "--steps", str(STEPS))
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    (warning,) = warnings(result)
    assert "logging stopped" in warning and "the disk is full" in warning
    log = tmp_path / "kept" / "run.h5"
    with RunLogReader(log) as reader:
        rows = reader.length("steps")
        assert reader.read("steps")["step"].tolist() == list(range(1, rows + 1))
        assert reader.read("members")["step"].tolist() == list(range(1, 1 + reader.length("members")))
        assert 0 < rows < STEPS
        state = reader.state()
        assert state.state == "interrupted" and "the disk is full" in state.message
        header = reader.header
    # The checkpoint is of a moment whose rows are all in the log.
    assert load_checkpoint(log, header)["step"] <= rows


@pytest.mark.slow
@pytest.mark.parametrize("free", [6, 8, 10])
def test_a_checkpoint_leaves_the_log_its_room(tmp_path: Path, free: int) -> None:
    """Checkpoints that are larger than what is left, at every step, beside a log that hardly grows."""
    large = ("--dataset-size", "20000", "--no-replacement", "--batch-size", "10")
    result = train(tmp_path, free * MEBIBYTE, *large, "--stride", "1000", "--steps", "40", "--checkpoint-every", "1")
    assert result.returncode == 0, result.stderr
    assert len(warnings(result)) == 1
    assert "no checkpoint was saved" in warnings(result)[0]
    log = tmp_path / "kept" / "run.h5"
    with RunLogReader(log) as reader:
        assert (reader.state().state, reader.length("steps")) == ("finished", 40)
        header = reader.header
    assert ".tmp" not in (tmp_path / "kept" / "left").read_text()
    # One that found room before, if any, is kept whole.
    assert not checkpoint_path(log).exists() or load_checkpoint(log, header)["step"] < 40


@pytest.mark.slow
def test_no_room_at_the_start_is_a_sentence(tmp_path: Path) -> None:
    result = train(tmp_path, 2 * MEBIBYTE, "--steps", "10")
    assert result.returncode == 2
    assert "the disk is full (2.0 MiB left); make room or choose another --log" in result.stderr
    assert "Traceback" not in result.stderr
    assert (tmp_path / "kept" / "left").read_text().split() == ["other"]
