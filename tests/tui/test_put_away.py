"""A view that is left keeps nothing of the runs it showed, and comes back as it was."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.widget import Widget

from tests.tui.driving import screen
from thermotui.tui.charts.cells import CellWidget
from thermotui.tui.stage import MAKERS


@pytest.mark.parametrize("name", MAKERS)
async def test_what_a_hidden_view_showed_can_be_freed(finished: Path, name: str) -> None:
    async with screen([finished], size=(160, 48)) as pilot:
        main = pilot.app.main
        await main.action_view(name)
        await pilot.pause(0.3)
        left = main.stage.view
        before = pilot.app.export_screenshot(simplify=True)
        await main.action_view("log" if name != "log" else "dashboard")
        await pilot.pause(0.3)
        assert left.snapshots == ()
        for widget in left.walk_children(Widget):
            assert not widget._styles_cache._cache
            if isinstance(widget, CellWidget):
                assert getattr(widget, "data", None) is None
        await main.action_view(name)
        await pilot.pause(0.3)
        assert pilot.app.export_screenshot(simplify=True) == before


async def test_charts_keep_no_arrangement_of_the_widgets_that_were_in_sight_with_them(finished: Path) -> None:
    async with screen([finished], size=(160, 48)) as pilot:
        await pilot.pause(0.3)
        for chart in pilot.app.main.stage.view.charts():
            if chart.display:
                assert chart._place.offset() is not None
            # It holds what lay over it, such as a notice long gone.
            assert not any(isinstance(kept, dict) for kept in vars(chart._place).values())
