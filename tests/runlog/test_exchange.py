"""Out to other formats and back in: the same numbers."""

from __future__ import annotations

import csv
import io
import json
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from thermotui.analysis.monitoring import monitor_of
from thermotui.errors import InputError
from thermotui.runlog.exchange.csv_table import write_csv
from thermotui.runlog.exchange.importing import import_run
from thermotui.runlog.exchange.npz_archive import write_npz
from thermotui.runlog.exchange.parquet_table import write_parquet
from thermotui.runlog.exchange.records import read_records
from thermotui.runlog.exchange.selection import new_output, select
from thermotui.runlog.exchange.tensorboard_events import read_events, write_events
from thermotui.runlog.exchange.wandb_run import read_frames
from thermotui.runlog.reader import RunLogReader
from thermotui.runlog.schema import STREAMS


def test_csv_reads_back_to_the_same_numbers(log) -> None:
    with RunLogReader(log(2000)) as reader:
        text = io.StringIO()
        write_csv(select(reader, ["reservoir"], ["temperature", "mobility"], None)[0], text)
        rows = reader.read("reservoir")
    lines = list(csv.reader(io.StringIO(text.getvalue())))
    assert lines[0] == ["step", "mobility", *(f"temperature[layer {index}]" for index in range(3))]
    cells = np.array([[cell or "nan" for cell in line] for line in lines[1:]])
    np.testing.assert_array_equal(cells[:, 0].astype(int), rows["step"])
    np.testing.assert_array_equal(cells[:, 1].astype("f4"), rows["mobility"])
    np.testing.assert_array_equal(cells[:, 2:].astype("f4"), rows["temperature"])


def test_text_and_step_ranges(log) -> None:
    with RunLogReader(log(500)) as reader:
        text = io.StringIO()
        write_csv(select(reader, ["alerts"], ["kind"], (100, 109))[0], text)
        lines = text.getvalue().splitlines()
        assert len(lines) == 11
        assert {line.partition(",")[2] for line in lines[1:]} <= {"", "loss_spike", "Σ rose"}
        block = np.concatenate(list(select(reader, ["steps"], [], (100, 109))[0].blocks()))
        assert block["step"].tolist() == list(range(100, 110))


def test_npz_holds_every_stream_with_its_axes(log, tmp_path: Path) -> None:
    with RunLogReader(log(3000)) as reader:
        write_npz(select(reader, [], [], None), tmp_path / "run.npz")
        archive = np.load(tmp_path / "run.npz")
        for stream in STREAMS.values():
            rows = reader.read(stream.name)
            for field in rows.dtype.names or ():
                np.testing.assert_array_equal(archive[f"{stream.name}.{field}"], rows[field])


def test_parquet_has_the_columns_of_csv_and_the_header(log, tmp_path: Path) -> None:
    with RunLogReader(log(2000)) as reader:
        write_parquet(select(reader, ["members"], [], None)[0], tmp_path / "members.parquet")
        rows = reader.read("members")
    table = pq.read_table(tmp_path / "members.parquet")
    np.testing.assert_array_equal(table["work[1]"].to_numpy(), rows["work"][:, 1])
    assert table["work[1]"].null_count == np.isnan(rows["work"][:, 1]).sum()
    np.testing.assert_array_equal(table["parameters[0,3]"].to_numpy(), rows["parameters"][:, 0, 3])
    assert table.schema.metadata[b"family"] == b"softmax"


def test_tensorboard_events_out_and_in(log, tmp_path: Path) -> None:
    path = log(300)
    with RunLogReader(path) as reader:
        write_events(select(reader, ["steps", "reservoir"], ["loss", "force"], None), tmp_path / "events")
        rows, force = reader.read("steps"), reader.read("reservoir")["force"]
    records = list(read_events(tmp_path / "events"))
    seen = {record["step"]: record["steps/loss"] for record in records if "steps/loss" in record}
    measured = rows[~np.isnan(rows["loss"])]
    np.testing.assert_array_equal(measured["step"], list(seen))
    np.testing.assert_array_equal(measured["loss"], np.float32(list(seen.values())))
    layer = {record["step"]: record.get("reservoir/force/layer 2") for record in records if "steps/loss" not in record}
    assert layer[7] == force[7, 2] or np.isnan(force[7, 2])
    report = import_run(tmp_path / "events", tmp_path / "back.h5", {})
    assert (report.tool, report.columns["loss"]) == ("TensorBoard", "steps/loss")
    with RunLogReader(tmp_path / "back.h5") as reader:
        back = reader.read("steps")
        np.testing.assert_array_equal(back["loss"], measured["loss"])
        np.testing.assert_array_equal(back["step"], measured["step"])


