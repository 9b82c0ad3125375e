"""Pictures drawn before a key asks for them: the same as those drawn after it, and no others."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from textual.events import Key
from textual.pilot import Pilot
from textual.widget import Widget

from tests.tui import scripted
from tests.tui.driving import main_screen, press, screen, settle, until
from thermotui.tui import app
from thermotui.tui.charts.frame import Frame
from thermotui.tui.charts.layers import LayerRows
from thermotui.tui.charts.linked import FRAMES_AHEAD, LinkedWidget, draw_ahead
from thermotui.tui.charts.model import ChartData
from thermotui.tui.made import MadeOnce
from thermotui.tui.views.view import View

IN_EACH_VIEW = pytest.mark.parametrize("view", ["2", "3"], ids=["dashboard", "layers"])
"""Of those that keys move along the steps, by its key."""


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
    await until(
        pilot,
        lambda: main._answers.ahead and not (main._looking_ahead or main._pictures._left or main._drawing_ahead),
        "all drawn ahead",
    )


@IN_EACH_VIEW
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


@IN_EACH_VIEW
@pytest.mark.parametrize("seed", range(3))
async def test_whatever_is_pressed_a_picture_drawn_ahead_is_the_one_to_show(
    finished: Path, view: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(seed)
    others = [*"xmeg0fj[]vKJLwFiu", "tab", "comma", "full_stop"]
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
            await until(pilot, lambda: main_screen(pilot).stage.snapshots[0].summary.step >= 1009)
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


def kept_ahead(view: View) -> list[object]:
    """All that a view and its widgets hold of what was made ahead."""
    kept: list[object] = []
    for widget in view.walk_children(Widget, with_self=True):
        kept += [part for part in vars(widget).values() if isinstance(part, MadeOnce) and part._made]
        kept += [widget] * bool(getattr(widget, "_ahead", None))
    return kept


@pytest.mark.parametrize("delay", [0.0, 0.015, 0.03, 0.05])
async def test_nothing_is_drawn_ahead_for_a_view_that_is_left(finished: Path, delay: float) -> None:
    async with screen([finished], size=(160, 48)) as pilot:
        await press(pilot, "plus")
        await drawn_ahead(pilot)
        left = main_screen(pilot).stage.view
        # A pilot that presses keys would wait until all is drawn.
        pilot.app.post_message(Key("l", "l"))
        await asyncio.sleep(delay)
        pilot.app.post_message(Key("3", "3"))
        await settle(pilot)
        await drawn_ahead(pilot)
        assert main_screen(pilot).stage.view is not left and not kept_ahead(left)


@pytest.mark.parametrize("keys", ["2", "3", "2f"])
async def test_nothing_is_kept_of_a_run_that_is_left(finished: Path, tmp_path: Path, keys: str) -> None:
    path = tmp_path / "bare.h5"
    with scripted.RunLogWriter.create(path, scripted.header("bare")) as writer:
        for step in range(100):
            writer.append("steps", step=step, time=scripted.CREATED + step, loss=1.0)
    async with screen([finished, path], size=(160, 48)) as pilot:
        main = main_screen(pilot)
        main.selected = str(finished)
        await press(pilot, keys[0], "plus", "l")
        await drawn_ahead(pilot)
        assert kept_ahead(main.stage.view)
        await press(pilot, *keys[1:])
        main.selected = str(path)
        await settle(pilot)
        for part in kept_ahead(main.stage.view):
            if isinstance(part, MadeOnce):
                assert {asked[0].path for asked in part._made} == {str(path)}
            else:
                assert isinstance(part, LinkedWidget) and part.drawable
                data = {made_of[0] for made_of in part._ahead}
                assert all(each.x_range == (0.0, 99.0) for each in data if isinstance(each, ChartData))


async def test_of_other_data_nothing_was_drawn_ahead(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with screen([finished], size=(160, 48)) as pilot:
        await press(pilot, "plus", "l")
        await drawn_ahead(pilot)
        # The curves are stopped: a key moves what is shown already, over which nothing was drawn ahead.
        await pilot.press("space")
        with counting(monkeypatch) as ways:
            await pilot.press("plus")
        assert ways and set(ways) == {"drawn"}


@pytest.mark.parametrize("changed", ["_axis", "_x_range", "_y_range"])
async def test_after_another_frame_nothing_was_drawn_ahead(finished: Path, changed: str) -> None:
    async with screen([finished], size=(160, 48)) as pilot:
        await press(pilot, "plus")
        main = main_screen(pilot)
        chart = main.chart()
        assert chart is not None and chart.shown_axis is not None
        await drawn_ahead(pilot)
        draw_ahead([(chart, chart.data)], main.steps, (10.0, 200.0))
        other = {"_axis": chart.shown_axis._replace(high=1e9), "_x_range": (0.0, 1.0), "_y_range": (0.0, 1.0)}
        setattr(chart, changed, other[changed])
        with main.steps.supposed((10.0, 200.0)):
            assert chart.take_ahead() is None


@IN_EACH_VIEW
async def test_nothing_is_kept_once_nobody_presses_keys(
    finished: Path, view: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with screen([finished], size=(160, 48)) as pilot:
        await press(pilot, view, "plus", "l")
        await drawn_ahead(pilot)
        shown = main_screen(pilot).stage.view
        assert kept_ahead(shown)
        pilot.app._tidy()
        assert kept_ahead(shown), "a key was just pressed"
        monkeypatch.setattr(app, "QUIET_SECONDS", 0.0)
        pilot.app._tidy()
        assert not kept_ahead(shown)
        await pilot.press("l")


async def test_an_error_while_drawing_ahead_changes_nothing(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with screen([finished], size=(160, 48)) as pilot:
        await press(pilot, "plus")
        await drawn_ahead(pilot)
        main = main_screen(pilot)
        charts = [chart for chart in main.stage.view.charts() if chart.drawable]
        before = [chart.drawing() for chart in charts], main.steps.x_range

        def failing(*_: object) -> None:
            raise ArithmeticError

        with monkeypatch.context() as patched:
            patched.setattr("thermotui.tui.charts.drawn_chart.draw_all", failing)
            with pytest.raises(ArithmeticError):
                draw_ahead([(chart, None if index else chart.data) for index, chart in enumerate(charts)],
                           main.steps, (10.0, 20.0))  # fmt: skip
        assert ([chart.drawing() for chart in charts], main.steps.x_range) == before


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
