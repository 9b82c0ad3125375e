"""Textual's caches do not grow for days."""

from __future__ import annotations

import time
from pathlib import Path
from unittest.mock import Mock

import pytest
from rich.cells import cached_cell_len
from rich.color import Color
from rich.style import Style
from textual._border import get_box
from textual.geometry import Region
from textual.strip import Strip

from tests.tui.driving import screen
from thermotui.tui.app import QUIET_SECONDS
from thermotui.tui.caches import MAXIMUM_ENTRIES, bounded_caches, empty_caches, empty_large_widget_caches
from thermotui.tui.charts import frame


def test_only_a_cache_that_has_grown_large_is_emptied() -> None:
    Region.union.cache_clear()
    Region(0, 0, 3, 3).union(Region(4, 4, 1, 1))
    empty_caches()
    assert Region.union.cache_info().currsize == 1
    for x in range(MAXIMUM_ENTRIES):
        Region(x, 7, 3, 3).union(Region(4, 4, 1, 1))
    empty_caches()
    assert Region.union.cache_info().currsize == 0


def test_caches_of_functions_methods_and_classes_are_found() -> None:
    found = list(bounded_caches())
    for cache in (cached_cell_len, get_box, Region.union, Color.parse, Strip.blank, Style._add, frame._codes):
        assert getattr(cache, "__func__", cache) in found
    assert all(cache.cache_info().maxsize for cache in found)


async def test_all_are_emptied_once_the_terminal_has_another_size(finished: Path) -> None:
    async with screen([finished]) as pilot:
        app = pilot.app
        for resized in (True, False):
            app._touched, app._resized = time.monotonic() - QUIET_SECONDS - 1, False
            if resized:
                await pilot.resize_terminal(110, 40)
                await pilot.pause()
                app._touched = time.monotonic() - QUIET_SECONDS - 1
            Region(0, 0, 3, 3).union(Region(4, 4, 1, 1))
            app._tidy()
            assert (Region.union.cache_info().currsize == 0) == resized


async def test_the_screen_tidies_up_once_after_the_last_key_and_not_while_keys_come(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with screen([finished]) as pilot:
        given_back = Mock()
        monkeypatch.setattr("thermotui.tui.app.give_back_free_pages", given_back)
        for touched, times in ((time.monotonic(), 0), (time.monotonic() - QUIET_SECONDS - 1, 1), (None, 1)):
            pilot.app._touched = touched
            pilot.app._tidy()
            assert given_back.call_count == times
            assert (pilot.app._touched is None) == (times == 1)


async def test_widgets_are_not_remembered_under_changes_long_past(finished: Path) -> None:
    async with screen([finished]) as pilot:
        main = pilot.app.main
        for _ in range(150):
            main.query_one("#header")
            main._nodes.updated()
        assert len(main._query_one_cache) > 128
        header = main.query_one("#header")
        empty_large_widget_caches(main)
        assert len(main._query_one_cache) == 0
        assert main.query_one("#header") is header


async def test_boxes_of_former_sizes_are_not_kept(finished: Path) -> None:
    async with screen([finished], size=(120, 36)) as pilot:
        for width in (100, 110, 130, 140, 150, 160):
            await pilot.resize_terminal(width, 40)
            await pilot.pause()
        kept = [len(widget._box_model_cache) for widget in pilot.app.main.walk_children()]
        assert max(kept) > 4
        empty_large_widget_caches(pilot.app.main)
        kept = [len(widget._box_model_cache) for widget in pilot.app.main.walk_children()]
        assert max(kept) <= 4
