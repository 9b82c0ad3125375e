"""Widgets that show nothing of their own but their background."""

from __future__ import annotations

from rich.style import Style
from textual.containers import Grid, Horizontal, Vertical
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget


class Backdrop(Widget):
    """Holds other widgets and paints its background behind them, all rows as one strip.

    Textual keeps a strip for each row of each widget and every cut of it at the edges of what lies over it. Of the
    half dozen containers over one another that is most of what a large terminal takes, and never seen.
    """

    def render_lines(self, crop: Region) -> list[Strip]:
        """The rows of a part of the widget."""
        if self.gutter.totals != (0, 0):
            return super().render_lines(crop)
        strip = Strip.blank(crop.width, Style(bgcolor=self.rich_style.bgcolor))
        for line_filter in self.get_line_filters():
            strip = strip.apply_filter(line_filter, self.background_colors[1])
        return [strip] * crop.height


class PlainGrid(Grid, Backdrop):
    """A grid."""


class PlainHorizontal(Horizontal, Backdrop):
    """Widgets beside one another."""


class PlainVertical(Vertical, Backdrop):
    """Widgets below one another."""
