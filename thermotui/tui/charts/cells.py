"""Frames on the screen: a line-API widget base that repaints only the cells that changed."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
from numpy.typing import NDArray
from rich.segment import Segment
from rich.style import Style
from textual.app import App
from textual.geometry import Region
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from thermotui.tui.charts.frame import Frame, changed_spans, runs
from thermotui.tui.charts.painting import Place, painter_of, style_codes
from thermotui.tui.charts.palette import Palette, from_variables
from thermotui.tui.charts.raster import Mode
from thermotui.tui.charts.roles import ROLES

NO_NUMBER = 0xFFFFFFFF


class CellWidget(Widget):
    """Shows a Frame. Subclasses give `draw_frame`; call `redraw` when what it draws may have changed."""

    mode: reactive[Mode] = reactive[Mode]("braille", repaint=False, init=False)
    """Which dots to draw with: braille, block or ascii."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._frame: Frame | None = None
        self._palette: Palette | None = None
        self._own_style: Style | None = None
        """That of the widget, which Textual works out anew from all that it stands in whenever it is asked."""
        self._styles: dict[tuple[int, int], Style] = {}
        self._place = Place(self)
        self._decoration = -1, False
        """Whether anything is left to Textual to draw, behind the number of changes of styles it was found after."""
        self._numbers: NDArray[np.uint32] | None = None
        """The painter's numbers of the styles, by foreground and background role; NO_NUMBER where not yet asked."""

    @abstractmethod
    def draw_frame(self, width: int, height: int) -> Frame:
        """The frame to show in a content area of that size, in cells."""

    def let_go(self) -> None:
        """Keep nothing of what was drawn: the widget is out of sight, and told anew before it is back."""
        self.forget_frame()

    def forget_frame(self) -> None:
        """Draw anew once there is something to draw on: until then a frame of the right size would pass for new."""
        self._frame = None

    @property
    def shown_frame(self) -> Frame | None:
        """The frame that is on the screen; None where it is to be drawn anew."""
        return self._frame

    @property
    def drawable(self) -> bool:
        """Whether there is anything to draw on."""
        return self.is_mounted and bool(self.size)

    def redraw(self) -> None:
        """Draw anew and repaint the cells that differ from those on the screen, and no others."""
        if self.drawable:
            self.show_frame(self.draw_frame(*self.size))
        elif not self.size:
            self.forget_frame()

    def show_frame(self, frame: Frame) -> None:
        """Repaint the cells of a frame of the widget's size that differ from those on the screen, and no others."""
        before, self._frame = self._frame, frame
        if (before is not None and before.same(frame)) or self._paint(frame):
            return
        spans = changed_spans(before, frame)
        if 2 * len(spans) > frame.height:
            self.refresh(Region(0, 0, frame.width, frame.height))
        else:
            self.refresh(*(Region(first, y, last - first, 1) for y, first, last in spans))

    def _paint(self, frame: Frame) -> bool:
        """Paint on the terminal itself; False where the compositor must, which knows what lies over what."""
        painter = painter_of(self.app)
        offset = self._place.offset() if painter is not None and not self._decorated() else None
        if painter is None or offset is None:
            return False
        if self._numbers is None:
            self._numbers = np.full((len(ROLES), len(ROLES)), NO_NUMBER, np.uint32)
        styles = self._numbers[frame.foreground, frame.background]
        unknown = styles == NO_NUMBER
        if unknown.any():
            roles = zip(frame.foreground[unknown].tolist(), frame.background[unknown].tolist(), strict=True)
            for fore, back in set(roles):
                codes = style_codes(self._style(fore, back), self.app)
                self._numbers[fore, back] = painter.style_number(codes)
            styles = self._numbers[frame.foreground, frame.background]
        painter.paint(offset.x, offset.y, frame.characters, styles)
        return True

    def on_mount(self) -> None:
        self.app.theme_changed_signal.subscribe(self, self._theme_changed)

    def on_resize(self) -> None:
        # Whoever was painted at this size already drew itself then.
        if not self._fits():
            self._frame = None
            self.redraw()

    def watch_mode(self) -> None:
        self.redraw()

    def _theme_changed(self, _theme: object) -> None:
        self.notify_style_update()
        self.refresh()

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._palette = self._numbers = self._own_style = None
        self._styles.clear()

    def render_lines(self, crop: Region) -> list[Strip]:
        """The rows of a part of the widget. Without borders and the like they are the frame's own.

        They are made anew each time: a strip that is kept keeps every cut that Textual has made of it, which for all
        the charts of a large terminal is many megabytes, and charts are mostly painted without any strips.
        """
        if self._decorated():
            return super().render_lines(crop)
        first, last = crop.column_span
        width = self.size.width
        strips = self._rows(crop.y, crop.bottom, width)
        return strips if (first, last) == (0, width) else [strip.crop(first, last) for strip in strips]

    def render_line(self, y: int) -> Strip:
        """One row of the frame as a strip with a segment for each run of one style."""
        return self._rows(y, y + 1, self.size.width)[0]

    def _fits(self) -> bool:
        """Whether there is a frame of the present size."""
        return self._frame is not None and (self._frame.width, self._frame.height) == self.size

    def _rows(self, first: int, stop: int, width: int) -> list[Strip]:
        if not self._fits() and self.size:
            # A new place is painted before the event that tells of it.
            self._frame = self.draw_frame(*self.size)
        frame = self._frame
        if frame is None or frame.width != width:
            return [Strip.blank(width, self._style(0, 0))] * (stop - first)
        strips = [
            Strip([Segment(text, self._style(fore, back)) for text, fore, back in row], width)
            for row in runs(frame.rows(first, stop))
        ]
        return strips + [Strip.blank(width, self._style(0, 0))] * (stop - first - len(strips))

    def _decorated(self) -> bool:
        """Whether anything around or over the frame is left to Textual to draw."""
        # Textual counts the changes of styles; what lies around a widget can make it more transparent.
        changes = sum(node.styles._cache_key for node in self.ancestors_with_self)
        if changes != self._decoration[0]:
            self._decoration = changes, self._find_decoration()
        return self._decoration[1]

    def _find_decoration(self) -> bool:
        styles = self.styles
        return bool(
            self.gutter.totals != (0, 0)
            or self.opacity < 1
            or styles.text_opacity < 1
            or styles.tint.a
            or styles.has_rule("hatch")
            or styles.has_rule("outline_top")
        )

    def _style(self, foreground: int, background: int) -> Style:
        key = foreground, background
        if key not in self._styles:
            if self._palette is None:
                self._palette = palette_of(self.app)
            if self._own_style is None:
                self._own_style = self.rich_style
            style = self._own_style
            if foreground:
                style += Style(color=self._palette.colours[ROLES[foreground]])
            if background:
                name = ROLES[background]
                colour = self._palette.backgrounds.get(name) or self._palette.colours[name]
                style += Style(bgcolor=colour)
            segments = [Segment(" ", style)]
            for line_filter in self.get_line_filters():
                segments = line_filter.apply(segments, self.background_colors[1])
            self._styles[key] = segments[0].style or style
        return self._styles[key]


def palette_of(app: App[object]) -> Palette:
    """The palette of the app's present theme."""
    return from_variables(app.theme_variables, dark=app.current_theme.dark)
