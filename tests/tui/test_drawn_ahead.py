"""Pictures drawn before a key asks for them: the same as those drawn after it, and no others."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from textual.pilot import Pilot

from tests.tui import scripted
from tests.tui.driving import main_screen, press, screen, settle
from thermotui.tui.charts.frame import Frame
from thermotui.tui.charts.layers import LayerRows
from thermotui.tui.charts.linked import FRAMES_AHEAD, LinkedWidget, draw_ahead
from thermotui.tui.made import MadeOnce


@contextmanager
def counting(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """How each frame came about: "ahead" or "drawn". One drawn ahead must be what would have been drawn."""
    ways: list[str] = []
    take = LinkedWidget.take_ahead

    def checked(widget: LinkedWidget) -> Frame | None:
        before = widget.drawing()
        frame = take(widget)
        if frame is not None:
            after = widget.drawing()
            widget.restore(before)
            (fresh,) = type(widget).draw_together([widget])
            assert fresh.same(frame) and widget.drawing() == after
        if widget.id != "autocorrelation":  # whose axis is not that of the steps
            ways.append("drawn" if frame is None else "ahead")
        return frame

    with monkeypatch.context() as patched:
        patched.setattr(LinkedWidget, "take_ahead", checked)
        yield ways


async def drawn_ahead(pilot: Pilot[None]) -> None:
    """Wait until all is drawn that the next key may show."""
    main = main_screen(pilot)
    for _ in range(1000):
        await pilot.pause(0.02)
        if main._answers.ahead and not (main._looking_ahead or main._pictures._left or main._drawing_ahead):
            return
    raise AssertionError("nothing is drawn ahead")


@pytest.mark.parametrize("view", ["2", "3"], ids=["dashboard", "layers"])
async def test_after_a_pause_every_move_shows_what_was_drawn_ahead(
    finished: Path, view: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with screen([finished], size=(160, 48)) as pilot:
        await press(pilot, view, "plus", "l")
        for key in ("l", "plus", "h", "minus", "minus"):
            await drawn_ahead(pilot)
            with counting(monkeypatch) as ways:
                await pilot.press(key)
            assert ways and set(ways) == {"ahead"}, key


@pytest.mark.parametrize("view", ["2", "3"], ids=["dashboard", "layers"])
@pytest.mark.parametrize("seed", range(3))
async def test_whatever_is_pressed_a_picture_drawn_ahead_is_the_one_to_show(
    finished: Path, view: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(seed)
    others = ["left", "right", "x", "m", "e", "g", "0", "f", "j", "[", "]", "v", "tab", "K", "J"]
    async with screen([finished], size=(120, 36)) as pilot:
        await press(pilot, view, "plus", "l")
        with counting(monkeypatch) as ways:
            for _ in range(25):
                if chance.random() < 0.6:
                    await pilot.pause(chance.choice((0.0, 0.02, 0.1)))
                keys = ["plus", "minus", "h", "l"] * 3 + others
                await pilot.press(chance.choice(keys))
                if chance.random() < 0.1:
                    await pilot.resize_terminal(chance.choice((100, 120)), chance.choice((30, 36)))
        assert "ahead" in ways


async def test_a_run_that_goes_on_is_drawn_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.h5"
    writer = scripted.RunLogWriter.create(path, scripted.header("run"))
    scripted.write_rows(writer, 0, 1000)
    writer.flush()
    async with screen([path], size=(160, 48)) as pilot:
        await press(pilot, "plus", "l")
        await drawn_ahead(pilot)
        with counting(monkeypatch) as ways:
            scripted.write_rows(writer, 1000, 1010)
            writer.flush()
            for _ in range(500):
                await pilot.pause(0.02)
                if main_screen(pilot).stage.snapshots[0].summary.step >= 1009:
                    break
            await settle(pilot)
            assert ways and set(ways) == {"drawn"}
            await pilot.press("h")
        for widget in main_screen(pilot).stage.view.walk_children(LinkedWidget):
            assert len(widget._ahead) <= FRAMES_AHEAD
    writer.close()


async def test_drawing_ahead_shows_and_changes_nothing(finished: Path) -> None:
    async with screen([finished], size=(160, 48)) as pilot:
        await press(pilot, "plus")
        await drawn_ahead(pilot)
        main = main_screen(pilot)
        view = main.stage.view
        widgets = [widget for widget in view.walk_children(LinkedWidget) if widget.drawable]
        before = [(widget.drawing(), widget.shown_frame) for widget in widgets], main.steps.x_range
        steps = (10.0, 20.0)
        draw_ahead([(widget, widget.data) for widget in widgets], main.steps, steps)
        assert ([(widget.drawing(), widget.shown_frame) for widget in widgets], main.steps.x_range) == before
        with main.steps.supposed((10.0, 21.0)):
            assert all(widget.take_ahead() is None for widget in widgets), "other steps"
        draw_ahead([(widget, widget.data) for widget in widgets], main.steps, steps)
        with main.steps.supposed(steps):
            assert all(widget.take_ahead() is not None for widget in widgets)
            assert not any(widget._ahead for widget in widgets), "what was drawn for other keys is given up"


async def test_nothing_is_drawn_ahead_for_a_view_that_is_left(finished: Path) -> None:
    async with screen([finished], size=(160, 48)) as pilot:
        await press(pilot, "plus")
        main = main_screen(pilot)
        main._pictures.expect({main._answers.query: None})
        await main.action_view("balance")
        assert not main._pictures._left


async def test_few_pictures_are_kept(finished: Path) -> None:
    async with screen([finished], size=(160, 48)) as pilot:
        await press(pilot, "plus")
        main = main_screen(pilot)
        rows = main.stage.view.query_one(LayerRows)
        for first in range(3 * FRAMES_AHEAD):
            draw_ahead([(rows, rows.data)], main.steps, (float(first), first + 100.0))
        assert len(rows._ahead) == FRAMES_AHEAD
        with main.steps.supposed((first, first + 100.0)):
            assert rows.take_ahead() is not None, "the last ones"


async def test_what_is_made_of_a_snapshot_is_made_once(finished: Path) -> None:
    async with screen([finished], size=(160, 48)) as pilot:
        (snapshot,) = main_screen(pilot).stage.snapshots
        made: list[str] = []
        once = MadeOnce(lambda _, word: made.append(word))
        for word in ("a", "b", "a", "b"):
            once.of(snapshot, word)
        assert made == ["a", "b"]
        for word in map(str, range(FRAMES_AHEAD)):
            once.of(snapshot, word)
        once.of(snapshot, "a")
        assert made[-1] == "a", "of the last few alone"
        once.clear()
        once.of(snapshot, "a")
        assert made[-2:] == ["a", "a"]
