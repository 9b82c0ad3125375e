"""A view that is left keeps nothing of the runs it showed, and comes back as it was."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from textual.events import Key
from textual.pilot import Pilot
from textual.widget import Widget

from tests.tui.driving import press, screen, settle, text_of
from thermotui.tui.charts.cells import CellWidget
from thermotui.tui.charts.layers import LayerSparklines
from thermotui.tui.made import MadeOnce
from thermotui.tui.stage import MAKERS
from thermotui.tui.widgets.alert_table import AlertTable
from thermotui.tui.widgets.layer_panel import LayerPanel
from thermotui.tui.widgets.table import Table

SAMPLES = Path(__file__).parents[2] / "sample_runs"


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A folder of three recorded runs."""
    for name in ("softmax-disturbed", "gaussian", "rbm"):
        shutil.copy(SAMPLES / f"{name}.h5", tmp_path / f"{name}.h5")
    return tmp_path


@pytest.mark.parametrize("name", MAKERS)
async def test_what_a_hidden_view_showed_can_be_freed(finished: Path, name: str) -> None:
    async with screen([finished], size=(160, 48)) as pilot:
        main = pilot.app.main
        await main.action_view(name)
        await press(pilot, "plus", "l", "0")
        await pilot.pause(0.3)
        left = main.stage.view
        before = pilot.app.export_screenshot(simplify=True)
        await main.action_view("log" if name != "log" else "dashboard")
        await pilot.pause(0.3)
        assert left.snapshots == ()
        for widget in left.walk_children(Widget, with_self=True):
            assert not any(part._made for part in vars(widget).values() if isinstance(part, MadeOnce))
        for widget in left.walk_children(Widget):
            assert not widget._styles_cache._cache
            if isinstance(widget, CellWidget):
                assert getattr(widget, "data", None) is None
                assert not getattr(widget, "_ahead", None)
        await main.action_view(name)
        await pilot.pause(0.3)
        assert pilot.app.export_screenshot(simplify=True) == before


async def drawn_anew(pilot: Pilot[None]) -> str:
    """What the screen shows once everything on it is drawn from the start."""
    view = pilot.app.main.stage.view
    for widget in view.walk_children(CellWidget):
        widget.redraw()
    await pilot.pause(0.1)
    for widget in view.walk_children(CellWidget):
        widget.forget_frame()
        widget.refresh()
    await pilot.pause(0.1)
    return text_of(pilot)


@pytest.mark.parametrize(
    "keys", ["13j1", "62j6", "62+6", "23g2", "32+3", "52+5", "2 f+f", "2 fgf"], ids=lambda keys: keys.replace(" ", "_")
)
async def test_what_changed_while_a_view_was_hidden_is_drawn_when_it_is_back(runs: Path, keys: str) -> None:
    async with screen([runs], size=(120, 36)) as pilot:
        for key in keys:
            await press(pilot, {"+": "plus", " ": "space"}.get(key, key))
        await pilot.pause(0.3)
        assert text_of(pilot) == await drawn_anew(pilot)


async def test_a_run_that_cannot_be_read_shows_no_alerts_of_the_one_before(
    runs: Path,
) -> None:
    (runs / "broken.h5").write_bytes(b"no log")
    async with screen([runs], size=(160, 48)) as pilot:
        main = pilot.app.main
        main.selected = str(runs / "softmax-disturbed.h5")
        await press(pilot, "2", "3")
        main.selected = str(runs / "broken.h5")
        await press(pilot, "2")
        await pilot.pause(0.3)
        assert main.stage.view.query_one(AlertTable).rows == ()
        assert main.stage.view.query_one(LayerPanel).query_one(LayerSparklines).data is None


async def test_keys_that_come_in_a_bunch_leave_the_log_view_where_they_led(finished: Path) -> None:
    async with screen([finished], size=(120, 36)) as pilot:
        main = pilot.app.main
        await press(pilot, "7", "down")
        view = main.stage.view
        app = pilot.app
        app.post_message(Key("down", None))
        app.post_message(Key("2", "2"))
        await settle(pilot)
        await press(pilot, "7")
        assert view.query_one("#streams", Table).cursor == view.stream


async def test_marked_runs_are_all_there_after_another_view_was_shown(runs: Path) -> None:
    async with screen([runs], size=(120, 36)) as pilot:
        main = pilot.app.main
        for run in main.runs:
            main.selected = run.path
            main.action_mark_run()
        await press(pilot, "6")
        assert len(main.stage.snapshots) == len(main.runs)
        await press(pilot, "2", "plus", "0", "6")
        await pilot.pause(0.3)
        assert len(main.stage.snapshots) == len(main.runs)


async def test_a_view_opened_while_the_curves_are_stopped_gets_its_figures(finished: Path) -> None:
    async with screen([finished], size=(160, 48)) as pilot:
        await press(pilot, "2", "space", "4")
        await pilot.pause(0.3)
        assert pilot.app.main.stage.view.query_one("#figures", Table).rows


async def test_charts_keep_no_arrangement_of_the_widgets_that_were_in_sight_with_them(finished: Path) -> None:
    async with screen([finished], size=(160, 48)) as pilot:
        await pilot.pause(0.3)
        for chart in pilot.app.main.stage.view.charts():
            if chart.display:
                assert chart._place.offset() is not None
            # It holds what lay over it, such as a notice long gone.
            assert not any(isinstance(kept, dict) for kept in vars(chart._place).values())
