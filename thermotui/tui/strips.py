"""Two faults of Textual's, mended where they would cost a screen that runs for days megabytes it cannot give back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache, partial

from textual._styles_cache import StylesCache
from textual.strip import Strip

_divide = Strip.divide
_inner_outer = lru_cache(1024)(partial(StylesCache.get_inner_outer.__wrapped__, StylesCache))


def _divide_without_cycle(self: Strip, cuts: Iterable[int]) -> Sequence[Strip]:
    """Cut a strip; one that is only cut at its end is itself the one piece."""
    cuts = [cut for cut in cuts if cut <= self.cell_length]
    return [self] if cuts == [self.cell_length] else _divide(self, cuts)


def free_strips() -> None:
    """Have strips freed as soon as nobody shows them.

    Textual has a strip that is only cut at its end, as nearly all of a chart's are, remember itself as its own piece,
    so that each waits for the collector of cycles with all that it holds: at 300×100 thousands at a time.

    And it remembers the backgrounds of a widget not by their colours alone but also by the widget's cache of strips,
    so that the strips of a thousand widgets are kept for ever, those of every dialog that was closed among them.
    """
    # It has no hooks for that.
    Strip.divide = _divide_without_cycle  # type: ignore[method-assign]
    StylesCache.get_inner_outer = staticmethod(_inner_outer)  # type: ignore[assignment,method-assign]
