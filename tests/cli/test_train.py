"""`thermotui train`: its help without torch, its sentences for bad options, its output."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import h5py
import pytest

from thermotui.runlog.reader import RunLogReader
from trainers.config import spelled
from trainers.families.registry import FAMILIES

SMALL = ["--steps", "30", "--ensemble", "2", "--device", "cpu", "--widths", "4", "--probe-size", "8"]


def thermotui(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "thermotui", *arguments], cwd=cwd, capture_output=True, text=True, timeout=120
    )


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path):
    """Runs a command in this process, in an empty directory: (status, standard output, standard error)."""
    from thermotui.cli.main import main

    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["thermotui", *arguments])
        with pytest.raises(SystemExit) as leaving:
            main()
        code = leaving.value.code
        said = capsys.readouterr()
        return (code if isinstance(code, int) else 0), said.out, said.err

    return call


def test_help_shows_common_and_family_options_without_torch() -> None:
    program = (
        "import sys\n"
        "from thermotui.cli.main import main\n"
        f"for name in {list(FAMILIES)}:\n"
        "    sys.argv = ['thermotui', 'train', name, '--help']\n"
        "    try: main()\n"
        "    except SystemExit: pass\n"
        "    print('end of help')\n"
        "assert 'torch' not in sys.modules and 'textual' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env={"COLUMNS": "200", "NO_COLOR": "1"}
    )
    assert done.returncode == 0, done.stderr
    helps = done.stdout.split("end of help")[:-1]
    for text, entry in zip(helps, FAMILIES.values(), strict=True):
        own = [spelled(field.name) for field in dataclasses.fields(entry.options)]
        for option in (*own, "--steps", "--batch-size", "--ensemble-varies", "--stop-on", "--log", "--resume"):
            assert option in text


def test_the_log_goes_where_it_is_told_and_is_named_on_standard_output(tmp_path: Path) -> None:
    done = thermotui("train", "softmax", *SMALL, "--log", "some/where.h5", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "some/where.h5\n"
    assert done.stderr.startswith("logging to some/where.h5\n")
    assert "finished: step 30" in done.stderr and "thermotui watch some/where.h5" in done.stderr
    assert "\x1b" not in done.stderr
    with RunLogReader(tmp_path / "some/where.h5") as reader:
        assert reader.state().state == "finished" and reader.length("steps") == 30


def test_without_a_name_the_log_gets_a_telling_one(in_process, tmp_path: Path) -> None:
    status, output, _ = in_process("train", "softmax", *SMALL, "--seed", "3")
    assert status == 0
    assert output.startswith("runs/softmax-b10-lr0.02-k2-s3-") and (tmp_path / output.strip()).exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "softmax", "--steps", "0"], "--steps 0"),
        (["train", "softmax", "--widths", "a"], "--widths a"),
        (["train", "softmax", "--stop-on", "boredom"], "--stop-on boredom"),
        (["train", "softmax", "--data", "mnist", "--data-dir", "nowhere"], "nowhere: has no train-images"),
        (["train", "softmax", "--no-replacement", "--batch-size", "5000"], "--batch-size 5000"),
        (["train", "softmax", "--log", "full/of/rubbish.h5"], "full/of/rubbish.h5 exists already"),
        (["train", "softmax", "--log", "full/of"], "full/of is a directory; name a file in it with --log"),
        (["train", "softmax", "--resume", "nothing.h5"], "nothing.h5"),
        (["train", "softmax", "--resume", "full/of/rubbish.h5"], "rubbish.h5"),
        (["train", "softmax", "--resume", "nothing.h5", "--batch-size", "3"], "leave out --batch-size"),
        (["train", "softmax", "--watch"], "--watch needs a terminal"),
        (["train", "gaussian", "--corrupt-labels", "1:9:0.5"], "family gaussian"),
        (["train", "gaussian", "--sigma", "-1"], "--sigma -1"),
    ],
)
def test_bad_input_is_one_sentence_and_nothing_is_written(
    arguments: list[str], words: str, in_process, tmp_path: Path
) -> None:
    rubbish = tmp_path / "full" / "of" / "rubbish.h5"
    rubbish.parent.mkdir(parents=True)
    rubbish.write_bytes(b"rubbish")
    status, output, said = in_process(*arguments)
    assert status == 2 and output == ""
    assert said.startswith("thermotui: ") and words in said and said.count("\n") == 1
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [rubbish] and rubbish.read_bytes() == b"rubbish"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "perceptron"], "perceptron"),
        (["train", "softmax", "--frobnicate"], "--frobnicate"),
        (["train", "softmax", "--steps", "many"], "--steps"),
        (["train", "softmax", "--optimizer", "lion"], "lion"),
    ],
)
def test_what_the_parser_refuses_has_status_2(arguments: list[str], words: str, in_process, tmp_path: Path) -> None:
    status, output, said = in_process(*arguments)
    assert status == 2 and output == "" and words in said
    assert not list(tmp_path.iterdir())


def test_resume_continues_and_may_extend(in_process) -> None:
    assert in_process("train", "softmax", *SMALL, "--log", "a.h5")[0] == 0
    status, _, said = in_process("train", "softmax", "--resume", "a.h5")
    assert status == 2 and "has done its 30 steps" in said
    with h5py.File("a.h5", "a") as log:
        log.attrs["steps"] = 90
    status, _, said = in_process("train", "softmax", "--resume", "a.h5", "--steps", "20")
    assert status == 2 and "has done 30 of its 90 steps; give --steps a number above 30" in said
    status, output, _ = in_process("train", "softmax", "--resume", "a.h5", "--steps", "40")
    assert (status, output) == (0, "a.h5\n")
    status, _, said = in_process("train", "gaussian", "--resume", "a.h5", "--steps", "50")
    assert status == 2 and "a run of the family softmax" in said
