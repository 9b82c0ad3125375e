"""Frames on the screen: a line-API widget base that repaints only the cells that changed."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from rich.segment import Segment
from rich.style import Style
from textual.app import App
from textual.geometry import Region
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from thermotui.tui.charts.frame import Frame, changed_spans
from thermotui.tui.charts.palette import Palette, from_variables
from thermotui.tui.charts.raster import Mode
from thermotui.tui.charts.roles import ROLES


class CellWidget(Widget):
    """Shows a Frame. Subclasses give `draw_frame`; call `redraw` when what it draws may have changed."""

    mode: reactive[Mode] = reactive[Mode]("braille", repaint=False, init=False)
    """Which dots to draw with: braille, block or ascii."""

    def __init__(self, *, name: str | None = None, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self._frame: Frame | None = None
        self._palette: Palette | None = None
        self._styles: dict[tuple[int, int], Style] = {}

    def draw_frame(self, width: int, height: int) -> Frame:
        """The frame to show in a content area of that size, in cells."""
        raise NotImplementedError

    def redraw(self) -> None:
        """Draw anew and repaint the cells that differ from those on the screen, and no others."""
        width, height = self.size
        if not self.is_mounted or width < 1 or height < 1:
            return
        frame = self.draw_frame(width, height)
        spans = changed_spans(self._frame, frame)
        self._frame = frame
        if spans:
            self.refresh(*(Region(first, y, last - first, 1) for y, first, last in spans))

    def on_mount(self) -> None:
        self.app.theme_changed_signal.subscribe(self, self._theme_changed)

    def on_resize(self) -> None:
        self._frame = None
        self.redraw()

    def watch_mode(self) -> None:
        self.redraw()

    def _theme_changed(self, _theme: object) -> None:
        self.notify_style_update()
        self.refresh()

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._palette = None
        self._styles.clear()

    def render_line(self, y: int) -> Strip:
        """One row of the frame as a strip with a segment for each run of one style."""
        frame = self._frame
        if frame is None or y >= frame.height:
            return Strip.blank(self.size.width, self.rich_style)
        foreground, background = frame.foreground[y], frame.background[y]
        breaks = np.flatnonzero((np.diff(foreground) != 0) | (np.diff(background) != 0)) + 1
        bounds = [0, *breaks.tolist(), frame.width]
        text = "".join(map(chr, frame.characters[y].tolist()))
        segments = [
            Segment(text[first:last], self._style(int(foreground[first]), int(background[first])))
            for first, last in pairwise(bounds)
        ]
        return Strip(segments, frame.width)

    def _style(self, foreground: int, background: int) -> Style:
        key = foreground, background
        if key not in self._styles:
            if self._palette is None:
                self._palette = palette_of(self.app)
            style = self.rich_style
            if foreground:
                style += Style(color=self._palette.colours[ROLES[foreground]])
            if background:
                name = ROLES[background]
                colour = self._palette.backgrounds.get(name) or self._palette.colours[name]
                style += Style(bgcolor=colour)
            self._styles[key] = style
        return self._styles[key]


def palette_of(app: App[object]) -> Palette:
    """The palette of the app's present theme."""
    return from_variables(app.theme_variables, dark=app.current_theme.dark)
