"""Charts take turns where painting all of them at once would be more than a thin line should carry."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from thermotui.tui.charts.drawn_chart import DrawnChart
from thermotui.tui.charts.frame import bytes_between
from thermotui.tui.charts.linked import frames_of, redraw_together
from thermotui.tui.charts.model import ChartData
from thermotui.tui.charts.painting import Painter

PER_LOOK, PER_SECOND = 900.0, 3700.0
"""Bytes that a look at the logs may send, and all looks of a second together."""
SAVED_UP = 1500.0
"""Bytes that a look may send beyond that if the ones before have left them; as many may be owed."""
LATEST = 10.0
"""Seconds after which a chart is painted, whatever was sent meanwhile."""
AGAIN = 1.5
"""Seconds after which charts that wait have another turn where nothing new comes: more than between two looks."""
LIFTED = 1.0
"""Seconds after a key in which nothing waits: what it asked for is on its way."""


class _Waiting(NamedTuple):
    data: ChartData | None
    since: float


class Turns:
    """Gives charts new data, all at once where that is cheap, and else those first that have waited longest.

    A chart that waits keeps its data with all that is drawn of them: curves, axes and values on the screen always
    belong together. painter: by which they are painted; while it has no terminal, nothing waits. clock: in seconds.
    """

    def __init__(self, painter: Painter, clock: Callable[[], float] = time.monotonic) -> None:
        self._painter, self._clock = painter, clock
        self._waiting: dict[DrawnChart, _Waiting] = {}
        self._allowed = SAVED_UP
        self._looked, self._seen = clock(), painter.sent
        self._free_until = self._looked + LIFTED
        self._again: asyncio.TimerHandle | None = None

    def update(self, updates: Iterable[tuple[DrawnChart, ChartData | None]]) -> None:
        """Set the data of charts that go on showing the same, as far as there is room on the line."""
        now = self._clock()
        for chart, data in updates:
            since = self._waiting[chart].since if chart in self._waiting else now
            self._waiting[chart] = _Waiting(data, since)
        self._take_turns(now)

    def set(self, updates: Iterable[tuple[DrawnChart, ChartData | None]]) -> None:
        """Set the data of charts that are to show something else, at once."""
        pairs = tuple(updates)
        for chart, _ in pairs:
            self._waiting.pop(chart, None)
        update_together(pairs)

    def lift(self) -> None:
        """Show what waits, and for a while let nothing wait: somebody wants to see something."""
        now = self._clock()
        self._free_until = now + LIFTED
        if self._waiting:
            self._take_turns(now)

    def _take_turns(self, now: float) -> None:
        sent = self._painter.sent
        earned = min(PER_LOOK, PER_SECOND * (now - self._looked))
        self._allowed = min(max(self._allowed - (sent - self._seen), -SAVED_UP) + earned, SAVED_UP)
        self._looked, self._seen = now, sent
        if now < self._free_until or not self._painter.ready:
            self._allowed = max(self._allowed, 0.0)
            everything, self._waiting = self._waiting, {}
            update_together((chart, waiting.data) for chart, waiting in everything.items())
        else:
            self._paint_some(now)
        if self._again is not None:
            self._again.cancel()
        self._again = asyncio.get_running_loop().call_later(AGAIN, self._look_again) if self._waiting else None

    def _look_again(self) -> None:
        self._take_turns(self._clock())

    def _paint_some(self, now: float) -> None:
        """Draw all that waits in one go, and keep of it what there is room for, the oldest first."""
        order = sorted(self._waiting, key=lambda chart: self._waiting[chart].since)
        before = [chart.drawing() for chart in order]
        for chart in order:
            chart.set_reactive(DrawnChart.data, self._waiting[chart].data)
        drawable = [chart for chart in order if chart.drawable]
        frames = dict(zip(drawable, frames_of(drawable), strict=True))
        room = self._allowed
        for chart, drawing in zip(order, before, strict=True):
            frame, shown = frames.get(chart), chart.shown_frame
            # A chart that shows nothing yet is to show something.
            filled = drawing.data is not None and drawing.data.series
            if filled and frame is not None and shown is not None:
                cost = bytes_between(shown, frame)
                if cost and room <= 0 and now - self._waiting[chart].since < LATEST:
                    chart.restore(drawing)
                    continue
                room -= cost
            del self._waiting[chart]
            if frame is not None:
                chart.show_frame(frame)


def update_charts(updates: Iterable[tuple[DrawnChart, ChartData | None]], *, goes_on: bool) -> None:
    """Set the data of charts and draw them; in turns, where the app has them and the same pictures `goes_on`."""
    pairs = tuple(updates)
    turns: Turns | None = getattr(pairs[0][0].app, "turns", None) if pairs else None
    if turns is None:
        update_together(pairs)
    elif goes_on:
        turns.update(pairs)
    else:
        turns.set(pairs)


def update_together(updates: Iterable[tuple[DrawnChart, ChartData | None]]) -> None:
    """Set the data of charts and draw them."""
    charts = []
    for chart, data in updates:
        chart.set_reactive(DrawnChart.data, data)
        charts.append(chart)
    redraw_together(charts)
