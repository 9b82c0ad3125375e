"""Caches of Textual and rich that a screen would go on filling for hours, kept small."""

from __future__ import annotations

from rich.cells import cached_cell_len
from rich.segment import Segment
from rich.style import Style
from textual.css.scalar import Scalar
from textual.filter import ANSIToTruecolor
from textual.geometry import Region
from textual.strip import Strip

MAXIMUM_ENTRIES = 512
"""More than is drawn with in one size of the terminal."""
CACHES = (
    ANSIToTruecolor.truecolor_style,
    Region.__contains__,
    Region.contains_region,
    Region.grow,
    Region.intersection,
    Region.overlaps,
    Region.shrink,
    Region.translate,
    Region.union,
    Scalar.resolve,
    Segment._split_cells,
    Strip.render_ansi,
    Style._add,
    cached_cell_len,
)
"""Those with room for 1024 to 16,384 entries, and new ones with every size, scroll position, text and theme: megabytes
in hours. What is entered while much is drawn also keeps the room from being given back that the drawing took."""


def empty_large_caches() -> None:
    """Empty each that has outgrown MAXIMUM_ENTRIES; a few microseconds for each that is needed again."""
    for cache in CACHES:
        # Another version of Textual may keep none of them; then there is nothing to empty.
        if hasattr(cache, "cache_info") and cache.cache_info().currsize > MAXIMUM_ENTRIES:
            cache.cache_clear()
