"""The short way to the screen asks for the same as the parser does."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from thermotui.cli import opening, watch
from thermotui.cli.opening import Request, plain_request


@pytest.mark.parametrize("words", [[], ["a.h5"], ["runs", "b.h5"], ["--fresh"], ["a.h5", "--fresh"]])
def test_plain_words_mean_what_the_parser_makes_of_them(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Request] = []
    monkeypatch.setattr(watch, "open_screen", asked.append)
    assert CliRunner().invoke(watch.app, words).exit_code == 0
    assert asked == [plain_request(words)]


@pytest.mark.parametrize(
    "words", [["--once"], ["-x"], ["a.h5", "--theme", "light"], ["--fresh=1"], ["--", "-a.h5"], [""]]
)
def test_other_words_are_left_to_the_parser(words: list[str]) -> None:
    assert plain_request(words) is None


def test_low_bandwidth_and_options_reach_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Request] = []
    monkeypatch.setattr(watch, "open_screen", asked.append)
    words = ["a.h5", "--interval", "0.5", "--theme", "light", "--ascii", "--low-bandwidth"]
    assert CliRunner().invoke(watch.app, words).exit_code == 0
    assert asked == [Request((Path("a.h5"),), 0.5, "light", True, True)]


def test_nothing_is_opened_without_a_log(tmp_path: Path) -> None:
    with pytest.raises(opening.InputError, match="no run log"):
        opening.open_screen(Request((tmp_path,)))
