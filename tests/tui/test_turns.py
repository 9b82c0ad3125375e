"""Charts that take turns: no look sends more than the line should carry, and what is shown always belongs together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import numpy as np
import pytest
from textual.app import App, ComposeResult
from textual.containers import Grid
from textual.pilot import Pilot

from tests.tui.test_thin_driver import Terminal
from thermotui.tui.charts import turns as limits
from thermotui.tui.charts.chart import Chart
from thermotui.tui.charts.frame import blank, bytes_between
from thermotui.tui.charts.model import ChartData, raw_series
from thermotui.tui.charts.turns import Turns, update_charts
from thermotui.tui.thin_driver import CellPainter, thin_driver

SIZE = 160, 60
CHARTS = 24
GROWN = 17_000
"""Steps that outgrow an axis of 4⁷ steps."""


def totals(steps: int, title: str = "Work") -> ChartData:
    x = np.arange(0, steps, 10)
    return ChartData(title, "nats", (raw_series("W", x, np.sqrt(x), 0.1 + x / 1e4),), totals=True)


class Taking(App[None]):
    """Charts that take turns, on an emulated terminal, and a clock of their own."""

    CSS = "Grid { grid-size: 4 6; grid-gutter: 0 1; }"

    def __init__(self) -> None:
        super().__init__()
        self.painter = CellPainter()
        self.now = 0.0
        self.turns = Turns(self.painter, lambda: self.now)
        self.charts = [Chart(totals(10_000)) for _ in range(CHARTS)]

    def compose(self) -> ComposeResult:
        with Grid():
            yield from self.charts

    def look(self, data: ChartData, *, seconds: float = 1.0, goes_on: bool = True) -> None:
        """A look at the logs so many seconds after the one before."""
        self.now += seconds
        update_charts([(chart, data) for chart in self.charts], goes_on=goes_on)

    def behind(self, data: ChartData) -> int:
        """Charts that do not show these data yet."""
        return sum(chart.data is not data for chart in self.charts)


@asynccontextmanager
async def taking(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Taking, Pilot[None]]]:
    app = Taking()
    async with app.run_test(size=SIZE) as pilot:
        driver = thin_driver(Terminal, lambda: app.size, app.painter)(app)
        monkeypatch.setattr(driver, "screen", None, raising=False)
        monkeypatch.setattr(Terminal, "write", lambda self, data: None)

        def display(screen: object, update: object) -> None:
            if update is not None:
                driver.write(update.render_segments(app.console))  # a CompositorUpdate

        monkeypatch.setattr(app, "_display", display)
        app.refresh(layout=True)
        await pilot.pause()
        app.look(totals(10_000), seconds=10.0)
        await pilot.pause()
        assert app.painter.ready
        yield app, pilot


async def test_a_growing_axis_is_painted_chart_by_chart_within_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    async with taking(monkeypatch) as (app, pilot):
        began = before = app.painter.sent
        looks, waited = 0, []
        while looks < 20:
            looks += 1
            app.look(totals(GROWN + 10 * looks))
            await pilot.pause()
            assert app.painter.sent - before < limits.PER_LOOK + limits.SAVED_UP + 500
            before = app.painter.sent
            newest = max(chart.data.extent()[1] for chart in app.charts if chart.data)
            waited.append(sum(chart.data.extent()[1] < newest for chart in app.charts if chart.data))
            for chart in app.charts:
                # Whoever waits keeps the axis that its older data had.
                last = chart.data.extent()[1] if chart.data else 0.0
                assert (chart.shown_range[1] > 4**7) == (last > 4**7)
                assert chart.shown_frame is not None
                again = chart.draw_frame(*chart.size)
                assert chart.shown_frame.same(again)
        assert 0 < waited[0] < CHARTS
        assert waited[-1] == 0
        assert app.painter.sent - began <= 20 * limits.PER_LOOK + limits.SAVED_UP + 500


async def test_who_waits_is_painted_where_nothing_new_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "AGAIN", 0.01)
    async with taking(monkeypatch) as (app, pilot):
        data = totals(GROWN)
        app.look(data)
        assert 0 < app.behind(data) < CHARTS
        for _ in range(200):
            app.now += 1.0
            await pilot.pause(0.01)
            if not app.behind(data):
                break
        assert not app.behind(data)


async def test_a_key_shows_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async with taking(monkeypatch) as (app, _):
        data = totals(GROWN)
        app.look(data)
        assert app.behind(data)
        app.turns.lift()
        assert not app.behind(data)
        answer = totals(5 * GROWN)
        app.look(answer, seconds=limits.LIFTED / 2)
        assert not app.behind(answer), "what a key has asked for comes a little later"


async def test_something_else_is_shown_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async with taking(monkeypatch) as (app, pilot):
        app.look(totals(GROWN))
        other = totals(GROWN, "Another run")
        app.look(other, seconds=0.0, goes_on=False)
        assert not app.behind(other)
        await pilot.pause()
        app.look(replace(other), seconds=20.0)
        assert not app.turns._waiting


async def test_nobody_waits_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    async with taking(monkeypatch) as (app, _):
        monkeypatch.setattr(limits, "PER_LOOK", 0.0)
        monkeypatch.setattr(app.turns, "_allowed", 0.0)
        data = totals(GROWN)
        app.look(data)
        assert app.behind(data) == CHARTS
        app.look(data, seconds=limits.LATEST)
        assert not app.behind(data)


async def test_a_chart_that_shows_nothing_yet_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    async with taking(monkeypatch) as (app, _):
        app.look(replace(totals(10), series=()), goes_on=False)
        monkeypatch.setattr(limits, "PER_LOOK", 0.0)
        monkeypatch.setattr(app.turns, "_allowed", 0.0)
        data = totals(GROWN)
        app.look(data)
        assert not app.behind(data)


def test_bytes_between_counts_characters_and_moves() -> None:
    old, new = blank(2, 20), blank(2, 20)
    new.write(0, 1, "abc")
    new.write(0, 10, "−")
    assert bytes_between(old, old) == 0
    assert bytes_between(old, new) == 3 + 3 + 2 * 5


async def test_an_app_that_ends_while_charts_wait_ends_in_good_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "AGAIN", 0.05)
    failures: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: failures.append(context))
    async with taking(monkeypatch) as (app, pilot):
        app.look(totals(GROWN))
        await pilot.pause()
        assert app.turns._waiting
        sent = app.painter.sent
    app.now += limits.LATEST
    await asyncio.sleep(0.1)
    assert not failures and not app.turns._waiting
    assert app.painter.sent == sent
