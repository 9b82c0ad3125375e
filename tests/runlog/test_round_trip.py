"""What is written is what is read: rows, header, order, lengths, defaults."""

from __future__ import annotations

import dataclasses
import itertools
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from thermotui.errors import InputError
from thermotui.runlog import table
from thermotui.runlog.errors import RunLogError
from thermotui.runlog.layout import stored_type
from thermotui.runlog.reader import RunLogReader
from thermotui.runlog.schema import STREAMS, Header, Layer
from thermotui.runlog.writer import RunLogWriter


def test_every_stream_comes_back_bit_for_bit(tmp_path: Path, header, rows, same) -> None:
    written = {name: rows(stream, header(), 3000) for name, stream in STREAMS.items() if name != "heartbeat"}
    with RunLogWriter.create(tmp_path / "run.h5", header()) as writer:
        for name, block in written.items():
            writer.append_rows(name, block[:1000])
            for row in block[1000:1300]:
                writer.append(name, **{field: row[field] for field in block.dtype.names})
            writer.append_rows(name, block[1300:])
    with RunLogReader(tmp_path / "run.h5") as reader:
        for name, block in written.items():
            assert same(reader.read(name), block)
            assert same(reader.read(name, None, 900, 1400), block[900:1400])


@pytest.mark.parametrize("block_bytes", [1, 1000, table.BLOCK_BYTES])
def test_any_choice_of_fields_comes_back_and_hdf5_is_asked_for_one_type_of_row(
    log, same, monkeypatch: pytest.MonkeyPatch, block_bytes: int
) -> None:
    """For each type more it would keep a conversion until the process ends."""
    monkeypatch.setattr(table, "BLOCK_BYTES", block_bytes)
    with RunLogReader(log(500)) as reader:
        rows = reader.read("thermo")
        stored_type.cache_clear()
        names = rows.dtype.names
        for count in (1, 2, 7):
            for first in range(0, len(names) - count, 3):
                # In another order than they are stored in.
                chosen = names[first : first + count][::-1]
                expected = np.empty(len(rows), [(name, rows.dtype[name]) for name in chosen])
                for name in chosen:
                    expected[name] = rows[name]
                assert same(reader.read("thermo", chosen), expected)
                assert same(reader.read("thermo", chosen, 17, 31), expected[17:31])
        assert stored_type.cache_info().currsize == 1


def test_the_header_comes_back_with_host_and_process(tmp_path: Path) -> None:
    written = Header(
        run_id="Ω-1",
        created=time.time(),
        family="rbm",
        layers=(Layer("W", 12, "full gradient"), Layer("b", 3)),
        ensemble=5,
        ensemble_varies="data",
        stride=10,
        replacement=False,
        marginal="ensemble",
        figures={"log_partition": "exact"},
        detectors={"preset": "quiet"},
        config={"learning_rate": 0.1, "widths": [200, 200], "data": None},
        notes=("Nothing is measured of the biases.",),
        rank=1,
        world_size=2,
    )
    with RunLogWriter.create(tmp_path / "run.h5", written) as writer:
        full = writer.header
    with RunLogReader(tmp_path / "run.h5") as reader:
        assert reader.header == full
    assert dataclasses.replace(full, host="", pid=0) == written
    assert full.host
    assert full.pid


def test_fields_left_out_are_not_measured(tmp_path: Path, header) -> None:
    with RunLogWriter.create(tmp_path / "run.h5", header()) as writer:
        writer.append("steps", step=7, loss=1.5)
        writer.append("alerts", step=7, kind="loss_spike")
        writer.append("reservoir", step=7, temperature=np.float32([1, 2, 3]))
    with RunLogReader(tmp_path / "run.h5") as reader:
        step = reader.read("steps")[0]
        assert (step["step"], step["loss"]) == (7, 1.5)
        assert np.isnan(step["accuracy"])
        alert = reader.read("alerts")[0]
        assert (alert["kind"], alert["message"], alert["layer"]) == (b"loss_spike", b"", 0)
        assert reader.read("reservoir")["temperature"].tolist() == [[1, 2, 3]]
        assert np.isnan(reader.read("reservoir")["force"]).all()


def test_long_text_is_cut_between_characters(tmp_path: Path, header) -> None:
    with RunLogWriter.create(tmp_path / "run.h5", header()) as writer:
        writer.append("alerts", step=1, message="x" + "Σ" * 100)
    with RunLogReader(tmp_path / "run.h5") as reader:
        assert reader.read("alerts")["message"][0].decode() == "x" + "Σ" * 79


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"step": 1, "los": 2.0}, "no field 'los'"),
        ({"step": 1, "temperature": np.zeros(5)}, "does not fit"),
        ({"step": "one"}, "does not fit"),
    ],
)
def test_a_wrong_row_is_refused_and_leaves_no_trace(tmp_path: Path, header, values, reason) -> None:
    with RunLogWriter.create(tmp_path / "run.h5", header()) as writer:
        with pytest.raises(ValueError, match=reason):
            writer.append("reservoir", **{"mobility": 3.0, **values})
        writer.append("reservoir", step=2)
    with RunLogReader(tmp_path / "run.h5") as reader:
        row = reader.read("reservoir")
        assert row["step"].tolist() == [2]
        assert np.isnan(row["mobility"][0])


