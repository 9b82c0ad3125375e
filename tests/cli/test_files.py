"""`export`, `import`, `repair`, `replay` at the command line: what goes where, and how bad input is said."""

from __future__ import annotations

import csv
import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from thermotui.runlog.reader import RunLogReader
from thermotui.runlog.schema import STREAMS, Header, Layer
from thermotui.runlog.writer import RunLogWriter


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A finished run of 200 steps at 1,000 steps a second, two layers measured every tenth."""
    path = tmp_path / "run.h5"
    with RunLogWriter.create(path, Header("run", 1e9, "softmax", (Layer("a", 1), Layer("b", 2)))) as writer:
        for step in range(200):
            writer.append("steps", step=step, time=1e9 + step / 1000, loss=1 / (1 + step))
            if step % 10 == 0:
                writer.append("reservoir", step=step, time=1e9 + step / 1000, temperature=np.float32([step, 1]))
    return path


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path):
    """Runs a command in this process, in a directory of its own: (status, standard output, standard error)."""
    from thermotui.cli.main import main

    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "argv", ["thermotui", *arguments])
        with pytest.raises(SystemExit) as leaving:
            main()
        said = capsys.readouterr()
        return leaving.value.code or 0, said.out, said.err

    return run


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A directory that nobody may enter, root neither, whom permissions do not bind."""
    (tmp_path / "closed").mkdir()
    stat = os.stat

    def refuse(path, **options):
        if not isinstance(path, int) and "closed" in Path(os.fsdecode(path)).parts[:-1]:
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return stat(path, **options)

    monkeypatch.setattr(os, "stat", refuse)
    return tmp_path / "closed"


def test_csv_goes_to_standard_output(call, log: Path) -> None:
    status, out, err = call("export", "run.h5", "--stream", "reservoir", "--field", "temperature", "--steps", "50:80")
    assert (status, err) == (0, "")
    assert out.splitlines() == [
        "step,temperature[a],temperature[b]",
        "50,50.0,1.0",
        "60,60.0,1.0",
        "70,70.0,1.0",
        "80,80.0,1.0",
    ]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_several_streams_make_a_directory_and_never_one_named_like_a_file(
    call, log: Path, tmp_path: Path, kind: str
) -> None:
    assert call("export", "run.h5", "-o", "tables", "--format", kind)[:2] == (0, "tables\n")
    assert (tmp_path / "tables" / f"steps.{kind}").is_file()
    status, _, err = call("export", "run.h5", "-o", f"out.{kind}")
    assert status == 2
    assert "holds one stream" in err
    assert f"--output out --format {kind}" in " ".join(err.split())
    assert not (tmp_path / f"out.{kind}").exists()
    assert call("export", "run.h5", "-o", f"out.{kind}", "--stream", "steps")[0] == 0
    assert (tmp_path / f"out.{kind}").is_file()


def test_a_directory_of_csv_files_is_what_an_output_without_an_ending_gets(call, log: Path, tmp_path: Path) -> None:
    assert call("export", "run.h5", "-o", "tables", "--stream", "steps")[0] == 0
    assert [path.name for path in (tmp_path / "tables").iterdir()] == ["steps.csv"]


