"""Caches that a screen would go on filling for hours, kept small."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

from textual.screen import Screen

MAXIMUM_ENTRIES = 128
"""More than the answer to a key asks for, which is 89 at 240×72."""
_PACKAGES = ("rich", "textual", "thermotui")
_CACHED = type(lru_cache(lambda: None))


def bounded_caches() -> Iterator[Any]:
    """Every `lru_cache` with a bound of the modules here and of those that draw for them.

    Most have room for 1024 to 16,384 entries, and new ones with every size, scroll position, text, mouse position and
    theme: megabytes in hours.
    """
    for name, module in tuple(sys.modules.items()):
        if name.partition(".")[0] in _PACKAGES:
            for value in tuple(vars(module).values()):
                if getattr(value, "__module__", None) == name:
                    yield from _caches_in(vars(value).values() if isinstance(value, type) else (value,))


def _caches_in(values: Iterable[Any]) -> Iterator[Any]:
    for value in values:
        function = value.__func__ if isinstance(value, classmethod | staticmethod) else value
        if isinstance(function, _CACHED) and function.cache_info().maxsize:
            yield function


def empty_caches(most: int = MAXIMUM_ENTRIES) -> None:
    """Empty each cache that has more entries; a few microseconds for each that is needed again.

    What was entered while much was drawn keeps the room from being given back that the drawing took.
    """
    for cache in bounded_caches():
        if cache.cache_info().currsize > most:
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
