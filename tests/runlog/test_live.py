"""Readers beside a writer in another process: no torn row, no lock, every flushed row, a state at all times."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest

from thermotui.runlog.errors import EmptyRunLogError, RunLogError
from thermotui.runlog.reader import RunLogReader
from thermotui.runlog.schema import file_dtypes
from thermotui.runlog.writer import RunLogWriter

WRITING = Path(__file__).with_name("writing.py")


@contextlib.contextmanager
def training(path: Path, rate: int = 64) -> Iterator[subprocess.Popen[str]]:
    """The writing process, past the creation of its log; killed at the end."""
    process = subprocess.Popen([sys.executable, WRITING, path, str(rate)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "created\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def wait_for_rows(process: subprocess.Popen[str], rows: int) -> int:
    """Read the process's word until that many rows are flushed."""
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) >= rows:
            return int(line)
    raise AssertionError("the writer ended")


def last_word(process: subprocess.Popen[str]) -> int:
    """After its death: the last number of flushed rows that it said."""
    assert process.stdout is not None
    return int((["0", *process.stdout.read().split()])[-1])


def assert_sound(reader: RunLogReader) -> int:
    """Every row that can be seen is the row that was written; returns their number."""
    steps = reader.read("steps", ["step", "loss", "accuracy"])
    expected = np.arange(len(steps))
    np.testing.assert_array_equal(steps["step"], expected)
    np.testing.assert_array_equal(steps["loss"], expected.astype("f4") + 1)
    np.testing.assert_array_equal(steps["accuracy"], -(expected.astype("f4") + 1))
    reservoir = reader.read("reservoir", ["step", "temperature"])
    np.testing.assert_array_equal(reservoir["temperature"][:, 0], reservoir["step"].astype("f4"))
    return len(steps)


def test_polls_see_whole_rows_and_never_fewer(tmp_path: Path) -> None:
    with training(tmp_path / "run.h5") as process, RunLogReader(tmp_path / "run.h5") as reader:
        seen, polls = 0, 0
        end = time.monotonic() + 60
        while (seen <= 1000 or polls <= 100) and time.monotonic() < end:
            reader.refresh()
            now = reader.length("steps")
            tail = reader.read("steps", ["step", "loss"], seen, now)
            assert tail["step"].tolist() == list(range(seen, now))
            np.testing.assert_array_equal(tail["loss"], tail["step"].astype("f4") + 1)
            assert reader.state().state in ("starting", "running")
            seen, polls = now, polls + 1
        assert seen > 1000
        assert polls > 100
        assert process.poll() is None


