"""KeyboardInterrupt at an awkward moment: no row half written, none lost, and the log gets its end."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from thermotui.runlog.buffer import RowBuffer
from thermotui.runlog.errors import RunLogError
from thermotui.runlog.reader import RunLogReader
from thermotui.runlog.schema import STREAMS, row_dtype
from thermotui.runlog.storage import Storage
from thermotui.runlog.writer import RunLogWriter


class _Interrupting:
    def __init__(self, error: type[BaseException]) -> None:
        self.error = error

    def __float__(self) -> float:
        raise self.error


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_a_row_that_is_cut_short_leaves_nothing_behind(header, error: type[BaseException]) -> None:
    buffer = RowBuffer("steps", row_dtype(STREAMS["steps"], header()))
    with pytest.raises(error):
        buffer.append(1, {"accuracy": 2.0, "loss": _Interrupting(error)})
    buffer.append(3, {})
    (block,) = buffer.take()
    assert block.count == 1
    assert block.rows["step"][0] == 3
    assert np.isnan(block.rows["accuracy"][0])


def test_a_close_that_is_cut_short_is_made_good(tmp_path: Path, header, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = RunLogWriter.create(tmp_path / "run.h5", header())
    writer.append("steps", step=7)

    def join(thread: threading.Thread, timeout: float | None = None) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(writer._thread, "join", join.__get__(writer._thread))
        writer.close()
    with pytest.raises(ValueError, match="is closed"):
        writer.append("steps", step=8)
    writer.close("interrupted", "from the keyboard")
    with RunLogReader(tmp_path / "run.h5") as reader:
        assert reader.read("steps")["step"].tolist() == [7]
        assert (reader.state().state, reader.state().message) == ("interrupted", "from the keyboard")


@pytest.mark.parametrize("moment", ["reason_to_stop", "flush_tables"])
def test_a_flush_that_is_cut_short_loses_no_row(
    tmp_path: Path, header, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    with RunLogWriter.create(tmp_path / "run.h5", header()) as writer, writer._io:
        writer.append("steps", step=7)
        writer.append("reservoir", step=7)
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(Storage, moment, _interrupt)
            writer.flush()
        writer.append("steps", step=8)
        writer.flush()
    with RunLogReader(tmp_path / "run.h5") as reader:
        assert reader.read("steps")["step"].tolist() == [7, 8]
        assert reader.read("reservoir")["step"].tolist() == [7]
        assert reader.state().state == "finished"


def test_an_interrupt_within_a_write_is_said(tmp_path: Path, header, monkeypatch: pytest.MonkeyPatch) -> None:
    with RunLogWriter.create(tmp_path / "run.h5", header()) as writer, writer._io:
        writer.append("steps", step=7)
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(Storage, "store", _interrupt)
            writer.flush()
        assert writer.failure == "interrupted while rows were written"


def _interrupt(*values: object) -> None:
    raise KeyboardInterrupt


def test_a_temporary_that_was_there_before_stays(tmp_path: Path, header, monkeypatch: pytest.MonkeyPatch) -> None:
    def create(path: Path, *others: object) -> None:
        path.write_bytes(b"another's")
        raise FileExistsError(path)

    monkeypatch.setattr("thermotui.runlog.storage.create_file", create)
    with pytest.raises(RunLogError, match="cannot be written"):
        RunLogWriter.create(tmp_path / "run.h5", header())
    (left,) = tmp_path.iterdir()
    assert left.read_bytes() == b"another's"
