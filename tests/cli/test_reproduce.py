"""`thermotui reproduce figure3` on the bundled digits: logs, pictures and panels, and its refusals."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from thermotui.cli.commands import app
from thermotui.errors import InputError
from thermotui.runlog.reader import RunLogReader

SMALL = ["--members", "2", "--steps", "120", "--batch-sizes", "2,8", "--data", "digits", "--forces", "3"]


def test_logs_pictures_and_panels(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    directory = tmp_path / "figure3"
    result = CliRunner().invoke(app, ["reproduce", "figure3", *SMALL, "--log", str(directory)])
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in directory.iterdir()) == ["b2.h5", "b8.h5", "figure3.png", "figure3.svg"]
    assert (directory / "figure3.png").read_bytes()[1:4] == b"PNG"
    for title in ("(a)", "(b) accuracy", "(c) noise variance", "(d) C(t, lag)"):
        assert title in result.stdout
    # Braille cells: the curves themselves.
    assert len(re.findall("[\u2801-\u28ff]", result.stdout)) > 100
    with RunLogReader(directory / "b2.h5") as log:
        assert log.state().state == "finished"

    again = CliRunner().invoke(app, ["reproduce", "figure3", *SMALL, "--log", str(directory), "--resume"])
    assert again.exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["figure9"], "figure3"),
        (["figure3", "--data", "cats"], "fashion-mnist"),
        (["figure3", "--device", "tpu"], "auto, cpu or cuda"),
        (["figure3", "--batch-sizes", "1,x"], "list of integers"),
        (["figure3", "--members", "1"], "at least 2"),
    ],
)
def test_bad_usage_is_one_sentence(arguments: list[str], words: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["reproduce", *arguments, "--log", str(tmp_path / "out")])
    assert isinstance(result.exception, InputError)
    assert words in str(result.exception)
    assert not (tmp_path / "out").exists()