def test_windows_fields_and_step_ranges(log) -> None:
    with RunLogReader(log(5000)) as reader:
        window = reader.read("steps", ["loss", "step"], 100, 200)
        assert window.dtype.names == ("loss", "step")
        assert window["step"].tolist() == list(range(100, 200))
        assert reader.read("steps", ["step"], -3)["step"].tolist() == [4997, 4998, 4999]
        assert len(reader.read("steps", ["step"], 4990, 9999)) == 10
        assert reader.row_range("steps", 10, 20) == (10, 21)
        assert reader.row_range("steps", -5, 9999) == (0, 5000)
        assert reader.row_range("steps", 9999, 99999) == (5000, 5000)
        with pytest.raises(RunLogError, match="no field 'los'"):
            reader.read("steps", ["los"])
        with pytest.raises(RunLogError, match="no stream 'step'"):
            reader.read("step")


def test_any_hdf5_program_reads_a_finished_log(log) -> None:
    with h5py.File(log(500), "r") as file:
        assert file["thermo"]["heat"].shape == (500,)
        assert file.attrs["family"] in ("softmax", b"softmax")


def test_old_and_new_fields_meet(log, tmp_path: Path) -> None:
    """A log of another release of the same format version: a field less, a field more."""
    path = log(100)
    with h5py.File(path, "r+") as file:
        rows = file["steps"][:]
        names = [name for name in rows.dtype.names if name != "accuracy_spread"]
        other = np.zeros(100, [*((name, rows.dtype[name]) for name in names), ("novelty", "f4")])
        for name in names:
            other[name] = rows[name]
        del file["steps"]
        file.create_dataset("steps", data=other, maxshape=(None,), chunks=(64,))
    with RunLogReader(path) as reader:
        read = reader.read("steps")
        assert np.isnan(read["accuracy_spread"]).all()
        assert read["loss"].tobytes() == rows["loss"].tobytes()
        assert "novelty" not in read.dtype.names


def test_an_existing_file_is_never_replaced(log, header) -> None:
    path = log(10)
    before = path.read_bytes()
    with pytest.raises(InputError, match=r"run\.h5: exists already; choose another name"):
        RunLogWriter.create(path, header())
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == ["run.h5"]


def test_directories_are_made_and_bad_places_named(tmp_path: Path, header) -> None:
    RunLogWriter.create(tmp_path / "a" / "b" / "run.h5", header()).close()
    assert (tmp_path / "a" / "b" / "run.h5").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(RunLogError, match="cannot be written"):
        RunLogWriter.create(tmp_path / "file" / "run.h5", header())


def test_thousands_of_layers(tmp_path: Path, header, rows, same) -> None:
    with RunLogWriter.create(tmp_path / "run.h5", header(layers=4000)) as writer:
        block = rows(STREAMS["reservoir"], writer.header, 130)
        writer.append_rows("reservoir", block)
    with RunLogReader(tmp_path / "run.h5") as reader:
        assert len(reader.header.layers) == 4000
        assert same(reader.read("reservoir"), block)
        assert reader.overview("reservoir", ["temperature"], 0, 128, 2).mean["temperature"].shape == (2, 4000)


def test_a_resumed_log_ends_at_the_checkpoint_in_every_stream(tmp_path: Path, header) -> None:
    path = tmp_path / "run.h5"
    with RunLogWriter.create(path, header()) as writer:
        for step in range(100):
            for stream in ("steps", "thermo", "reservoir", "members", "autocorrelation"):
                writer.append(stream, step=step)
        writer.append("alerts", step=30, kind="loss_spike", start=29, end=-1)
        writer.append("alerts", step=30, kind="loss_spike", start=29, end=40)
        writer.append("alerts", step=45, kind="stall", start=44, end=-1)
        writer.append("alerts", step=45, kind="stall", start=44, end=80)
        writer.append("alerts", step=70, kind="stall", start=69, end=-1)
    with RunLogWriter.resume(path, 50) as writer, RunLogReader(path) as reader:
        for stream in ("steps", "thermo", "reservoir", "members", "autocorrelation"):
            assert reader.read(stream)["step"].tolist() == list(range(51))
        assert reader.read("alerts")[["step", "end"]].tolist() == [(30, -1), (30, 40), (45, -1)]
        assert reader.state().step == 50
        writer.append("steps", step=51)
        writer.flush()
        reader.refresh()
        assert reader.read("steps")["step"][-2:].tolist() == [50, 51]


def test_rows_of_any_number_at_a_time_fill_the_chunks_in_turn(tmp_path: Path, header, rows, same) -> None:
    """Blocks that end within a chunk, at its end and beyond it, each seen at once by a reader who was there before."""
    written = rows(STREAMS["steps"], header(), 5000)
    cuts = np.cumsum([1, 7, 810, 1, 1, 1637, 1, 818, 1500])
    with (
        RunLogWriter.create(tmp_path / "run.h5", header()) as writer,
        RunLogReader(tmp_path / "run.h5") as reader,
    ):
        for start, stop in itertools.pairwise((0, *cuts, len(written))):
            writer.append_rows("steps", written[start:stop])
            writer.flush()
            reader.refresh()
            assert same(reader.read("steps"), written[:stop])
    with h5py.File(tmp_path / "run.h5") as file:
        assert file["steps"].chunks == (819,)
        assert same(file["steps"][...], written)
