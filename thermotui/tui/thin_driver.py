"""A driver for thin lines: Textual's own for the platform, with updates reduced to the cells that differ."""

from __future__ import annotations

from collections.abc import Callable

from textual.driver import Driver
from textual.geometry import Size

from thermotui.tui.cell_updates import CellUpdates

SYNC_START, SYNC_END = "\x1b[?2026h", "\x1b[?2026l"
SMALL = 1024
"""Characters of an update that a terminal reads in one piece, so that it needs no markers against tearing."""


def thin_driver(base: type[Driver], size: Callable[[], Size]) -> type[Driver]:
    """A driver class like `base` that never sends a cell the terminal already shows. For `App.get_driver_class`.

    size: the size of the screen at present. Whatever is not an update of cells is passed on as it is, and after it
    every cell is sent again when next drawn; so it is after a resize, and when an update covers the whole screen.
    """
    cells = CellUpdates()
    held_start = False

    def write(self: Driver, data: str) -> None:
        nonlocal held_start
        if data == SYNC_START:
            held_start = True
            return
        if data == SYNC_END and held_start:
            held_start = False
            return
        width, height = size()
        if (width, height) != cells.size:
            cells.forget(width, height)
        reduced = cells.reduce(data)
        if reduced is None:
            start = SYNC_START if held_start else ""
            held_start = False
            base.write(self, f"{cells.reset()}{start}{data}")
            cells.forget()
        elif len(reduced) > SMALL and held_start:
            base.write(self, f"{SYNC_START}{reduced}{SYNC_END}")
        elif reduced:
            base.write(self, reduced)

    return type("ThinDriver", (base,), {"write": write})