def test_npz_and_events(call, log: Path, tmp_path: Path) -> None:
    assert call("export", "run.h5", "-o", "out.npz")[0] == 0
    assert np.load("out.npz")["reservoir.temperature"].shape == (20, 2)
    assert call("export", "run.h5", "-o", "events", "--format", "tensorboard", "--stream", "steps")[0] == 0
    assert call("import", "events", "--log", "back.h5")[0] == 0
    with RunLogReader(tmp_path / "back.h5") as back, RunLogReader(log) as first:
        np.testing.assert_array_equal(back.read("steps")["loss"], first.read("steps")["loss"])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["export", "none.h5"], "none.h5: no such file"),
        (["export", "run.h5", "--stream", "stepz"], "there is no stream 'stepz'"),
        (["export", "run.h5", "--field", "los"], "none of the chosen streams has a field 'los'"),
        (["export", "run.h5", "--steps", "9-1"], "not of the form FIRST:LAST"),
        (["export", "run.h5", "--steps", "20:10"], "ends before it begins; the first step comes first: 10:20"),
        (["plot", "run.h5", "--steps", "5:5"], "is a single step; give a range of 2 steps or more"),
        (["export", "run.h5", "-o", "out.xls"], "its ending is no format"),
        (["export", "run.h5", "-o", "run.h5", "--format", "csv"], "exists already"),
        (["export", "run.h5", "--format", "npz"], "standard output takes one stream as CSV"),
        (["import", "run.h5"], "not a CSV, JSONL, TensorBoard"),
        (["import", "none.csv"], "no such file"),
        (["import", "run.h5", "--column", "loss"], "not of the form FIELD=NAME"),
        (["repair", "none.h5"], "no such file"),
        (["repair", "run.h5", "--in-place", "-o", "x.h5"], "exclude each other"),
        (["replay", "run.h5", "--speed", "0"], "must be above 0"),
        (["replay", "run.h5", "--log", "run.h5", "--speed", "1e9"], "exists already"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(call, log: Path, tmp_path: Path, arguments, sentence) -> None:
    before = log.read_bytes()
    status, out, err = call(*arguments)
    assert (status, out) == (2, "")
    assert sentence in " ".join(err.split())
    assert "Traceback" not in err
    assert log.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["run.h5"]


READ = "cannot be read (Permission denied)"
WRITTEN = "cannot be written (Permission denied); choose another place"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["scan", "closed/run.h5"], READ),
        (["scan", "closed/x.csv"], READ),
        (["watch", "--once", "closed/run.h5"], READ),
        (["import", "closed/x.csv"], READ),
        (["inspect", "closed/run.h5"], READ),
        (["train", "softmax", "--steps", "3", "--device", "cpu", "--log", "closed/x.h5"], WRITTEN),
        (["demo", "--log", "closed/x.h5"], WRITTEN),
        (["export", "run.h5", "-o", "closed/x.npz"], WRITTEN),
        (["repair", "run.h5", "-o", "closed/x.h5"], WRITTEN),
        (["reproduce", "figure3", "--data", "digits", "--log", "closed/f3", "--batch-sizes", "1"], WRITTEN),
    ],
)
def test_below_a_directory_that_one_may_not_enter(
    call, log: Path, closed: Path, arguments: list[str], sentence: str
) -> None:
    named = next(word for word in arguments if word.startswith("closed/")).replace("f3", "f3/b1.h5")
    assert call(*arguments) == (2, "", f"thermotui: {named}: {sentence}\n")
    assert not list(closed.iterdir())


@pytest.mark.parametrize(
    "arguments",
    [
        *(["scan", name] for name in ("x.csv", "x.jsonl", "x.h5")),
        *(["import", name] for name in ("x.csv", "x.jsonl")),
        *([command, "x.h5"] for command in ("repair", "export", "replay", "plot", "inspect")),
        ["watch", "--once", "x.h5"],
        ["compare", "x.h5", "x.h5"],
        ["train", "softmax", "--resume", "x.h5"],
    ],
)
def test_a_file_that_one_may_not_read(
    call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: list[str]
) -> None:
    name = arguments[-1]
    (tmp_path / name).touch()

    def refuse(path, *mode, **options):
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr(Path, "open", refuse)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert call(*arguments) == (2, "", f"thermotui: {name}: {READ}\n")


