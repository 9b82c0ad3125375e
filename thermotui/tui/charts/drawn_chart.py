"""The picture of a chart: curves with errors over the steps now shown, on the value axis that fits them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from textual.geometry import Offset
from textual.reactive import reactive

from thermotui.tui.charts.axes import Parts, header_parts
from thermotui.tui.charts.buckets import Columns
from thermotui.tui.charts.frame import Frame, blank
from thermotui.tui.charts.linked import LinkedWidget, redraw_together
from thermotui.tui.charts.model import ChartData, Scale
from thermotui.tui.charts.raster import GLYPHS, Mode
from thermotui.tui.charts.render import Layout, Sketch, columns_of_all, draw_all, layout, value_range
from thermotui.tui.charts.roles import ROLE
from thermotui.tui.charts.scales import Axis, sticky_axis
from thermotui.tui.charts.view import StepView


class Drag(NamedTuple):
    """A drag of the mouse over a plot, in cells of the content area."""

    start: Offset
    end: Offset

    def box(self, place: Layout) -> tuple[slice, slice]:
        """Rows and cells gone over, within the plot; all rows where it went along a line."""
        left, right = sorted(min(max(x, place.gutter), place.width - 1) for x in (self.start.x, self.end.x))
        last = place.top + place.rows - 1
        top, bottom = sorted(min(max(y, place.top), last) for y in (self.start.y, self.end.y))
        if bottom - top < 2:
            top, bottom = place.top, last
        return slice(top, bottom + 1), slice(left, right + 1)


class Drawing(NamedTuple):
    """What a chart drew last: its data, the axes it chose for them, and its header."""

    data: ChartData | None
    axis: Axis | None
    x_range: tuple[float, float] | None
    header: tuple[object, Parts]


class DrawnChart(LinkedWidget):
    """Draws a ChartData with its curves over each other, between axes."""

    scale: reactive[Scale] = reactive[Scale]("linear", repaint=False, init=False)

    def __init__(self, data: ChartData | None = None, *, view: StepView | None = None, id: str | None = None) -> None:
        super().__init__(data, view=view, id=id)
        self._axis: Axis | None = None
        self._x_range: tuple[float, float] | None = None
        self._y_range: tuple[float, float] | None = None
        self._drag: Drag | None = None
        self._header: tuple[object, Parts] = None, ()
        """The parts of the header, behind what they were made of."""

    def link(self, view: StepView) -> None:
        """Share the range of steps and the cursor of another view from now on."""
        self.view.unlink(self, redraw_together)
        self.view = view
        self.view.link(self, redraw_together)
        self.redraw()

    def watch_data(self) -> None:
        self.redraw()

    def watch_scale(self) -> None:
        self._axis = self._y_range = None
        self.redraw()

    @property
    def layout_cells(self) -> Layout:
        """Where the parts of the chart lie in its content area."""
        return layout(*self.size)

    @property
    def columns(self) -> int:
        """Dot columns of the plot: the number of points it can show apart."""
        return self.layout_cells.cells * GLYPHS[self.mode].across

    @property
    def shown_range(self) -> tuple[float, float]:
        """The steps now shown, half-open."""
        return self.view.x_range or self.range_in(self.layout_cells)

    def range_in(self, place: Layout) -> tuple[float, float]:
        """The steps shown where the plot lies there."""
        return self.view.range_of(self.data, place.cells * GLYPHS[self.mode].across)

    @property
    def shown_axis(self) -> Axis | None:
        """The value axis as last drawn; None before."""
        return self._axis

    def drawing(self) -> Drawing:
        return Drawing(self.data, self._axis, self._x_range, self._header)

    def restore(self, drawing: Drawing) -> None:
        data, self._axis, self._x_range, self._header = drawing
        self.set_reactive(DrawnChart.data, data)

    def made_of(self) -> tuple[object, ...]:
        view = self.view
        shown = self.data, view.x_range, view.window, view.cursor, self.size, self.mode, self.scale
        return *shown, self._axis, self._x_range, self._y_range, self._drag

    def let_go(self) -> None:
        super().let_go()
        self._header = None, ()
        if self._y_range is None:
            # Else the values that the user chose are shown on its scale again.
            self._axis = None

    def draw_frame(self, width: int, height: int) -> Frame:
        """Draw the data at the present range and scale."""
        return self.draw_together((self,))[0]

    @classmethod
    def draw_together(cls, widgets: Sequence[DrawnChart]) -> list[Frame]:
        """A frame for each: what shows the same steps in as many columns is reduced to them in one go."""
        alike: dict[tuple[tuple[float, float], int, Mode], list[tuple[int, ChartData, Layout]]] = {}
        for index, chart in enumerate(widgets):
            if chart.data is not None:
                place = chart.layout_cells
                group = alike.setdefault((chart.range_in(place), place.cells, chart.mode), [])
                group.append((index, chart.data, place))
        sketches: dict[int, Sketch] = {}
        for (x_range, cells, mode), group in alike.items():
            columns = columns_of_all([data for _, data, _ in group], x_range, cells, mode)
            for (index, _, place), own in zip(group, columns, strict=True):
                sketches[index] = widgets[index].sketch(own, place, x_range)
        drawn = dict(zip(sketches, draw_all(tuple(sketches.values())), strict=True))
        return [
            chart.mark_drag(drawn[index]) if index in drawn else blank(chart.size.height, chart.size.width)
            for index, chart in enumerate(widgets)
        ]

    def sketch(self, columns: tuple[Columns, ...], place: Layout, x_range: tuple[float, float]) -> Sketch:
        """What to draw of the data over that range, given in the columns of the plot there; chooses the value axis."""
        data = self.data
        assert data is not None
        if self._y_range is not None:
            threshold = self._axis.threshold if self._axis else 1.0
            self._axis = Axis(*self._y_range, self.scale, threshold)
        else:
            low, high, smallest = value_range(columns)
            # Other steps are another picture; those of the whole run from the same first one on are a run that goes on.
            followed = data.growing and self.view.x_range is None
            goes_on = followed and self._x_range is not None and x_range[0] == self._x_range[0]
            self._axis = sticky_axis(self._axis, low, high, self.scale, smallest, growing=goes_on, totals=data.totals)
        self._x_range = x_range
        cursor = self.view.cursor
        asked = data, cursor, place.width, self.mode
        if self._header[0] != asked:
            self._header = asked, header_parts(data, cursor, place.width, ascii_only=self.mode == "ascii")
        return Sketch(data, columns, place, self._axis, x_range, self.mode, cursor, self._header[1])

    def mark_drag(self, frame: Frame) -> Frame:
        """Mark what the mouse is being dragged over."""
        if self._drag is not None:
            rows, cells = self._drag.box(self.layout_cells)
            frame.background[rows, cells] = ROLE["cursor"]
        return frame