def test_csv_in(tmp_path: Path) -> None:
    source = tmp_path / "other.csv"
    source.write_text("epoch,global_step,train/loss,lr,remark\n0,10,2.5,0.1,first\n0,20,,0.1,\n1,30,inf,0.05,x\n")
    report = import_run(source, tmp_path / "run.h5", {})
    assert report.rows == 3
    assert report.columns == {"step": "global_step", "loss": "train/loss", "learning_rate": "lr"}
    assert report.left_out == ("epoch", "remark")
    with RunLogReader(tmp_path / "run.h5") as reader:
        rows = reader.read("steps")
        assert rows["step"].tolist() == [10, 20, 30]
        np.testing.assert_array_equal(rows["loss"], np.float32([2.5, np.nan, np.inf]))
        assert reader.state().state == "finished"
        assert reader.header.layers == ()
        assert "no thermodynamic quantity was measured" in reader.header.notes[0]
        assert reader.length("thermo") == 0


@pytest.mark.parametrize(
    ("text", "gaps", "alert"),
    [
        # Another tool's eval steps and learning rates have rows of their own.
        ("step,loss,accuracy\n0,1,\n1,,0.5\n2,0.9,\n3,,0.6\n", True, False),
        ("step,accuracy\n0,0.1\n1,0.2\n", True, False),
        # A run that diverged, with and without anything else that goes on.
        ("step,loss,lr\n0,1,0.1\n1,0.9,0.1\n2,nan,0.1\n3,nan,0.1\n", False, True),
        ("step,loss\n0,1\n1,0.9\n2,NaN\n3,nan\n", False, True),
        ("step,loss,lr\n0,1,\n1,inf,\n2,,0.1\n", True, True),
    ],
)
def test_a_loss_that_is_not_there_is_not_one_that_is_no_number(
    tmp_path: Path, text: str, gaps: bool, alert: bool
) -> None:
    (tmp_path / "a.csv").write_text(text)
    report = import_run(tmp_path / "a.csv", tmp_path / "run.h5", {})
    assert report.rows == len(text.splitlines()) - 1
    assert ("loss" in report.gaps) == gaps
    with RunLogReader(tmp_path / "run.h5") as reader:
        found = monitor_of(reader.header).feed("steps", reader.read("steps"))
    assert [one.kind for one in found] == ["non_finite"] * alert
    if alert:
        assert found[0].step == (2 if "nan" in text else 1)


