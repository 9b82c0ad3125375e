"""Layer by step: a sparkline or a row of a heatmap for each layer, linked with the charts' steps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
from textual.message import Message
from textual.reactive import reactive

from thermotui.tui.charts.axes import write_x_axis
from thermotui.tui.charts.buckets import all_to_columns
from thermotui.tui.charts.frame import Frame, blank
from thermotui.tui.charts.linked import LinkedWidget
from thermotui.tui.charts.model import ChartData, Floats, Scale, SeriesData
from thermotui.tui.charts.raster import GLYPHS
from thermotui.tui.charts.rows import (
    draw_heatmap,
    draw_sparklines,
    name_room,
    row_layout,
    short_names,
    spark_columns,
    spark_range,
    write_key,
)
from thermotui.tui.charts.scales import Axis, sticky_axis
from thermotui.tui.charts.view import StepView

BELOW = 3
"""Rows that the steps and the key of a heatmap take, where there is room for them."""
LOGARITHMIC_FROM = 30.0
"""Ratio of the largest to the smallest value from which on colours are logarithmic."""


class Drawing(NamedTuple):
    """What rows drew last: their data, the axes chosen for them, their steps, and which rows are in sight."""

    data: ChartData | None
    axes: dict[str, Axis]
    x_range: tuple[float, float] | None
    first: int
    tall: int
    in_sight: int


class LayerRows(LinkedWidget, can_focus=True):
    """What sparklines and heatmap share: a ChartData whose series are the layers, scrolling, and a selected layer."""

    TALLEST: ClassVar[int] = 4
    """Most rows of cells that a layer gets where there is room."""

    selected: reactive[int] = reactive(0, repaint=False, init=False)

    @dataclass
    class LayerSelected(Message):
        """The selected row changed to the layer of that index."""

        rows: LayerRows
        index: int

    def __init__(self, data: ChartData | None = None, *, view: StepView | None = None, id: str | None = None) -> None:
        super().__init__(data, view=view, id=id)
        self._axes: dict[str, Axis] = {}
        """The value axis of each row by its name, or the one axis of all under no name."""
        self._x_range: tuple[float, float] | None = None
        self._first = 0
        self._tall = self._count = 1

    def drawing(self) -> Drawing:
        return Drawing(self.data, self._axes.copy(), self._x_range, self._first, self._tall, self._count)

    def restore(self, drawing: Drawing) -> None:
        data, axes, self._x_range, self._first, self._tall, self._count = drawing
        self._axes = axes.copy()
        self.set_reactive(LayerRows.data, data)

    def made_of(self) -> tuple[object, ...]:
        view = self.view
        shown = self.data, view.x_range, view.window, self.size, self.mode, self.selected, self.has_focus
        return *shown, tuple(self._axes.items()), self._x_range, self._first

    def let_go(self) -> None:
        super().let_go()
        self._axes.clear()

    def watch_data(self) -> None:
        self.selected = self.validate_selected(self.selected)
        self.redraw()

    def validate_selected(self, index: int) -> int:
        """Keep the selection on a layer."""
        count = len(self.data.series) if self.data else 0
        return min(max(index, 0), max(count - 1, 0))

    def watch_has_focus(self, has_focus: bool) -> None:
        """The selection is marked where the keys go."""
        super().watch_has_focus(has_focus)
        self.redraw()

    def watch_selected(self, index: int) -> None:
        self.redraw()
        self.post_message(self.LayerSelected(self, index))

    def rows_in_sight(self, height: int) -> tuple[SeriesData, ...]:
        """The layers in sight in `height` rows of cells: scrolled so that the selected one is among them."""
        series = self.data.series if self.data else ()
        self._tall = min(max(height // max(len(series), 1), 1), self.TALLEST)
        height = max(height // self._tall, 1)
        self._first = min(self._first, self.selected, max(len(series) - height, 0))
        self._first = max(self._first, self.selected - height + 1, 0)
        self._count = height
        return series[self._first : self._first + height]

    def names(self, width: int) -> tuple[str, ...]:
        """What to call the layers in sight in rows of `width` cells."""
        series = self.data.series if self.data else ()
        names = short_names([each.name for each in series], name_room(width))
        return names[self._first : self._first + self._count]

    def fill(self, rows: Frame, height: int) -> Frame:
        """Rows at the top of a frame of the whole height."""
        frame = blank(height, rows.width)
        for part in ("characters", "foreground", "background"):
            getattr(frame, part)[: rows.height] = getattr(rows, part)
        return frame


class LayerSparklines(LayerRows):
    """A row for each layer: name, sparkline from minima to maxima, last value ± error. No spike is ever lost."""

    DEFAULT_CSS = "LayerSparklines { height: 1fr; width: 1fr; }"
    scale: reactive[Scale] = reactive[Scale]("linear", repaint=False, init=False)
    """That of every row's values."""

    def made_of(self) -> tuple[object, ...]:
        return *super().made_of(), self.scale

    def watch_scale(self) -> None:
        self._axes.clear()
        self.redraw()

    def draw_frame(self, width: int, height: int) -> Frame:
        """Draw the rows in sight, each between the sticky ends of its own range."""
        series = self.rows_in_sight(height)
        names = self.names(width)
        x_range = self.view.range_of(self.data, row_layout(width, names).plot * GLYPHS[self.mode].across)
        columns = spark_columns(series, names, x_range, width, self.mode)
        # Other steps are another picture; the same steps with more in them are a run that goes on.
        growing = self.data is not None and self.data.growing and x_range == self._x_range
        self._x_range = x_range
        axes = []
        for each, shown in zip(series, columns, strict=True):
            low, high, smallest = spark_range(shown)
            if math.isfinite(low):
                self._axes[each.name] = sticky_axis(
                    self._axes.get(each.name), low, high, self.scale, smallest, growing=growing
                )
            axes.append(self._axes.get(each.name, Axis(0.0, 1.0)))
        marked = self.selected - self._first if self.has_focus else None
        return self.fill(draw_sparklines(series, columns, names, width, self.mode, axes, marked, self._tall), height)


