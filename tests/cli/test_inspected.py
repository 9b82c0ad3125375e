"""The short way to `inspect` does the same as the parser does."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

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
