"""Textual's strips, mended where they would cost a screen that runs for days megabytes it cannot give back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache, partial
from typing import Any

import textual.strip
from textual._styles_cache import StylesCache
from textual.strip import Strip
from textual.widget import Widget

PIECES = 4
"""Results of one kind that a strip remembers: mostly none, and of those that are asked for again one."""

_divide = Strip.divide
_inner_outer: Any = getattr(StylesCache, "get_inner_outer", None)


class SmallCache:
    """What Strip uses of Textual's FIFOCache, in a third of the room while it is empty."""

    __slots__ = ("_kept",)

    def __init__(self, maxsize: int = PIECES) -> None:
        """`maxsize` is what Textual asks for; no strip needs as much."""
        self._kept: dict[Any, Any] | None = None

    def get(self, key: Any, default: Any = None) -> Any:
        """What was set for the key."""
        return default if self._kept is None else self._kept.get(key, default)

    def __setitem__(self, key: Any, value: Any) -> None:
        if self._kept is None:
            self._kept = {}
        elif len(self._kept) >= PIECES and key not in self._kept:
            del self._kept[next(iter(self._kept))]
        self._kept[key] = value


def _divide_without_cycle(self: Strip, cuts: Iterable[int]) -> Sequence[Strip]:
    """Cut a strip; one that is only cut at its end is itself the one piece."""
    cuts = [cut for cut in cuts if cut <= self.cell_length]
    return [self] if cuts == [self.cell_length] else _divide(self, cuts)


def free_strips() -> None:
    """Have strips freed as soon as nobody shows them, and be small until then.

    Textual has a strip that is only cut at its end, as nearly all of a chart's are, remember itself as its own piece,
    so that each waits for the collector of cycles with all that it holds: at 300×100 thousands at a time.

    It remembers the backgrounds of a widget not by their colours alone but also by the widget's cache of strips, so
    that the strips of a thousand widgets are kept for ever, those of every dialog that was closed among them.

    And of what a strip takes, more than four fifths are seven caches that are nearly always empty.
    """
    # It has no hooks for that, and to the type checker its classes are closed.
    strip: Any = Strip
    strip.divide = _divide_without_cycle
    module: Any = textual.strip
    module.FIFOCache = SmallCache
    # Another version of Textual may not have this fault.
    if hasattr(_inner_outer, "__wrapped__"):
        by_colours = lru_cache(1024)(partial(_inner_outer.__wrapped__, StylesCache))
        styles: Any = StylesCache
        styles.get_inner_outer = staticmethod(by_colours)


def forget_strips(widget: Widget) -> None:
    """Have a widget that is out of sight keep no strips: it makes them anew when it is shown again."""
    # As Textual does when a widget is refreshed, but without asking for a repaint.
    widget._styles_cache.clear()
