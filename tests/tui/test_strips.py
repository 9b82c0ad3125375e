"""A strip that nobody shows any more is gone at once, without the collector of cycles."""

from __future__ import annotations

import gc
import weakref

from rich.segment import Segment
from textual.strip import Strip

from thermotui.tui.strips import free_strips


class Watched(Strip):
    """A strip that can be referred to weakly."""

    __slots__ = ("__weakref__",)


def test_a_strip_that_is_only_cut_at_its_end_is_freed() -> None:
    free_strips()
    gc.disable()
    try:
        strip = Watched([Segment("heat")], 4)
        assert list(strip.divide([4])) == [strip]
        assert [piece.text for piece in strip.divide([1, 4])] == ["h", "eat"]
        watched = weakref.ref(strip)
        del strip
        assert watched() is None
    finally:
        gc.enable()