class Heatmap(LayerRows):
    """Layer by step in colours, one scale of colours for all layers; steps, alerts and the key below if there is room.

    The colours are logarithmic where no value is below zero and the values span more than LOGARITHMIC_FROM, so that a
    single hot layer leaves the others readable; with `logarithmic` also where they span less.
    """

    DEFAULT_CSS = "Heatmap { height: 1fr; width: 1fr; }"
    TALLEST = 6
    logarithmic: reactive[bool] = reactive(False, repaint=False, init=False)

    def made_of(self) -> tuple[object, ...]:
        return *super().made_of(), self.logarithmic

    def watch_logarithmic(self) -> None:
        self._axes.clear()
        self.redraw()

    def draw_frame(self, width: int, height: int) -> Frame:
        """Draw the rows in sight; the colours span the values of every layer, so that scrolling changes none."""
        everything = self.data.series if self.data else ()
        below = BELOW if height >= len(everything) + BELOW else 0
        series = self.rows_in_sight(height - below)
        names = self.names(width)
        place = row_layout(width, names, values=False)
        x_range = self.view.range_of(self.data, place.plot)
        columns = all_to_columns(everything, x_range, place.plot)
        self._fit(np.concatenate([part for each in columns for part in (each.low, each.high)] or [np.empty(0)]))
        axis = self._axes.get("", Axis(0.0, 1.0))
        levels, logarithmic = (axis.low, axis.high), axis.scale == "log"
        colours = not self.app.no_color
        rows = draw_heatmap(
            series,
            names,
            x_range,
            width,
            self.mode,
            levels,
            colours=colours,
            logarithmic=logarithmic,
            marked=self.selected - self._first,
            tall=self._tall,
        )
        frame = self.fill(rows, height)
        if self.data is not None and series and below:
            ascii_only = self.mode == "ascii"
            write_x_axis(frame, rows.height, place.name, x_range, self.data, ascii_only=ascii_only, labels=True)
            note = "log" if logarithmic else ""
            write_key(frame, rows.height + 2, place.name, levels, self.mode, colours=colours, note=note)
        return frame

    def _fit(self, values: Floats) -> None:
        """Choose the scale of the colours for these values, and its ends."""
        values = values[np.isfinite(values)]
        if not values.size:
            return
        low, high = float(values.min()), float(values.max())
        positive = values[values > 0]
        smallest = float(positive.min()) if positive.size else math.nan
        wide = low >= 0 and high > LOGARITHMIC_FROM * smallest
        # Once logarithmic it stays so while it can: colours that change their meaning are no colours.
        before = self._axes.get("")
        stays = before is not None and before.scale == "log"
        scale: Scale = "log" if low >= 0 and positive.size and (wide or stays or self.logarithmic) else "linear"
        self._axes[""] = sticky_axis(before, low, high, scale, smallest)
