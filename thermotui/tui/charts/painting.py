"""The short way to the terminal: cells of a widget handed over as arrays, past Textual's segments and escape codes."""

from __future__ import annotations

from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray
from rich.segment import Segment
from rich.style import Style
from textual.app import App
from textual.geometry import Offset, Region
from textual.strip import Strip
from textual.widget import Widget


class Painter(Protocol):
    """Whoever knows what the terminal shows. An app that has one keeps it as its attribute `painter`."""

    @property
    def ready(self) -> bool:
        """Whether there is a terminal to paint on."""

    @property
    def sent(self) -> int:
        """Bytes of cells sent until now."""

    def style_number(self, codes: str) -> int:
        """The number of a style, given as the parameters of its escape sequence; it stays the same."""

    def paint(self, x: int, y: int, characters: NDArray[np.uint32], styles: NDArray[np.uint32]) -> None:
        """Show code points, each one cell wide, in styles [height, width], from the cell (x, y) of the screen on."""


def painter_of(app: App[object]) -> Painter | None:
    """The painter of an app; None where it has none, or no terminal."""
    painter: Painter | None = getattr(app, "painter", None)
    return painter if painter is not None and painter.ready else None


def style_codes(style: Style, app: App[object]) -> str:
    """The parameters of the escape sequence with which Textual sends a style."""
    before, _, _ = Strip([Segment("x", style)]).render(app.console).partition("x")
    return before.removeprefix("\x1b[").removesuffix("m")


Arranged = dict[Widget, tuple[Region, Region]]
"""The widgets in sight with their regions and what of them is not clipped, the foremost first."""


class Place:
    """Where a widget lies on the screen, as long as nothing lies over it."""

    _newest: ClassVar[tuple[Arranged, object]] = ({}, object())
    """The arrangement looked at last, and a mark that stands for it: a widget long out of sight must not keep alive
    all those that were in sight with it."""

    def __init__(self, widget: Widget) -> None:
        self._widget = widget
        self._mark: object = None
        self._offset: Offset | None = None

    def offset(self) -> Offset | None:
        """Its upper left cell; None where it is not wholly in sight, or about to be moved."""
        widget = self._widget
        screen = widget.screen
        # Textual has no public word for either.
        if screen is not widget.app.screen or screen._layout_required or widget.app._batch_count:
            return None
        arranged = screen._compositor.visible_widgets
        if arranged is not Place._newest[0]:
            Place._newest = arranged, object()
        mark = Place._newest[1]
        if mark is not self._mark:
            self._mark, self._offset = mark, self._find(arranged)
        return self._offset

    def _find(self, arranged: Arranged) -> Offset | None:
        own, clip = arranged.get(self._widget, (Region(), Region()))
        if not own or not clip.contains_region(own):
            return None
        for other, (region, _) in arranged.items():
            if other is self._widget:
                return own.offset
            if region.overlaps(own):
                return None
        return None
