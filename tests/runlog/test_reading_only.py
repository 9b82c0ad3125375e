"""Whatever reads a log leaves no trace of it: no byte, no time of change, no open file."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.runlog.reading import export, watch_once
from thermotui.analysis.comparison import compare_runs
from thermotui.analysis.inspection import inspect_run
from thermotui.analysis.scanning import scan_file
from thermotui.errors import InputError
from thermotui.runlog.repair import repair
from thermotui.runlog.schema import STREAMS
from thermotui.runlog.state import this_host
from thermotui.runlog.writer import RunLogWriter

NOBODY = 1 << 30


def compare(path: Path) -> None:
    compare_runs([inspect_run(path), inspect_run(path)])


def repair_a_copy(path: Path) -> None:
    repair(path, path.with_name("repaired.h5"))


@pytest.fixture(params=["finished", "dead", "cut short", "damaged"])
def path(request: pytest.FixtureRequest, log, header, rows, tmp_path: Path) -> Path:
    path: Path = log(300)
    if request.param == "dead":
        with RunLogWriter.create(tmp_path / "live.h5", header(host=this_host(), pid=NOBODY)) as writer:
            writer.append_rows("steps", rows(STREAMS["steps"], header(), 300))
            writer.flush()
            path.write_bytes((tmp_path / "live.h5").read_bytes())
    elif request.param == "cut short":
        path.write_bytes(path.read_bytes()[:-1000])
    elif request.param == "damaged":
        data = bytearray(path.read_bytes())
        data[300:400] = bytes(100)
        path.write_bytes(data)
    return path


@pytest.mark.parametrize("command", [inspect_run, scan_file, export, watch_once, compare, repair_a_copy])
def test_reading_changes_nothing(path: Path, command: Callable[[Path], object]) -> None:
    os.utime(path, (1e9, 1e9))
    before, mode = path.read_bytes(), path.stat().st_mode
    # What other tests have left would be closed meanwhile.
    gc.collect()
    open_files = psutil.Process().num_fds()
    for _ in range(3):
        path.with_name("repaired.h5").unlink(missing_ok=True)
        try:
            command(path)
        except InputError as error:
            assert str(error).startswith(str(path))
    assert path.read_bytes() == before
    assert (path.stat().st_mtime, path.stat().st_mode) == (1e9, mode)
    assert psutil.Process().num_fds() == open_files
