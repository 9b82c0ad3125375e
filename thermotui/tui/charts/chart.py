"""The chart widget: curves with errors over steps, zoomed and panned on both axes, linked with its neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from textual.events import MouseDown, MouseEvent, MouseMove, MouseScrollDown, MouseScrollUp, MouseUp
from textual.geometry import Offset
from textual.reactive import reactive

from thermotui.tui.charts.axes import Parts, header_parts
from thermotui.tui.charts.buckets import Columns
from thermotui.tui.charts.cells import CellWidget
from thermotui.tui.charts.frame import Frame, blank
from thermotui.tui.charts.model import SCALES, ChartData, Scale
from thermotui.tui.charts.raster import GLYPHS, Mode
from thermotui.tui.charts.render import Layout, Sketch, columns_of_all, draw_all, layout, value_range
from thermotui.tui.charts.roles import ROLE
from thermotui.tui.charts.scales import Axis, sticky_axis
from thermotui.tui.charts.view import SMALLEST_SPAN, StepView

WHEEL_ZOOM, WHEEL_PAN = 1.25, 0.1


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


class Chart(CellWidget, can_focus=True):
    """Draws a ChartData. Set `data` to a new one to update it: only the cells that change are repainted.

    Charts given the same `view` share their range of steps and their cursor.
    """

    DEFAULT_CSS = "Chart { height: 1fr; width: 1fr; min-height: 1; }"
    data: reactive[ChartData | None] = reactive[ChartData | None](None, repaint=False, init=False, always_update=True)
    scale: reactive[Scale] = reactive[Scale]("linear", repaint=False, init=False)

    def __init__(
        self,
        data: ChartData | None = None,
        *,
        view: StepView | None = None,
        header: bool = True,
        name: str | None = None,
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self.view = view if view is not None else StepView()
        self.header = header
        self._axis: Axis | None = None
        self._x_range: tuple[float, float] | None = None
        self._y_range: tuple[float, float] | None = None
        self._drag: Drag | None = None
        self._header: tuple[object, Parts] = None, ()
        """The parts of the header, behind what they were made of."""
        self.set_reactive(Chart.data, data)

    def on_mount(self) -> None:
        super().on_mount()
        self.view.link(self, redraw_together)

    def on_unmount(self) -> None:
        self.view.unlink(self, redraw_together)

    def link(self, view: StepView) -> None:
        """Share the range of steps and the cursor of another view from now on."""
        self.view.unlink(self, redraw_together)
        self.view = view
        self.view.link(self, redraw_together)
        self.redraw()

    @property
    def drawable(self) -> bool:
        return not self.view.telling and super().drawable

    def watch_data(self) -> None:
        self.redraw()

    def watch_scale(self) -> None:
        self._axis = self._y_range = None
        self.redraw()

    @property
    def layout_cells(self) -> Layout:
        """Where the parts of the chart lie in its content area."""
        return layout(self.size.width, self.size.height, header=self.header)

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
        data, columns = self.data, place.cells * GLYPHS[self.mode].across
        if data is None:
            return self.view.resolve((0.0, 1.0), columns, growing=False)
        return self.view.resolve(data.extent(), columns, growing=data.growing, planned=data.planned, least=data.least)

    @property
    def shown_axis(self) -> Axis | None:
        """The value axis as last drawn; None before."""
        return self._axis

    def drawing(self) -> Drawing:
        """What was last drawn of what, for `restore`."""
        return Drawing(self.data, self._axis, self._x_range, self._header)

    def restore(self, drawing: Drawing) -> None:
        """Take back what was drawn since but not shown."""
        data, self._axis, self._x_range, self._header = drawing
        self.set_reactive(Chart.data, data)

    def draw_frame(self, width: int, height: int) -> Frame:
        """Draw the data at the present range and scale."""
        return frames_of((self,))[0]

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

    def set_x_range(self, x_range: tuple[float, float] | None) -> None:
        """Show these steps on this and every linked chart; None for the whole run."""
        self.view.show(x_range)

    def zoomed(self, factor: float, at: float | None = None) -> tuple[float, float] | None:
        """1/factor of the steps now shown, with step `at` (the cursor, or the middle) where it is; None for all."""
        start, end = self.shown_range
        pivot = at if at is not None else self.view.cursor
        if pivot is None or not start <= pivot <= end:
            pivot = (start + end) / 2
        return self._within(pivot - (pivot - start) / factor, pivot + (end - pivot) / factor)

    def panned(self, fraction: float) -> tuple[float, float] | None:
        """What is now shown, moved by a fraction of it, to later steps if positive, but not out of the run.

        None where there is no room to move.
        """
        start, end = self.shown_range
        first, last = self.data.extent() if self.data else (start, end)
        room = min(first - start, 0.0), max(last + SMALLEST_SPAN / 2 - end, 0.0)
        shift = min(max(fraction * (end - start), room[0]), room[1])
        return (start + shift, end + shift) if shift else None

    def zoom_x(self, factor: float, at: float | None = None) -> None:
        """Show what `zoomed` says."""
        self.view.show(self.zoomed(factor, at))

    def pan_x(self, fraction: float) -> None:
        """Show what `panned` says, if anything."""
        if (moved := self.panned(fraction)) is not None:
            self.view.show(moved)

    def set_y_range(self, y_range: tuple[float, float] | None) -> None:
        """Show these values; None to fit the data again."""
        if y_range is not None and not y_range[1] > y_range[0]:
            raise ValueError(f"the value range {y_range} is empty")
        self._y_range = y_range
        if y_range is None:
            self._axis = None
        self.redraw()

    def zoom_y(self, factor: float, at: float = 0.5) -> None:
        """Show 1/factor of the value axis, keeping what lies at the fraction `at` of it where it is."""
        if self._axis is not None:
            ends = at - at / factor, at + (1 - at) / factor
            self._try_y_range(self._axis.invert(ends[0]), self._axis.invert(ends[1]))

    def pan_y(self, fraction: float) -> None:
        """Move by a fraction of the value axis; to higher values if positive."""
        if self._axis is not None:
            self._try_y_range(self._axis.invert(fraction), self._axis.invert(1 + fraction))

    def reset(self) -> None:
        """The whole run, all values, no cursor."""
        self._y_range = self._axis = None
        self.view.point(None)
        self.view.show(None)
        self.redraw()

    def cycle_scale(self) -> Scale:
        """The next of linear, log and symlog, which is returned."""
        self.scale = SCALES[(SCALES.index(self.scale) + 1) % len(SCALES)]
        return self.scale

    def move_cursor(self, columns: int) -> None:
        """Move the cursor by so many cells; from the right edge if there was none."""
        start, end = self.shown_range
        cell = (end - start) / self.layout_cells.cells
        cursor = self.view.cursor
        if cursor is None or not start <= cursor < end:
            last = self.data.extent()[1] if self.data else end
            cursor = min(end, last) if columns < 0 else start
        self.view.point(min(max(cursor + columns * cell, start), end - cell / 2))

    def step_at(self, x: int) -> float | None:
        """The step under the cell `x` of the content area; None outside of the plot."""
        place = self.layout_cells
        if not place.gutter <= x < place.gutter + place.cells:
            return None
        start, end = self.shown_range
        return start + (x - place.gutter + 0.5) / place.cells * (end - start)

    def _on_wheel(self, event: MouseEvent, factor: float) -> None:
        """Zoom the steps about the pointer; with shift pan them, with ctrl zoom the values."""
        event.stop()
        place, x = self.layout_cells, event.get_content_offset_capture(self)
        if event.shift:
            self.pan_x(WHEEL_PAN if factor < 1 else -WHEEL_PAN)
        elif event.ctrl:
            self.zoom_y(factor, 1.0 - min(max((x.y - place.top + 0.5) / place.rows, 0.0), 1.0))
        else:
            self.zoom_x(factor, self.step_at(x.x))

    def on_mouse_scroll_up(self, event: MouseScrollUp) -> None:
        self._on_wheel(event, WHEEL_ZOOM)

    def on_mouse_scroll_down(self, event: MouseScrollDown) -> None:
        self._on_wheel(event, 1 / WHEEL_ZOOM)

    def on_mouse_down(self, event: MouseDown) -> None:
        offset = event.get_content_offset(self)
        if offset is not None and event.button == 1 and self.step_at(offset.x) is not None:
            self.capture_mouse()
            self._drag = Drag(offset, offset)

    def on_mouse_move(self, event: MouseMove) -> None:
        if self._drag is not None:
            self._drag = Drag(self._drag.start, event.get_content_offset_capture(self))
            self.redraw()

    def on_mouse_up(self, event: MouseUp) -> None:
        """A click points the cursor; a drag shows what it went over: those steps, and those values if it is a box."""
        drag, self._drag = self._drag, None
        if drag is None:
            return
        self.release_mouse()
        place, axis, (start, end) = self.layout_cells, self._axis, self.shown_range
        rows, cells = drag.box(place)
        if cells.stop - cells.start < 2:
            self.view.point(self.step_at(drag.start.x))
        else:
            width = (end - start) / place.cells
            if axis is not None and rows.stop - rows.start < place.rows:
                top, bottom = ((row - place.top) / place.rows for row in (rows.start, rows.stop))
                self._try_y_range(axis.invert(1 - bottom), axis.invert(1 - top))
            self.view.show((start + (cells.start - place.gutter) * width, start + (cells.stop - place.gutter) * width))
        self.redraw()

    def _try_y_range(self, low: float, high: float) -> None:
        """A range too narrow for floating point, or no longer finite, is no range: keep what is shown."""
        if self._axis is not None and low < high and abs(high) + abs(low) < float("inf"):
            self.set_y_range((low, high))

    def _within(self, start: float, end: float) -> tuple[float, float] | None:
        """None, the whole run, once a zoom out reaches beyond it."""
        if self.data is None:
            return start, end
        first, last = self.data.extent()
        return None if start <= first and end >= last else (start, end)


def redraw_together(charts: Sequence[Chart]) -> None:
    """Draw charts anew as `Chart.redraw` does each."""
    shown = [chart for chart in charts if chart.drawable]
    for chart, frame in zip(shown, frames_of(shown), strict=True):
        chart.show_frame(frame)


def frames_of(charts: Sequence[Chart]) -> list[Frame]:
    """A frame for each: what shows the same steps in as many columns is reduced to them in one go."""
    alike: dict[tuple[tuple[float, float], int, Mode], list[tuple[int, ChartData, Layout]]] = {}
    for index, chart in enumerate(charts):
        if chart.data is not None:
            place = chart.layout_cells
            group = alike.setdefault((chart.range_in(place), place.cells, chart.mode), [])
            group.append((index, chart.data, place))
    sketches: dict[int, Sketch] = {}
    for (x_range, cells, mode), group in alike.items():
        columns = columns_of_all([data for _, data, _ in group], x_range, cells, mode)
        for (index, _, place), own in zip(group, columns, strict=True):
            sketches[index] = charts[index].sketch(own, place, x_range)
    drawn = dict(zip(sketches, draw_all(tuple(sketches.values())), strict=True))
    return [
        chart.mark_drag(drawn[index]) if index in drawn else blank(chart.size.height, chart.size.width)
        for index, chart in enumerate(charts)
    ]
