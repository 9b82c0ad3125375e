"""Caches of Textual and rich that a screen would go on filling for hours, kept small."""

from __future__ import annotations

from typing import Any

import rich.cells
import rich.color
import textual._border
import textual.color
import textual.style
from rich.segment import Segment
from rich.style import Style
from textual._xterm_parser import XTermParser
from textual.css.scalar import Scalar
from textual.filter import ANSIToTruecolor
from textual.geometry import Region
from textual.screen import Screen
from textual.strip import Strip

MAXIMUM_ENTRIES = 128
"""More than the answer to a key asks for, which is 89 at 240×72."""
_NAMES: tuple[tuple[object, str], ...] = (
    (ANSIToTruecolor, "truecolor_style"),
    (Region, "__contains__"),
    (Region, "contains_region"),
    (Region, "grow"),
    (Region, "intersection"),
    (Region, "overlaps"),
    (Region, "shrink"),
    (Region, "split_vertical"),
    (Region, "translate"),
    (Region, "union"),
    (Scalar, "resolve"),
    (Segment, "_split_cells"),
    (Strip, "blank"),
    (Strip, "render_ansi"),
    (Style, "_add"),
    (XTermParser, "_parse_extended_key"),
    (rich.cells, "cached_cell_len"),
    (rich.color.Color, "downgrade"),
    (rich.color.Color, "get_ansi_codes"),
    (textual._border, "get_box"),
    (textual.color.Color, "blend"),
    (textual.style.Style, "__add__"),
)


CACHES: tuple[Any, ...] = tuple(
    cache for owner, name in _NAMES if hasattr(cache := getattr(owner, name, None), "cache_info")
)
"""Those that these versions of Textual and rich have, with room for 1024 to 16,384 entries, and new ones with
every size, scroll position, text, mouse position and theme: megabytes in hours. What is entered while much is drawn
also keeps the room from being given back that the drawing took."""


def empty_large_caches() -> None:
    """Empty each that has outgrown MAXIMUM_ENTRIES; a few microseconds for each that is needed again."""
    for cache in CACHES:
        if cache.cache_info().currsize > MAXIMUM_ENTRIES:
            cache.cache_clear()


_OF_WIDGETS = {"_query_one_cache": 128, "_box_model_cache": 4}
"""Caches that each widget has, and the most entries that one comes to in one size of the terminal.

Textual finds a widget by its selector under the number of changes that its container has seen, so that every dialog
leaves a set of answers behind that is never asked for again; and it keeps a box for each size of the terminal.
"""


def empty_large_widget_caches(screen: Screen[Any]) -> None:
    """Empty those of a screen's widgets that have outgrown it."""
    for widget in screen.walk_children(with_self=True):
        for name, most in _OF_WIDGETS.items():
            cache: Any = getattr(widget, name, None)
            if cache is not None and len(cache) > most:
                cache.clear()
