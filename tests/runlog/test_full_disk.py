"""A full, failing, slow or vanished disk: one warning, a log readable to the last flush, a training that ends well."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from thermotui.runlog import writer as writer_module
from thermotui.runlog.errors import RunLogError
from thermotui.runlog.reader import RunLogReader
from thermotui.runlog.storage import Storage
from thermotui.runlog.writer import RunLogWriter

TRAINING = """
import sys, time
from pathlib import Path
import numpy as np
from thermotui.runlog.schema import Header, Layer
from thermotui.runlog.writer import RunLogWriter

def train(path, blocks, between=lambda writer, block: None):
    layers = tuple(Layer(str(index), 1) for index in range(20))
    with RunLogWriter.create(Path(path), Header("run", time.time(), "softmax", layers)) as writer:
        for block in range(blocks):
            for step in range(block * 200, block * 200 + 200):
                writer.append("steps", step=step, loss=step)
                writer.append("reservoir", step=step, temperature=np.full(20, step))
            writer.flush()
            between(writer, block)
    print("trained", writer.failure)
"""


def run(body: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A program that trains as above and then does what `body` says."""
    command = [sys.executable, "-c", TRAINING + textwrap.dedent(body), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def assert_only_the_log_stopped(result: subprocess.CompletedProcess[str], reason: str) -> None:
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("trained")
    assert reason in result.stdout
    assert result.stderr.count("\n") == 1, result.stderr
    assert "logging stopped, the training goes on" in result.stderr


def assert_sound(path: Path) -> int:
    """The rows that can be read are the first rows that were written; returns their number."""
    with RunLogReader(path) as reader:
        assert reader.read("steps")["step"].tolist() == list(range(reader.length("steps")))
        assert reader.read("reservoir")["temperature"][:, 7].tolist() == list(range(reader.length("reservoir")))
        reader.overview("steps", ["loss"], 0, None, 10)
        return reader.length("steps")


def test_a_write_that_fails_stops_the_log_alone(tmp_path: Path) -> None:
    """The disk fills between the look and the write: the file's descriptor is put on a device without room."""
    path = tmp_path / "run.h5"
    result = run(
        """
        import os
        def fill(writer, block):
            if block == 10:
                writer._storage.reason_to_stop = lambda waiting: None
                os.dup2(os.open("/dev/full", os.O_RDWR), writer._storage._descriptor)
        train(sys.argv[1], 30, fill)
        """,
        str(path),
    )
    assert_only_the_log_stopped(result, "No space left on device")
    assert assert_sound(path) == 2200
    with RunLogReader(path) as reader:
        assert reader.state(time.time() + 5).state == "crashed"


def test_a_disk_that_runs_full_closes_the_log_in_time(tmp_path: Path, header, monkeypatch, caplog) -> None:
    path = tmp_path / "run.h5"
    with caplog.at_level(logging.WARNING), RunLogWriter.create(path, header()) as writer:
        writer.append("steps", step=1)
        writer.flush()
        monkeypatch.setattr(os, "fstatvfs", lambda descriptor: SimpleNamespace(f_bavail=500, f_frsize=4096))
        writer.append("steps", step=2)
        writer.flush()
        assert writer.failure == "the disk is full (2.0 MiB left)"
        for step in range(3, 10_000):
            writer.append("steps", step=step)
        writer.flush()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    with RunLogReader(path) as reader:
        assert reader.read("steps")["step"].tolist() == [1]
        state = reader.state()
        assert (state.state, state.message) == ("interrupted", "logging stopped: the disk is full (2.0 MiB left)")


def test_a_deleted_log_is_said_once(tmp_path: Path, header, caplog) -> None:
    path = tmp_path / "runs" / "run.h5"
    with caplog.at_level(logging.WARNING), RunLogWriter.create(path, header()) as writer:
        path.unlink()
        path.parent.rmdir()
        for step in range(1000):
            writer.append("steps", step=step)
        writer.flush()
        assert writer.failure == "its file was deleted"
    assert len(caplog.records) == 1


@pytest.mark.parametrize("stream", ["steps", "reservoir"])
def test_a_disk_that_hangs_costs_bounded_memory_and_no_time(tmp_path: Path, header, monkeypatch, stream: str) -> None:
    monkeypatch.setattr(writer_module, "MAX_WAITING_BYTES", 1_000_000)
    with RunLogWriter.create(tmp_path / "run.h5", header(layers=300)) as writer:
        hang = writer._io
        with hang:
            begin = time.monotonic()
            for step in range(100_000):
                writer.append(stream, step=step)
            assert writer.failure is not None
            assert "the disk is too slow" in writer.failure
            assert writer._buffers[stream].waiting_bytes < 1_500_000
            monkeypatch.setattr(writer_module, "ANSWER_SECONDS", 0.2)
            writer.close()
            assert time.monotonic() - begin < 10


def test_a_flush_does_not_wait_for_ever_for_a_disk_that_hangs(tmp_path: Path, header, monkeypatch) -> None:
    monkeypatch.setattr(writer_module, "ANSWER_SECONDS", 0.2)
    hangs, answers = threading.Event(), threading.Event()

    def hang(storage: Storage) -> None:
        hangs.set()
        answers.wait()

    with RunLogWriter.create(tmp_path / "run.h5", header()) as writer:
        monkeypatch.setattr(Storage, "flush_tables", hang)
        writer.append("steps", step=0, loss=1.0)
        writer.heartbeat(0)
        assert hangs.wait(10)
        begin = time.monotonic()
        # As before a checkpoint, which is not saved once the log has stopped.
        writer.flush()
        assert writer.failure == "the disk did not answer for 0 s"
        writer.flush()
        assert time.monotonic() - begin < 5
        monkeypatch.undo()
        answers.set()


def test_a_full_disk_at_the_start_is_one_sentence(tmp_path: Path, header, monkeypatch) -> None:
    def no_room(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("thermotui.runlog.storage.create_file", no_room)
    with pytest.raises(RunLogError, match=r"run\.h5: cannot be written \(No space left on device\)"):
        RunLogWriter.create(tmp_path / "run.h5", header())
    assert list(tmp_path.iterdir()) == []


def test_a_disk_without_room_is_refused_before_the_training(tmp_path: Path, header, monkeypatch) -> None:
    monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(f_bavail=700, f_frsize=4096))
    with pytest.raises(RunLogError, match=r"the disk is full \(2\.7 MiB left\); make room or choose another --log"):
        RunLogWriter.create(tmp_path / "run.h5", header())
    assert list(tmp_path.iterdir()) == []


MOUNTED = """
set -e
mount -t tmpfs -o size=24m tmpfs "$1"
shift
exec "$@"
"""


@pytest.mark.slow
@pytest.mark.parametrize("filled", [1, 3, 5, 7, 9, 11, 13, 15, 17, 19])
@pytest.mark.parametrize("how", ["by the log", "by another"])
def test_a_small_disk_at_ten_fill_levels(tmp_path: Path, filled: int, how: str) -> None:
    """On a real tmpfs of 24 MiB in a mount namespace of its own; needs the right to make one."""
    disk, kept = tmp_path / "disk", tmp_path / "kept.h5"
    disk.mkdir()
    body = f"""
    import shutil
    disk = Path(sys.argv[1])
    (disk / "other").write_bytes(bytes({filled} << 20))
    def fill(writer, block):
        if {how == "by another"} and block == 5:
            try:
                with (disk / "rest").open("wb", buffering=0) as file:
                    while file.write(bytes(1000)):
                        pass
            except OSError:
                pass
    train(disk / "run.h5", 150, fill)
    shutil.copy(disk / "run.h5", sys.argv[2])
    """
    command = [sys.executable, "-c", TRAINING + textwrap.dedent(body), str(disk), str(kept)]
    mounted = ["unshare", "-m", "sh", "-c", MOUNTED, "sh", str(disk), *command]
    result = subprocess.run(mounted, capture_output=True, text=True, timeout=120, check=False)
    assert_only_the_log_stopped(result, "")
    assert "None" not in result.stdout
    assert assert_sound(kept) >= 200
