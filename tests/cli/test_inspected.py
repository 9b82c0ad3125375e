"""The short way to `inspect` does the same as the parser does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.tui import scripted
from thermotui.cli import inspect
from thermotui.cli.inspected import Request, plain_request


@pytest.mark.parametrize("words", [["a.h5"], ["--json", "a.h5"], ["a.h5", "--json"]])
def test_plain_words_mean_what_the_parser_makes_of_them(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Request] = []
    monkeypatch.setattr(inspect, "print_inspection", lambda file, *, as_json: asked.append(Request(file, as_json)))
    assert CliRunner().invoke(inspect.app, words).exit_code == 0
    assert asked == [plain_request(words)]


@pytest.mark.parametrize("words", [[], ["a.h5", "b.h5"], ["--help"], ["-x", "a.h5"], ["--", "-a.h5"], ["--json"], [""]])
def test_other_words_are_left_to_the_parser(words: list[str]) -> None:
    assert plain_request(words) is None


def test_a_plain_request_names_its_file() -> None:
    assert plain_request(["a.h5", "--json"]) == (Path("a.h5"), True)


def as_json(log: Path, stdout: int, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """`inspect --json` by a process of its own that keeps its output until there is enough, as one does in a pipe."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    command = [sys.executable, "-m", "thermotui", "inspect", "--json", str(log)]
    return subprocess.run(
        command, stdout=stdout, stderr=subprocess.PIPE, env=kept | environment, timeout=60, check=False
    )


def test_json_is_utf8_whatever_the_terminal_speaks(tmp_path: Path) -> None:
    log = scripted.scripted_log(tmp_path / "η.h5", rows=50)
    done = as_json(log, subprocess.PIPE, PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, b"")
    assert "η.h5" in done.stdout.decode("utf-8")
    assert json.loads(done.stdout)


def test_json_for_a_reader_that_has_gone_says_nothing(tmp_path: Path) -> None:
    log = scripted.scripted_log(tmp_path / "run.h5", rows=50)
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = as_json(log, writer)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")
