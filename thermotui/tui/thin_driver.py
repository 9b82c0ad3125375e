"""A driver for thin lines: Textual's own for the platform, with updates reduced to the cells that differ."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from textual.driver import Driver
from textual.geometry import Size

from thermotui.tui.cell_updates import CellUpdates
from thermotui.tui.terminal_output import TerminalOutput

SYNC_START, SYNC_END = "\x1b[?2026h", "\x1b[?2026l"
SMALL = 1024
"""Characters of an update that a terminal reads in one piece, so that it needs no markers against tearing."""


class CellPainter:
    """Paints cells of charts on the terminal of one thin driver: see `thermotui.tui.charts.painting`."""

    def __init__(self) -> None:
        self.cells = CellUpdates()
        self.send: Callable[[str], None] | None = None
        """How text is sent; None before the driver has sent anything."""
        self.size: Callable[[], Size] = Size
        """The size of the screen at present."""
        self.synchronized = False
        """Whether the terminal takes markers against tearing."""
        self.sent = 0
        """Bytes of cells sent until now."""
        self._due = False

    @property
    def ready(self) -> bool:
        """Whether there is a terminal to paint on."""
        return self.send is not None and tuple(self.size()) == self.cells.size

    def style_number(self, codes: str) -> int:
        """The number of a style, given as the parameters of its escape sequence."""
        return self.cells.style_number(codes)

    def paint(self, x: int, y: int, characters: NDArray[np.uint32], styles: NDArray[np.uint32]) -> None:
        """Show these cells once whoever paints has painted all: what several charts changed goes out in one piece."""
        self.cells.put(x, y, characters, styles)
        if not self._due:
            self._due = True
            asyncio.get_running_loop().call_soon(self.flush)

    def flush(self) -> None:
        """Send what was painted."""
        self._due = False
        self.send_cells(self.cells.flush())

    def send_cells(self, text: str) -> None:
        """Send an update, in one piece where a terminal would otherwise show a part of it."""
        if text and self.send is not None:
            whole = len(text) > SMALL and self.synchronized
            text = f"{SYNC_START}{text}{SYNC_END}" if whole else text
            self.sent += len(text.encode())
            self.send(text)


def thin_driver(
    base: type[Driver],
    size: Callable[[], Size],
    painter: CellPainter | None = None,
    on_loss: Callable[[OSError], None] | None = None,
) -> type[Driver]:
    """A driver class like `base` that never sends a cell the terminal already shows. For `App.get_driver_class`.

    size: the size of the screen at present. painter: by which charts paint on it. Whatever is not an update of cells is
    passed on as it is, and after it every cell is sent again when next drawn; so it is after a resize, and when an
    update covers the whole screen. on_loss: what the app does, in its own thread, where the terminal can be read from
    or written to no more; it exits without it.
    """
    painter = painter or CellPainter()
    painter.size = size
    cells = painter.cells
    held_start = False

    def lose(self: Driver, error: OSError) -> None:
        self._app.call_later(self._app.exit if on_loss is None else partial(on_loss, error))

    def start(self: Any, *arguments: Any, **options: Any) -> None:
        base.__init__(self, *arguments, **options)
        # Of drivers that write to a terminal by a thread, as Textual calls it.
        file = getattr(self, "_file", None)
        if file is not None:
            repaint = partial(self._app.call_later, self._app.refresh)
            self._file = TerminalOutput(file, repaint, partial(lose, self))

    def send(self: Driver, data: str) -> None:
        # Textual goes on without a writer where it cannot take up the terminal again, and would wait for it.
        writer = getattr(self, "_writer_thread", None)
        if writer is None or writer.is_alive():
            base.write(self, data)

    read: Callable[[Driver], None] | None = getattr(base, "run_input_thread", None)

    def run_input_thread(self: Driver) -> None:
        try:
            if read is not None:
                read(self)
        except OSError as error:
            # A read gets this, instead of nothing, while its terminal is taken away.
            lose(self, error)

    def write(self: Driver, data: str) -> None:
        nonlocal held_start
        if painter.send is None:
            painter.send = partial(send, self)
        if data == SYNC_START:
            held_start = painter.synchronized = True
            return
        if data == SYNC_END and held_start:
            held_start = False
            return
        width, height = size()
        if (width, height) != cells.size:
            cells.forget(width, height)
        reduced = cells.reduce(data)
        if reduced is not None:
            painter.send_cells(reduced)
            return
        start = SYNC_START if held_start else ""
        held_start = False
        send(self, f"{cells.flush()}{cells.reset()}{start}{data}")
        cells.forget()

    return type("ThinDriver", (base,), {"__init__": start, "write": write, "run_input_thread": run_input_thread})
