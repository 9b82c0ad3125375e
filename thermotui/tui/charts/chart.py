"""The chart widget: what keys and the mouse do to what is drawn: zoom and pan on both axes, and a cursor."""

from __future__ import annotations

from textual.events import MouseDown, MouseEvent, MouseMove, MouseScrollDown, MouseScrollUp, MouseUp

from thermotui.tui.charts.drawn_chart import Drag, DrawnChart
from thermotui.tui.charts.model import SCALES, Scale
from thermotui.tui.charts.view import SMALLEST_SPAN

WHEEL_ZOOM, WHEEL_PAN = 1.25, 0.1


class Chart(DrawnChart, can_focus=True):
    """A drawn chart that can be moved over its data. Linked charts move along the steps together."""

    DEFAULT_CSS = "Chart { height: 1fr; width: 1fr; min-height: 1; }"

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
