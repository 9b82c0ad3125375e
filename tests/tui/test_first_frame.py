"""The first frame: laid out once, and with what was read before it was drawn."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.geometry import Size

from tests.tui.driving import DirectReading, text_of
from thermotui.analysis.snapshot import Query
from thermotui.tui.app import Settings, WatchApp
from thermotui.tui.mailbox import Mailbox
from thermotui.tui.poller import Poller
from thermotui.tui.session import Session

SIZES = ((40, 10), (59, 20), (60, 24), (99, 30), (100, 30), (139, 40), (140, 40), (240, 72))


class FirstFrame(WatchApp):
    """Keeps the text of its first frame."""

    first = ""

    def post_display_hook(self) -> None:
        if not self.first:
            self.first = "\n".join(strip.text for strip in self.screen._compositor.render_strips())


def prepared(reading: DirectReading, size: tuple[int, int], session: Session) -> FirstFrame:
    """The screen before it is shown, as the command opens it: the first tick is there, and the next one asked for."""
    poller = Poller(reading, 60.0, Mailbox())
    app = FirstFrame(poller, Settings(theme="dark", session=session))
    first = reading.ask(Query())
    assert first is not None
    poller.mailbox.put(first)
    app.prepare(first, Size(*size))
    return app


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("session", [Session(), Session(runs_shown=False), Session(hidden_panels=("loss", "alerts"))])
async def test_the_question_asked_before_is_the_one_that_the_screen_asks(
    finished: Path, size: tuple[int, int], session: Session
) -> None:
    reading = DirectReading([finished])
    app = prepared(reading, size, session)
    before = app.poller.query
    assert before.runs == (str(finished),) and before.fields
    async with app.run_test(size=size) as pilot:
        app.main.ask()
        await pilot.pause()
        assert app.poller.query == before
    reading.workspace.close()


@pytest.mark.parametrize("size", [(160, 48), (240, 72)])
async def test_curves_that_were_read_meanwhile_are_in_the_first_frame(finished: Path, size: tuple[int, int]) -> None:
    reading = DirectReading([finished])
    app = prepared(reading, size, Session())
    answer = reading.ask(app.poller.query)
    assert answer is not None and answer.snapshots
    app.poller.mailbox.put(answer)
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        lines = app.first.splitlines()
        assert "batch-10" in lines[0] and "dashboard" in lines[-1]
        assert any("⠀" < character <= "⣿" for character in app.first)
        later = [line.rstrip() for line in text_of(pilot).splitlines()]
        assert [line.rstrip() for line in lines] == later
    reading.workspace.close()


async def test_where_it_is_not_known_what_to_ask_the_screen_asks_once_it_is_there(finished: Path) -> None:
    reading = DirectReading([finished])
    app = prepared(reading, (80, 24), Session(view="balance"))
    assert app.poller.query == Query()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        assert app.poller.query.balance and app.poller.query.runs == (str(finished),)
    reading.workspace.close()
