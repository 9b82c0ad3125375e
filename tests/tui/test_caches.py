"""Textual's caches do not grow for days."""

from __future__ import annotations

from textual.geometry import Region

from thermotui.tui.caches import CACHES, MAXIMUM_ENTRIES, empty_large_caches


def test_only_a_cache_that_has_grown_large_is_emptied() -> None:
    Region.union.cache_clear()
    Region(0, 0, 3, 3).union(Region(4, 4, 1, 1))
    empty_large_caches()
    assert Region.union.cache_info().currsize == 1
    for x in range(MAXIMUM_ENTRIES):
        Region(x, 7, 3, 3).union(Region(4, 4, 1, 1))
    empty_large_caches()
    assert Region.union.cache_info().currsize == 0


def test_each_has_room_for_more() -> None:
    assert all((cache.cache_info().maxsize or 0) > MAXIMUM_ENTRIES for cache in CACHES)
