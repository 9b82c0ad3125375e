"""A strip that nobody shows any more is gone at once, without the collector of cycles."""

from __future__ import annotations

import gc
import tracemalloc
import weakref
from collections.abc import Iterator

import pytest
from rich.segment import Segment
from textual._styles_cache import StylesCache
from textual.color import Color
from textual.strip import Strip

from thermotui.tui.strips import free_strips


class Watched(Strip):
    """A strip that can be referred to weakly."""

    __slots__ = ("__weakref__",)


@pytest.fixture(autouse=True)
def _mended() -> Iterator[None]:
    free_strips()
    gc.disable()
    yield
    gc.enable()


def test_a_strip_that_is_only_cut_at_its_end_is_freed() -> None:
    strip = Watched([Segment("heat")], 4)
    assert list(strip.divide([4])) == [strip]
    assert [piece.text for piece in strip.divide([1, 4])] == ["h", "eat"]
    watched = weakref.ref(strip)
    del strip
    assert watched() is None


def test_the_strips_of_a_widget_that_was_removed_are_freed() -> None:
    strip = Watched([Segment("heat")], 4)
    strips = StylesCache()
    strips._cache[0] = strip
    inner, outer = strips.get_inner_outer(Color(10, 20, 30), Color(40, 50, 60, 0.5))
    assert (inner.background, outer.background) == (Color(25, 35, 45), Color(10, 20, 30))
    watched = weakref.ref(strip)
    del strip, strips
    assert watched() is None


def test_a_strip_remembers_its_last_pieces_and_no_more() -> None:
    strip = Strip([Segment("heat and work")], 13)
    assert strip.crop(0, 4).text == "heat"
    assert strip.crop(0, 4) is strip.crop(0, 4)
    first = strip.crop(0, 4)
    assert [strip.crop(0, end).text for end in range(5, 9)] == ["heat ", "heat a", "heat an", "heat and"]
    assert strip.crop(0, 8) is strip.crop(0, 8)
    assert strip.crop(0, 4) is not first


def test_a_strip_takes_less_than_half_of_what_it_takes_in_textual() -> None:
    segments = [Segment("heat")]
    tracemalloc.start()
    try:
        strips = [Strip(segments, 4) for _ in range(1000)]
        assert len(strips) == 1000
        assert tracemalloc.get_traced_memory()[0] / 1000 < 552
    finally:
        tracemalloc.stop()
