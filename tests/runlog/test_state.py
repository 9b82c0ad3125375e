"""The state of a run, from what its log says, the clock and the process table."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from thermotui.runlog import reader as reader_module
from thermotui.runlog.disk import network_file_system
from thermotui.runlog.errors import RunLogError
from thermotui.runlog.reader import RunLogReader
from thermotui.runlog.schema import HEARTBEAT, row_dtype
from thermotui.runlog.state import _process_start, heartbeat_interval, judge, this_host
from thermotui.runlog.workspace import find_logs
from thermotui.runlog.writer import RunLogWriter

NOW = 2_000_000_000.0


def beat(header, age: float, state: str, step: int = 40, message: str = "") -> np.void:
    row = np.zeros(1, row_dtype(HEARTBEAT, header))
    row[0] = (NOW - age, step, state.encode(), message.encode())
    return row[0]


@pytest.mark.parametrize(
    ("said", "age", "where", "closed", "expected"),
    [
        ("running", 1, "here", False, "running"),
        ("starting", 1, "elsewhere", False, "starting"),
        ("running", 40, "here", False, "stalled"),
        ("running", 29, "elsewhere", False, "running"),
        ("running", 40, "elsewhere", False, "stalled"),
        ("running", 2, "dead here", False, "running"),
        ("running", 4, "dead here", False, "crashed"),
        ("starting", 4, "dead here", False, "crashed"),
        ("finished", 1e6, "dead here", True, "finished"),
        ("finished", 1, "dead here", False, "finished"),
        ("failed", 1e6, "elsewhere", True, "failed"),
        ("interrupted", 1e6, "elsewhere", True, "interrupted"),
        ("running", 1e6, "elsewhere", True, "interrupted"),
        ("running", 4, "another here", False, "crashed"),
    ],
)
def test_states(header, monkeypatch, said: str, age: float, where: str, closed: bool, expected: str) -> None:
    """ "another here": the process number belongs to a process that started after the last sign of life."""
    dead = subprocess.Popen([sys.executable, "-c", "pass"])
    dead.wait()
    started = NOW - 1 if where == "another here" else NOW - 1e7
    monkeypatch.setattr("thermotui.runlog.state._process_start", lambda pid: started)
    host = "somewhere" if where == "elsewhere" else this_host()
    head = header(host=host, pid=dead.pid if where == "dead here" else os.getpid(), created=NOW - 50)
    state = judge(head, beat(head, age, said), closed=closed, now=NOW)
    assert (state.state, state.step) == (expected, 40)
    assert state.age == pytest.approx(age)


def test_when_this_process_started_is_known() -> None:
    before = time.time()
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    started = _process_start(process.pid)
    process.communicate(b"\n")
    assert started is not None
    assert started == pytest.approx(before, abs=2)


def test_without_a_heartbeat(header) -> None:
    head = header(host="somewhere", created=NOW)
    assert judge(head, None, closed=True, now=NOW + 1).state == "empty"
    assert judge(head, None, closed=False, now=NOW + 1).state == "starting"
    assert judge(head, None, closed=False, now=NOW + 100).state == "stalled"


def test_heartbeats_thin_out_but_never_below_the_limit_of_stalling() -> None:
    assert [heartbeat_interval(elapsed) for elapsed in (0, 500, 5000, 1e9)] == [1, 1, 5, 10]


def test_a_run_that_is_busy_still_beats(tmp_path: Path, header) -> None:
    with RunLogWriter.create(tmp_path / "run.h5", header()) as writer, RunLogReader(tmp_path / "run.h5") as reader:
        writer.append("steps", step=12)
        writer.heartbeat(12)
        deadline = time.monotonic() + 20
        while reader.length("heartbeat") < 4 and time.monotonic() < deadline:
            time.sleep(0.05)
            reader.refresh()
        assert reader.length("heartbeat") >= 4
        assert reader.state().age < 5
        assert reader.state().step == 12


def test_messages_reach_the_reader(tmp_path: Path, header) -> None:
    writer = RunLogWriter.create(tmp_path / "run.h5", header())
    with RunLogReader(tmp_path / "run.h5") as reader, pytest.raises(ZeroDivisionError), writer:
        raise ZeroDivisionError("θ went to zero")
    reader = RunLogReader(tmp_path / "run.h5")
    assert (reader.state().state, reader.state().message) == ("failed", "ZeroDivisionError: θ went to zero")
    reader.close()


def test_a_program_that_forgets_to_close_is_interrupted(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from thermotui.runlog.schema import Header\nfrom thermotui.runlog.writer import RunLogWriter\n"
        "writer = RunLogWriter.create(Path(sys.argv[1]), Header('x', 0.0, 'softmax', ()))\n"
        "writer.append('steps', step=7)\n"
    )
    subprocess.run([sys.executable, "-c", program, tmp_path / "run.h5"], check=True, timeout=60)
    with RunLogReader(tmp_path / "run.h5") as reader:
        assert reader.read("steps")["step"].tolist() == [7]
        assert (reader.state().state, reader.state().message[:11]) == ("interrupted", "the program")


def test_network_file_systems_are_told_from_local_ones(tmp_path: Path, header, monkeypatch) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text("/dev/vda / ext4 rw 0 0\nserver:/x /home nfs4 rw 0 0\n/dev/vdb /home/my\\040disk xfs rw 0 0\n")
    assert network_file_system(Path("/home/runs/a.h5"), mounts) == "nfs4"
    assert network_file_system(Path("/home/my disk/a.h5"), mounts) is None
    assert network_file_system(Path("/data/a.h5"), mounts) is None
    assert network_file_system(Path("/data/a.h5"), tmp_path / "none") is None
    monkeypatch.setattr(reader_module, "network_file_system", lambda path: "nfs")
    with RunLogWriter.create(tmp_path / "run.h5", header()) as writer, RunLogReader(tmp_path / "run.h5") as reader:
        writer.append("steps", step=1)
        writer.flush()
        reader.refresh()
        assert reader.length("steps") == 1


def test_logs_are_found_by_name_and_broken_ones_with_them(tmp_path: Path, log) -> None:
    (tmp_path / "b" / "c").mkdir(parents=True)
    inner = tmp_path / "b" / "c" / "x.h5"
    log(3).rename(inner)
    broken = tmp_path / "b" / "broken.h5"
    broken.write_bytes(b"no")
    (tmp_path / "b" / ".half.h5.1.tmp").touch()
    (tmp_path / "b" / ".hidden.h5").touch()
    (tmp_path / "b" / "notes.txt").touch()
    (tmp_path / ".venv" / "data").mkdir(parents=True)
    (tmp_path / ".venv" / "data" / "foreign.h5").touch()
    assert find_logs([tmp_path]) == [broken, inner]
    assert find_logs([inner, tmp_path / "b"]) == [inner, broken]
    # Whoever names it means it.
    assert find_logs([tmp_path / ".venv"]) == [tmp_path / ".venv" / "data" / "foreign.h5"]


def test_a_directory_that_one_may_not_list_is_said_where_it_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log
) -> None:
    (tmp_path / "closed").mkdir()
    beside = log(3)
    scandir = os.scandir

    def refuse(path):
        if Path(path).name == "closed":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(RunLogError, match=r"closed: cannot be read \(Permission denied\)"):
        find_logs([tmp_path / "closed"])
    assert find_logs([tmp_path]) == [beside]


def test_a_log_that_may_be_listed_and_not_seen_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log) -> None:
    path, stat = log(3), os.stat

    def refuse(asked, **options):
        if asked == path:
            raise PermissionError(errno.EACCES, "Permission denied", asked)
        return stat(asked, **options)

    monkeypatch.setattr(os, "stat", refuse)
    assert find_logs([tmp_path]) == [path]