def test_import_of_a_csv_says_what_it_took(call, tmp_path: Path) -> None:
    with (tmp_path / "other.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["iter", "nll", "speed"], [1, 0.5, 7], [2, 0.25, 8]])
    status, out, err = call("import", "other.csv", "--column", "loss=nll")
    assert (status, out) == (0, "other.csv.h5 (2 steps from CSV)\n")
    assert "loss: nll" in err
    assert "left out: speed" in err
    assert "no thermodynamic quantity was measured" in err


def test_import_leaves_out_a_column_that_nobody_wants(call, tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("step,loss,acc\n0,1.0,87%\n1,0.9,NA\n")
    status, _, err = call("import", "other.csv")
    assert status == 2 and "or leave it out with --column accuracy=" in err
    status, out, err = call("import", "other.csv", "--column", "accuracy=")
    assert (status, out) == (0, "other.csv.h5 (2 steps from CSV)\n")
    assert "left out: acc" in err


def test_repair_reports_and_writes_beside(call, log: Path, tmp_path: Path) -> None:
    log.write_bytes(log.read_bytes()[:-1000])
    cut = log.read_bytes()
    status, out, _ = call("repair", "run.h5", "--json")
    assert status == 0
    report = json.loads(out)
    assert report["sound"] is False
    assert report["problems"] == ["cut short by 1000 bytes"]
    assert log.read_bytes() == cut
    with RunLogReader(tmp_path / "run.repaired.h5") as reader:
        assert reader.header.run_id == "run"
    assert call("repair", "run.h5", "--in-place")[0] == 0
    assert call("inspect", "run.h5")[0] == 0


def test_signs_of_life_are_no_rows_that_repair_saves(call, log: Path) -> None:
    with h5py.File(log) as file:
        tables = [file[name].id for name in STREAMS if name != "heartbeat" and len(file[name])]
        chunks = [table.get_chunk_info(at) for table in tables for at in range(table.get_num_chunks())]
        assert len(file["heartbeat"])
    content = bytearray(log.read_bytes())
    for chunk in chunks:
        content[chunk.byte_offset : chunk.byte_offset + chunk.size] = b"\xff" * chunk.size
    log.write_bytes(content)
    status, out, err = call("repair", "run.h5", "--in-place")
    assert (status, out) == (2, "") and "nothing but its header could be saved" in err
    assert log.read_bytes() == content


@pytest.mark.parametrize("where", [["-o", "saved.h5"], ["--in-place"]])
def test_repair_writes_no_log_of_which_no_row_is_left(call, log: Path, tmp_path: Path, where: list[str]) -> None:
    with h5py.File(log) as file:
        first = min(
            file[name].id.get_chunk_info(0).byte_offset for name in STREAMS if len(file[name])
        )  # fmt: skip
    log.write_bytes(log.read_bytes()[:first])
    cut = log.read_bytes()
    status, out, err = call("repair", "run.h5", *where)
    assert (status, out) == (2, "")
    assert err.startswith("thermotui: run.h5: nothing but its header could be saved, none of its ")
    assert log.read_bytes() == cut
    assert list(tmp_path.iterdir()) == [log]


def test_a_log_without_rows_is_told_to_have_none(call, tmp_path: Path) -> None:
    with RunLogWriter.create(tmp_path / "none.h5", Header("run", 1e9, "softmax", ())):
        pass
    assert "none: step 0, no rows, no alerts" in call("watch", "--once", "none.h5")[1]


def test_replay_writes_a_log_that_is_watched(call, log: Path, tmp_path: Path) -> None:
    status, out, err = call("replay", "run.h5", "--speed", "2")
    assert (status, out) == (0, "run.replay.h5\n")
    assert "thermotui watch run.replay.h5" in err
    with RunLogReader(tmp_path / "run.replay.h5") as reader:
        assert reader.length("steps") == 200
        assert reader.length("reservoir") == 20


def test_replay_names_no_log_to_watch_before_there_is_one(call, log: Path) -> None:
    status, _, err = call("replay", "run.h5", "--log", "run.h5")
    assert (status, err) == (2, "thermotui: run.h5: exists already; choose another name\n")


@pytest.mark.parametrize("installed", [True, False])
def test_import_of_an_empty_directory_asks_for_no_extra(
    call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installed: bool
) -> None:
    if not installed:
        monkeypatch.setitem(sys.modules, "tensorboard", None)
    (tmp_path / "none").mkdir()
    sentence = "thermotui: none: neither TensorBoard events (*tfevents*) nor a W&B run (*.wandb) is in it\n"
    assert call("import", "none") == (2, "", sentence)


def test_none_of_them_imports_torch_or_the_screen(log: Path) -> None:
    program = (
        "import sys; from thermotui.cli.main import main; sys.argv = ['thermotui', *{}]\n"
        "try: main()\n"
        "finally: print(sorted({{'torch', 'textual', 'pyarrow', 'tensorboard'}} & set(sys.modules)), file=sys.stderr)"
    )
    for arguments in (["export", str(log)], ["repair", str(log), "--in-place"]):
        result = subprocess.run(
            [sys.executable, "-c", program.format(arguments)], capture_output=True, text=True, timeout=60, check=True
        )
        assert result.stderr.splitlines()[-1] == "[]"
