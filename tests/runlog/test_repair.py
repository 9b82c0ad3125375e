"""What repair saves, and that it never touches the damaged file."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from thermotui.errors import InputError
from thermotui.runlog.errors import EmptyRunLogError, RunLogError
from thermotui.runlog.reader import RunLogReader
from thermotui.runlog.repair import in_order, repair
from thermotui.runlog.schema import STREAMS
from thermotui.runlog.writer import RunLogWriter


@pytest.fixture
def dead(tmp_path: Path, header, rows) -> Path:
    """A log as a killed writer leaves it, with 3,000 rows in every stream."""
    with RunLogWriter.create(tmp_path / "live.h5", header(host="another machine", pid=1)) as writer:
        for stream in STREAMS.values():
            if stream.name != "heartbeat":
                writer.append_rows(stream.name, rows(stream, writer.header, 3000))
        writer.heartbeat(2999)
        writer.flush()
        shutil.copy(tmp_path / "live.h5", tmp_path / "dead.h5")
    (tmp_path / "live.h5").unlink()
    _age(tmp_path / "dead.h5")
    return tmp_path / "dead.h5"


def _age(path: Path) -> None:
    """A writer on another machine is taken for dead after some time: turn its clock back in the file."""
    with RunLogReader(path) as reader:
        beats = reader.read("heartbeat")["time"]
    data = bytearray(path.read_bytes())
    for beat in beats:
        for at in _places(data, beat.tobytes()):
            data[at : at + 8] = np.float64(beat - 3600).tobytes()
    path.write_bytes(data)


def _places(data: bytes, wanted: bytes) -> list[int]:
    at, found = data.find(wanted), []
    while at >= 0:
        found.append(at)
        at = data.find(wanted, at + 1)
    return found


def test_a_killed_log_is_saved_whole_and_closed(dead: Path, tmp_path: Path, same) -> None:
    before = dead.read_bytes()
    report = repair(dead, tmp_path / "saved.h5")
    assert dead.read_bytes() == before
    assert report.problems == ("not closed by its writer",)
    assert {stream.stream: (stream.found, stream.saved) for stream in report.streams}["steps"] == (3000, 3000)
    with RunLogReader(dead) as old, RunLogReader(tmp_path / "saved.h5") as new:
        assert new.header == old.header
        for name in STREAMS:
            if name != "heartbeat":
                assert same(old.read(name), new.read(name))
        state = new.state()
        assert (state.state, state.step) == ("interrupted", 2999)
        assert "repaired" in state.message
        assert state.age > 3000


def test_in_place_replaces_only_what_is_damaged(dead: Path, log) -> None:
    assert repair(dead).output == dead
    with RunLogReader(dead) as reader:
        assert reader.length("steps") == 3000
    sound = log(100, "sound.h5")
    before = sound.read_bytes()
    assert repair(sound).sound
    assert sound.read_bytes() == before


def test_a_log_cut_short_keeps_its_whole_chunks(log, tmp_path: Path, same) -> None:
    path = log(20_000)
    with RunLogReader(path) as reader:
        expected = reader.read("steps")
    whole = path.read_bytes()
    saved_before = 6 * 20_000
    for part in (0.95, 0.7, 0.3):
        path.write_bytes(whole[: int(part * len(whole))])
        report = repair(path, tmp_path / f"{part}.h5")
        assert "cut short" in report.problems[0]
        with RunLogReader(tmp_path / f"{part}.h5") as reader:
            rows = reader.read("steps")
            assert reader.overview("steps", ["loss"], 0, None, 10).count.sum() == len(rows)
        assert same(rows, expected[rows["step"]])
        saved = sum(stream.saved for stream in report.streams)
        assert 20_000 < saved < saved_before
        saved_before = saved


def test_an_overwritten_chunk_costs_its_rows_alone(log, tmp_path: Path) -> None:
    path = log(20_000)
    with RunLogReader(path) as reader:
        table = reader._stream("steps")
        chunk = table._table.get_chunk_info_by_coord((table.chunk_rows * 3,))
    data = bytearray(path.read_bytes())
    data[chunk.byte_offset : chunk.byte_offset + chunk.size] = b"\xa5" * chunk.size
    path.write_bytes(data)
    report = repair(path, tmp_path / "saved.h5")
    steps = next(stream for stream in report.streams if stream.stream == "steps")
    assert steps.saved == 20_000 - table.chunk_rows
    assert steps.problem == f"{table.chunk_rows} rows have a step out of order"


@pytest.mark.parametrize(
    ("steps", "kept"),
    [
        ([1, 2, 3, 3, 4], [1, 2, 3, 3, 4]),
        ([1, 900, 2, 3], [1, 2, 3]),
        ([1, 2, -7, 3, 4], [1, 2, 3, 4]),
        ([-9, 1], [1]),
        ([], []),
        ([5], [5]),
    ],
)
def test_outliers_among_the_steps(steps: list[int], kept: list[int]) -> None:
    array = np.array(steps, np.int64)
    assert array[in_order(array, 0)].tolist() == kept


def test_what_cannot_be_repaired_is_said(tmp_path: Path, header, log) -> None:
    with (
        RunLogWriter.create(tmp_path / "live.h5", header()),
        pytest.raises(RunLogError, match="is being written by another process"),
    ):
        repair(tmp_path / "live.h5", tmp_path / "out.h5")
    (tmp_path / "empty.h5").touch()
    with pytest.raises(EmptyRunLogError, match="is empty"):
        repair(tmp_path / "empty.h5", tmp_path / "out.h5")
    with pytest.raises(InputError, match="exists already"):
        repair(log(10), log(10, "other.h5"))
    assert not (tmp_path / "out.h5").exists()
    assert not list(tmp_path.glob(".*"))
