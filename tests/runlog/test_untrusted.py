"""Damaged and hostile files: a clear sentence or the sound rows; never a crash, a hang, a traceback or much memory."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.runlog.forging import forge, object_headers
from tests.runlog.mutants import hostile_files, mutate
from thermotui.runlog.errors import RunLogError
from thermotui.runlog.reader import RunLogReader
from thermotui.runlog.schema import FORMAT_VERSION, STREAMS
from thermotui.runlog.state import this_host
from thermotui.runlog.writer import RunLogWriter

HERE = Path(__file__).parent
SECONDS = 5.0
MEGABYTES = 500
NOBODY = 1 << 30
"""A number that no process has: Linux counts to 2²²."""


class Child:
    """A process that reads files on demand and is replaced when it dies."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.process = self._start()

    def _start(self) -> subprocess.Popen[str]:
        command = [sys.executable, HERE / "reading.py", self.scratch]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)

    def read(self, path: Path) -> str | None:
        """What went wrong, as nobody should see it; None where all went as it should."""
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(f"{path}\n")
        stdin.flush()
        used = self._processor_seconds()
        ready = False
        begin = time.monotonic()
        # Processor time, so that other work on the machine is not taken for a hang; and time, for one that sleeps.
        while not ready and self._processor_seconds() - used < SECONDS and time.monotonic() - begin < 20 * SECONDS:
            ready = bool(select.select([stdout], [], [], 0.1)[0])
        line = stdout.readline() if ready else ""
        if line:
            peak, _, said = line.partition("\t")
            if int(peak) > MEGABYTES:
                return f"{peak} MB of memory"
            return None if said.strip() else "an empty sentence"
        self.close()
        assert self.process.stderr is not None
        complaint = f"{'died' if ready else 'hung'}: {self.process.stderr.read()[-2000:]}"
        self.process = self._start()
        return complaint

    def _processor_seconds(self) -> float:
        times = psutil.Process(self.process.pid).cpu_times()
        return float(times.user + times.system)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def child(tmp_path: Path) -> Iterator[Child]:
    child = Child(tmp_path / "scratch.h5")
    yield child
    child.close()


@pytest.fixture
def originals(tmp_path: Path, log, header, rows) -> dict[str, bytes]:
    """A closed log, one as its writer has it open, and one as a killed writer leaves it."""

    def unclosed(name: str, **values: object) -> bytes:
        path = tmp_path / f"{name}.h5"
        with RunLogWriter.create(path, header(**values)) as writer:
            for stream in STREAMS.values():
                if stream.name != "heartbeat":
                    writer.append_rows(stream.name, rows(stream, header(), 600))
            writer.flush()
            return path.read_bytes()

    return {
        "clean": log(600, "clean.h5").read_bytes(),
        "live": unclosed("live"),
        "dead": unclosed("dead", host=this_host(), pid=NOBODY),
    }


def fuzz(
    child: Child,
    originals: dict[str, bytes],
    directory: Path,
    seeds: Iterable[int],
    mutant: Callable[[bytes, int], bytes] = mutate,
) -> list[str]:
    complaints = []
    path = directory / "mutant.h5"
    for seed in seeds:
        for kind, original in originals.items():
            path.write_bytes(mutant(original, seed))
            complaint = child.read(path)
            if complaint is not None:
                complaints.append(f"{kind} {seed}: {complaint}")
                shutil.copy(path, directory / f"complaint-{kind}-{seed}.h5")
    return complaints


def test_mutants(child: Child, originals: dict[str, bytes], tmp_path: Path) -> None:
    assert fuzz(child, originals, tmp_path, range(17)) == []


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("part", range(8))
def test_two_thousand_mutants(child: Child, originals: dict[str, bytes], tmp_path: Path, part: int) -> None:
    """In parts, so that one can be run again by itself and several side by side."""
    assert fuzz(child, originals, tmp_path, range(84 * part, 84 * (part + 1))) == []


def test_forged_checksums(child: Child, originals: dict[str, bytes], tmp_path: Path) -> None:
    """A checksum keeps accidents out, not intent."""
    assert len(object_headers(originals["clean"])) > len(STREAMS)
    assert fuzz(child, originals, tmp_path, range(2), forge) == []


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_many_forged_checksums(child: Child, originals: dict[str, bytes], tmp_path: Path) -> None:
    assert fuzz(child, originals, tmp_path, range(100), forge) == []


def test_hostile_files_are_refused_by_name(child: Child, log, tmp_path: Path) -> None:
    sound = log(500, "sound.h5")
    files = hostile_files(tmp_path, sound)
    assert len(files) > 20
    for path in files:
        assert child.read(path) is None, path
    refused = {path.stem: str(_refusal(path)) for path in files}
    assert "link out of the log" in refused["external-link"]
    assert "link out of the log" in refused["soft-link"]
    assert "external, virtual or filtered" in refused["external-storage"]
    assert "external, virtual or filtered" in refused["virtual"]
    assert "external, virtual or filtered" in refused["filtered"]
    assert "more than the file can hold" in refused["huge-shape"]
    assert "chunks of more than" in refused["huge-chunk"]
    assert f"format version {FORMAT_VERSION + 1}" in refused["newer-version"]
    assert "'family' is missing" in refused["vanished-family"]
    for name, sentence in refused.items():
        assert sentence.startswith(str(tmp_path / name)), (name, sentence)


def _refusal(path: Path) -> RunLogError | str:
    try:
        with RunLogReader(path) as reader:
            reader.read("steps")
            reader.overview("steps", ["loss"], 0, None, 4)
    except RunLogError as error:
        return error
    return f"{path}: read"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"step,loss\n1,2\n", "no HDF5 signature"),
        (b"\x89HDF\r\n\x1a\n", "is cut short"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "not a run log"),
    ],
)
def test_what_is_no_log_is_said_to_be_none(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "other.h5"
    path.write_bytes(content)
    with pytest.raises(RunLogError, match=reason):
        RunLogReader(path)


def test_no_such_file_and_directories(tmp_path: Path) -> None:
    with pytest.raises(RunLogError, match="no such file"):
        RunLogReader(tmp_path / "none.h5")
    with pytest.raises(RunLogError, match="is a directory"):
        RunLogReader(tmp_path)
    os.mkfifo(tmp_path / "pipe.h5")
    with pytest.raises(RunLogError, match="not a regular file"):
        RunLogReader(tmp_path / "pipe.h5")


def test_a_file_cut_short_is_never_read_as_zeros(log, tmp_path: Path) -> None:
    path = log(5000)
    whole = path.read_bytes()
    for part in np.linspace(0.3, 0.99, 8):
        cut = tmp_path / "cut.h5"
        cut.write_bytes(whole[: int(part * len(whole))])
        with pytest.raises(RunLogError, match="cut short"):
            RunLogReader(cut)
        cut.unlink()


def test_another_programs_hdf5_is_said_to_be_that(tmp_path: Path) -> None:
    import h5py

    with h5py.File(tmp_path / "other.h5", "w", libver="latest") as file:
        file["x"] = np.arange(5)
    with pytest.raises(RunLogError, match="not a run log of thermotui"):
        RunLogReader(tmp_path / "other.h5")
    shutil.copy(tmp_path / "other.h5", tmp_path / "again.h5")
    with h5py.File(tmp_path / "old.h5", "w") as file:
        file["x"] = np.arange(5)
    with pytest.raises(RunLogError, match="not a run log of thermotui"):
        RunLogReader(tmp_path / "old.h5")
