"""Textual's caches that a screen would go on filling for days, kept small."""

from __future__ import annotations

from textual.css.scalar import Scalar
from textual.geometry import Region
from textual.strip import Strip

MAXIMUM_ENTRIES = 512
"""More than is drawn with in one size of the terminal."""
CACHES = (
    Region.__contains__,
    Region.grow,
    Region.intersection,
    Region.shrink,
    Region.union,
    Scalar.resolve,
    Strip.render_ansi,
)
"""Those with room for 4096 or 16,384 entries, and new ones with every size and scroll position: megabytes in hours."""


def empty_large_caches() -> None:
    """Empty each that has outgrown MAXIMUM_ENTRIES; a few microseconds for each that is needed again."""
    for cache in CACHES:
        # Another version of Textual may keep none of them; then there is nothing to empty.
        if hasattr(cache, "cache_info") and cache.cache_info().currsize > MAXIMUM_ENTRIES:
            cache.cache_clear()
