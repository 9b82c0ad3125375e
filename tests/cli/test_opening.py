"""The short way to the screen asks for the same as the parser does."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.tui import scripted
from tests.tui.driving import screen
from thermotui.cli import opening, watch
from thermotui.cli.opening import Request, plain_request
from thermotui.tui.app import WatchApp


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


def test_what_was_not_delivered_is_said_on_the_screen_and_nobody_waits_for_it(tmp_path: Path) -> None:
    scripted.scripted_log(tmp_path / "run.h5", rows=10)

    async def drive() -> WatchApp:
        async with screen([tmp_path]) as pilot:
            assert isinstance(pilot.app, WatchApp)
            sender = threading.Thread(target=opening._notifier(pilot.app), args=("[not] delivered",), daemon=True)
            sender.start()
            # The screen's own thread does nothing meanwhile.
            sender.join(5)
            assert not sender.is_alive()
            await pilot.pause()
            assert [note.message for note in pilot.app._notifications] == ["[not] delivered"]
            return pilot.app

    left = asyncio.run(drive())
    opening._notifier(left)("after the screen was left")
    # Between the question whether it runs and the post, its event loop may close.
    left._running, left._closing, left._closed = True, False, False
    left._loop = asyncio.new_event_loop()
    left._loop.close()
    with ThreadPoolExecutor() as elsewhere:
        elsewhere.submit(opening._notifier(left), "as the screen is left").result()