def test_json_lines_in_with_chosen_columns(tmp_path: Path) -> None:
    source = tmp_path / "other.jsonl"
    lines = [{"train": {"nll": 3 - 0.1 * i}, "val": i, "note": "x", "ok": True} for i in range(10_000)]
    source.write_text("\n".join(map(json.dumps, lines)) + "\n\n")
    with pytest.raises(InputError, match=r"none of its columns .* say which is the loss with --column loss=NAME"):
        import_run(source, tmp_path / "run.h5", {})
    with pytest.raises(InputError, match="has no column 'nll'"):
        import_run(source, tmp_path / "run.h5", {"loss": "nll"})
    with pytest.raises(InputError, match="no such field"):
        import_run(source, tmp_path / "run.h5", {"heat": "val"})
    assert list(tmp_path.iterdir()) == [source]
    assert import_run(source, tmp_path / "run.h5", {"loss": "train/nll", "accuracy": "val"}).rows == 10_000
    with RunLogReader(tmp_path / "run.h5") as reader:
        rows = reader.read("steps")
        assert rows["step"].tolist() == list(range(10_000))
        np.testing.assert_array_equal(rows["accuracy"], np.arange(10_000, dtype="f4"))


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("a.jsonl", '{"loss": 1}\n{"loss":', "line 2 is not JSON"),
        ("a.jsonl", "[1]\n", "line 1 is not a JSON object"),
        ("a.jsonl", "", "there are no rows"),
        ("a.csv", "step,loss\n5,1\n4,1\n", "step 4 comes after step 5"),
        ("a.csv", "step,loss\n1,1\n1e300,1\n", "1e[+]300 is too large for the number of a step"),
        ("a.csv", "step,loss\n1,\n", "no row has a value"),
        ("a.csv", "step,loss\n1,2\n2,oops\n", "'oops' in column 'loss', entry 2, is not a number"),
        ("a.csv", "step,loss,lr\n1,2,low\n", "'low' in column 'lr', entry 1, is not a number"),
        ("a.csv", "step,loss\n1,2\nx,3\n", "entry 2 has no number in the step column 'step'"),
        ("a.csv", "step,loss\n1,2\n,3\n", "entry 2 has no number in the step column 'step'"),
        ("a.jsonl", '{"step": 1, "loss": "bad"}\n{"step": 2, "loss": 3}\n', "'bad' in column 'loss', entry 1"),
        ("a.jsonl", '{"step": 1, "loss": true}\n', "True in column 'loss', entry 1"),
        ("a.txt", "step,loss\n", "not a CSV"),
        ("a.wandb", "hello, world", "W&B"),
    ],
)
def test_bad_sources_are_one_sentence(tmp_path: Path, name: str, text: str, reason: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=reason):
        import_run(tmp_path / name, tmp_path / "run.h5", {})
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_no_such_source(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_records(tmp_path / "none.csv")


def test_export_takes_memory_that_does_not_grow_with_the_run(tmp_path: Path) -> None:
    peaks = []
    for count in (30_000, 90_000):
        path = tmp_path / f"long-{count}.h5"
        _long_log(path, count)
        with RunLogReader(path) as reader:
            tracemalloc.start()
            write_npz(select(reader, ["thermo"], [], None), tmp_path / f"{count}.npz")
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


def _long_log(path: Path, count: int) -> None:
    from thermotui.runlog.schema import Header
    from thermotui.runlog.writer import RunLogWriter

    with RunLogWriter.create(path, Header("long", 0.0, "softmax", ())) as writer:
        rows = np.zeros(count, writer.dtype("thermo"))
        rows["step"] = np.arange(count)
        for start in range(0, count, 20_000):
            writer.append_rows("thermo", rows[start : start + 20_000])
            writer.flush()


def test_unknown_streams_and_fields_are_named(log) -> None:
    with RunLogReader(log(10)) as reader:
        with pytest.raises(InputError, match="no stream 'stepz'"):
            select(reader, ["stepz"], [], None)
        with pytest.raises(InputError, match="has a field 'los'"):
            select(reader, ["steps"], ["los"], None)


def test_an_output_is_whole_or_not_there(tmp_path: Path) -> None:
    target = tmp_path / "out.csv"
    with pytest.raises(RuntimeError), new_output(target, force=False) as path:
        path.write_text("half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with new_output(target, force=False) as path:
        path.write_text("whole")
    with pytest.raises(InputError, match="exists already"), new_output(target, force=False):
        pass
    with new_output(target, force=True) as path:
        path.write_text("new")
    assert target.read_text() == "new"


def test_frames_of_a_wandb_file_cross_blocks_and_may_be_cut_off(tmp_path: Path) -> None:
    """Records framed here as LevelDB's log format says: checksum, length, kind; never across a block of 32 KiB."""
    records = [b"a" * 10, b"b" * 40_000, b"", b"c" * 32_700, b"d" * 100]
    data = bytearray(b":W&B\x00\x00\x00")
    for record in records:
        rest, first = record, True
        while True:
            left = 32_768 - len(data) % 32_768
            if left < 7:
                data += bytes(left)
                left = 32_768
            part, rest = rest[: left - 7], rest[left - 7 :]
            kind = {(True, True): 1, (True, False): 2, (False, False): 3, (False, True): 4}[first, not rest]
            data += bytes(4) + len(part).to_bytes(2, "little") + bytes([kind]) + part
            first = False
            if not rest:
                break
    path = tmp_path / "run.wandb"
    path.write_bytes(data)
    assert list(read_frames(path)) == records
    path.write_bytes(data[:-50])
    assert list(read_frames(path)) == records[:-1]