def test_a_killed_run_loses_no_flushed_row_and_says_crashed(tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    with training(path) as process, RunLogReader(path) as watcher:
        wait_for_rows(process, 2000)
        process.kill()
        process.wait()
        flushed = last_word(process) or 2000
        watcher.refresh()
        assert assert_sound(watcher) >= flushed
        state = watcher.state(time.time() + 5)
        assert state.state == "crashed"
        assert str(process.pid) in state.message
        assert state.step >= flushed - 64
    with pytest.raises(OSError, match=r"consistency|already open|not closed"):
        h5py.File(path, "r", locking=False)
    with RunLogReader(path) as reader:
        assert assert_sound(reader) >= flushed


def test_a_watcher_goes_over_to_the_resumed_run(tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    with training(path) as process, RunLogReader(path) as watcher:
        wait_for_rows(process, 1000)
        process.kill()
        process.wait()
        dead = path.read_bytes()
        kept = tmp_path / "dead.h5"
        os.link(path, kept)
        with RunLogWriter.resume(path, 599) as writer:
            assert kept.read_bytes() == dead
            watcher.refresh()
            assert watcher.length("steps") == 600
            assert watcher.header.pid == os.getpid()
            writer.append("steps", step=600, loss=601.0, accuracy=-601.0)
            writer.heartbeat(600)
            writer.flush()
            watcher.refresh()
            assert assert_sound(watcher) == 601
            assert watcher.state().state == "running"
        watcher.refresh()
        assert watcher.state().state == "finished"
        assert watcher.overview("steps", ["loss"], 0, None, 4).maximum["loss"][-1] == 601


def test_a_stopped_process_is_stalled_and_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    with training(path) as process, RunLogReader(path) as reader:
        wait_for_rows(process, 100)
        os.kill(process.pid, signal.SIGSTOP)
        reader.refresh()
        assert reader.state().state == "running"
        assert reader.state(time.time() + 60).state == "stalled"
        os.kill(process.pid, signal.SIGCONT)
        time.sleep(1.5)
        reader.refresh()
        assert reader.state().state == "running"


def test_a_second_writer_is_refused_while_the_first_lives(tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    with training(path) as process:
        with pytest.raises(RunLogError, match="is being written by another process; stop that run first"):
            RunLogWriter.resume(path, 10)
        wait_for_rows(process, 500)
        with RunLogReader(path) as reader:
            assert assert_sound(reader) >= 500
        assert sorted(entry.name for entry in tmp_path.iterdir() if not entry.name.startswith(".")) == ["run.h5"]


def test_deleted_moved_and_replaced(tmp_path: Path, log) -> None:
    path = tmp_path / "live.h5"
    with training(path) as process, RunLogReader(path) as reader:
        wait_for_rows(process, 500)
        path.rename(tmp_path / "moved.h5")
        reader.refresh()
        assert reader.state().state == "deleted"
        assert assert_sound(reader) >= 500
        with RunLogReader(tmp_path / "moved.h5") as moved:
            assert moved.state().state == "running"
        shutil.copy(log(10), path)
        reader.refresh()
        assert reader.length("steps") == 10
        assert reader.state().state == "finished"


def test_no_reader_sees_a_log_in_the_making(tmp_path: Path) -> None:
    """Kills at random moments of the start: under the final name there is nothing, or a sound log."""
    generator = random.Random(5)
    begin = time.monotonic()
    with training(tmp_path / "first.h5"):
        start = time.monotonic() - begin
    existed = 0
    for attempt in range(8):
        path = tmp_path / f"{attempt}.h5"
        process = subprocess.Popen([sys.executable, WRITING, path, "64"], stdout=subprocess.DEVNULL)
        # From half the time that a start takes to several times that, for a machine that has become slower since.
        time.sleep(start * (0.5 + (attempt + generator.random()) / 3))
        process.kill()
        process.wait()
        if path.exists():
            existed += 1
            with RunLogReader(path) as reader:
                assert_sound(reader)
                assert reader.state(time.time() + 5).state == "crashed"
    assert existed


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_two_hundred_kills(tmp_path: Path) -> None:
    """SIGKILL at random moments of start, resume and run: no flushed row is lost, and the next start continues."""
    generator = random.Random(7)
    lengths = []
    begin = time.monotonic()
    with training(tmp_path / "first.h5"):
        start = time.monotonic() - begin
    for attempt in range(200):
        path = tmp_path / f"{attempt % 10}.h5"
        kept = 0
        if path.exists():
            with RunLogReader(path) as reader:
                kept = 2 * reader.length("steps") // 3
        process = subprocess.Popen([sys.executable, WRITING, path, "64"], stdout=subprocess.PIPE, text=True)
        # Half of them before the log is there, however slow the machine is.
        time.sleep(start * generator.uniform(0.5, 1.5))
        process.kill()
        said = [word for word in process.communicate()[0].split() if word != "created"]
        if path.exists():
            with RunLogReader(path) as reader:
                length = assert_sound(reader)
                assert length >= int(said[-1]) if said else length >= kept
                assert reader.state(time.time() + 5).state == "crashed"
            lengths.append(length)
    assert len(lengths) > 20
    assert max(lengths) > 100
    assert len(list(tmp_path.glob("*.h5"))) <= 11


def test_a_creation_phase_file_is_said_to_be_empty(tmp_path: Path, header) -> None:
    from thermotui.runlog.layout import create_file

    file = create_file(tmp_path / "half.h5", header(), file_dtypes(header(), {}))
    file.flush()
    shutil.copy(tmp_path / "half.h5", tmp_path / "left.h5")
    file.close()
    with pytest.raises(EmptyRunLogError, match="is empty: its writer died"):
        RunLogReader(tmp_path / "left.h5")
    (tmp_path / "none.h5").touch()
    with pytest.raises(EmptyRunLogError, match="is empty"):
        RunLogReader(tmp_path / "none.h5")


def test_many_rows_end_the_rest_between_two_flushes(tmp_path: Path, header, monkeypatch) -> None:
    monkeypatch.setattr("thermotui.runlog.writer.REST_SECONDS", 3600)
    monkeypatch.setattr("thermotui.runlog.writer.HURRY_BYTES", 100_000)
    with RunLogWriter.create(tmp_path / "run.h5", header()) as writer, RunLogReader(tmp_path / "run.h5") as reader:
        end = time.monotonic() + 60
        for step in range(1_000_000):
            writer.append("steps", step=step)
            if step % 10_000 == 0:
                time.sleep(0.01)
                reader.refresh()
                # More than one flush wrote: those rows alone that came before the first rest would be far fewer.
                if reader.length("steps") > 20_000 or time.monotonic() > end:
                    break
        assert reader.length("steps") > 20_000
