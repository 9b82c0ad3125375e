"""The part of the run that linked charts show: one range of steps and one cursor for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from thermotui.tui.charts.buckets import rolling_range, stable_range
from thermotui.tui.charts.model import ChartData

Linked = TypeVar("Linked")

WHOLE = None
SMALLEST_SPAN = 2.0
"""Fewest steps a chart zooms in to."""


def widened(x_range: tuple[float, float] | None) -> tuple[float, float] | None:
    """The steps shown where these were asked for: at least SMALLEST_SPAN of them."""
    if x_range is None or x_range[1] - x_range[0] >= SMALLEST_SPAN:
        return x_range
    middle = (x_range[0] + x_range[1]) / 2
    return middle - SMALLEST_SPAN / 2, middle + SMALLEST_SPAN / 2


class StepView:
    """Shared by the charts that it links: whoever changes it, all are told and redraw.

    x_range: the steps shown, or None for the whole run. window: with None above, follow the latest so many steps.
    cursor: the step pointed at, or None.
    """

    def __init__(self) -> None:
        self.x_range: tuple[float, float] | None = WHOLE
        self.window: float | None = None
        self.cursor: float | None = None
        self._listeners: list[Callable[[], None]] = []
        self._linked: dict[Callable[[Sequence[Any]], None], list[Any]] = {}
        self.telling = False
        """Whether all that is linked is about to be drawn: what else would draw a part of it need not."""

    def subscribe(self, listener: Callable[[], None]) -> None:
        """Call `listener` after every change."""
        self._listeners.append(listener)

    def unsubscribe(self, listener: Callable[[], None]) -> None:
        """Stop calling `listener`."""
        self._listeners.remove(listener)

    def link(self, chart: Linked, draw: Callable[[Sequence[Linked]], None]) -> None:
        """Have `draw` called after every change, once every listener knows of it, with all that it was linked with."""
        self._linked.setdefault(draw, []).append(chart)

    def unlink(self, chart: Linked, draw: Callable[[Sequence[Linked]], None]) -> None:
        """Draw `chart` no more."""
        self._linked[draw].remove(chart)

    def show(self, x_range: tuple[float, float] | None) -> None:
        """Show these steps, or the whole run."""
        x_range = widened(x_range)
        if (x_range, None) != (self.x_range, self.window):
            self.x_range, self.window = x_range, None
            self._tell()

    def follow(self, window: float) -> None:
        """Keep the latest `window` steps in sight."""
        if (self.x_range, self.window) != (None, window):
            self.x_range, self.window = None, window
            self._tell()

    @contextmanager
    def supposed(self, x_range: tuple[float, float] | None) -> Iterator[None]:
        """As if these steps had been shown, without telling anybody."""
        shown = self.x_range, self.window
        self.x_range, self.window = widened(x_range), None
        try:
            yield
        finally:
            self.x_range, self.window = shown

    def point(self, cursor: float | None) -> None:
        """Move the cursor to a step, or take it away."""
        if cursor != self.cursor:
            self.cursor = cursor
            self._tell()

    def range_of(self, data: ChartData | None, columns: int) -> tuple[float, float]:
        """The range to draw for these data, in `columns` columns."""
        if data is None:
            return self.resolve((0.0, 1.0), columns, growing=False)
        return self.resolve(data.extent(), columns, growing=data.growing, planned=data.planned, least=data.least)

    def resolve(
        self,
        extent: tuple[float, float],
        columns: int,
        *,
        growing: bool,
        planned: float | None = None,
        least: float = 0.0,
    ) -> tuple[float, float]:
        """The range to draw for a run that extends over `extent`, in `columns` columns.

        While the run grows, over `least` steps and more and on its way to the step `planned` where that is known, the
        ends stay for as long as they can, so that new rows change only the last columns.
        """
        first, last = extent
        if self.x_range is not None:
            return self.x_range
        if self.window is not None:
            return rolling_range(last, self.window)
        if growing:
            ahead = first + least if planned is None else min(first + least, planned)
            return stable_range(first, max(last, ahead), planned)
        # Half a column beyond the last point, which would fall outside of a half-open range otherwise.
        return first, last + max((last - first) / max(columns, 1) / 2, 1e-9)

    def _tell(self) -> None:
        self.telling = True
        try:
            for listener in tuple(self._listeners):
                listener()
        finally:
            self.telling = False
        for draw, charts in tuple(self._linked.items()):
            draw(tuple(charts))
