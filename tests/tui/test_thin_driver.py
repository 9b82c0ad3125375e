"""Through the thin driver a terminal shows what it would have shown without, whatever the app does."""

from __future__ import annotations

import numpy as np
import pyte
import pytest
from textual.app import ComposeResult
from textual.driver import Driver
from textual.screen import ModalScreen
from textual.widgets import Input, Label

from tests.tui.charts.gallery import Gallery, loss
from tests.tui.test_cell_updates import visible
from thermotui.tui.charts.chart import Chart
from thermotui.tui.thin_driver import SYNC_END, SYNC_START, CellPainter, thin_driver


class Terminal(Driver):
    """A driver whose terminal is an emulator."""

    screen: pyte.Screen
    stream: pyte.Stream
    sent = 0

    def write(self, data: str) -> None:
        self.sent += len(data)
        self.stream.feed(data)

    def start_application_mode(self) -> None: ...

    def disable_input(self) -> None: ...

    def stop_application_mode(self) -> None: ...


class Question(ModalScreen[None]):
    def compose(self) -> ComposeResult:
        yield Label("漢字 wide and e\u0301 joined")
        yield Input("filter")


def terminal(kind: type[Driver], app: Gallery, width: int, height: int) -> Terminal:
    driver = kind(app)
    assert isinstance(driver, Terminal)
    driver.screen = pyte.Screen(width, height)
    driver.stream = pyte.Stream(driver.screen)
    return driver


def cells(driver: Terminal) -> list[list[tuple[object, ...]]]:
    screen = driver.screen
    return [[visible(screen.buffer[y][x]) for x in range(screen.columns)] for y in range(screen.lines)]


async def test_the_screen_is_the_same_and_costs_less(monkeypatch: pytest.MonkeyPatch) -> None:
    app = Gallery()
    async with app.run_test(size=(100, 30)) as pilot:
        plain = terminal(Terminal, app, 100, 30)
        thin = terminal(thin_driver(Terminal, lambda: app.size), app, 100, 30)

        def display(screen: object, update: object) -> None:
            if update is not None:
                text = update.render_segments(app.console)  # a CompositorUpdate
                plain.write(text)
                for data in (SYNC_START, text, SYNC_END):
                    thin.write(data)

        monkeypatch.setattr(app, "_display", display)

        async def same(what: str) -> None:
            await pilot.pause()
            await pilot.pause()
            assert cells(thin) == cells(plain), what

        app.refresh(layout=True)
        await same("first picture")
        thin.sent = 0
        app.refresh()
        await same("painted anew")
        assert thin.sent >= 100 * 30, "a wish to paint anew is granted"
        chart = app.query_one("#loss", Chart)
        plain.sent = thin.sent = 0
        for steps in range(2000, 4000, 100):
            chart.data = loss(steps)
            await same(f"{steps} steps")
        assert 6 * thin.sent < plain.sent
        chart.zoom_x(4)
        await same("zoom")
        chart.move_cursor(-3)
        await same("cursor")
        await app.push_screen(Question())
        await same("a dialog over the charts")
        await pilot.press("x", "y")
        await same("typing")
        await pilot.press("escape")
        app.pop_screen()
        await same("the dialog gone")
        app.theme = "textual-light"
        await same("another theme")
        for width, height in ((60, 20), (120, 40)):
            for driver in (plain, thin):
                driver.screen.resize(height, width)
            await pilot.resize_terminal(width, height)
            await same(f"{width} × {height}")


class Painted(Gallery):
    """The gallery with a painter, whose terminal is an emulator."""

    def __init__(self) -> None:
        super().__init__()
        self.painter = CellPainter()


async def test_painted_cells_are_those_that_the_compositor_would_show(monkeypatch: pytest.MonkeyPatch) -> None:
    app = Painted()
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        thin = terminal(thin_driver(Terminal, lambda: app.size, app.painter), app, 100, 30)
        painted: list[tuple[int, int]] = []
        paint = app.painter.paint

        def watched(x: int, y: int, characters: np.ndarray, styles: np.ndarray) -> None:
            painted.append((x, y))
            paint(x, y, characters, styles)

        def display(screen: object, update: object) -> None:
            if update is not None:
                thin.write(update.render_segments(app.console))  # a CompositorUpdate

        monkeypatch.setattr(app.painter, "paint", watched)
        monkeypatch.setattr(app, "_display", display)

        async def same(what: str, *, charts: int) -> None:
            await pilot.pause()
            await pilot.pause()
            plain = terminal(Terminal, app, 100, 30)
            plain.write(app.screen._compositor.render_full_update().render_segments(app.console))
            assert cells(thin) == cells(plain), what
            assert len(painted) == charts, what
            painted.clear()

        app.refresh(layout=True)
        await same("first picture", charts=0)
        chart = app.query_one("#loss", Chart)
        chart.data = loss(2500)
        await same("more steps", charts=1)
        chart.zoom_x(4)
        await same("a zoom of all", charts=4)
        chart.move_cursor(-3)
        await same("cursor", charts=2)
        app.notify("over the charts at the right", timeout=60)
        await same("a notice", charts=0)
        assert any("over the charts" in row for row in thin.screen.display)
        chart.zoom_x(0.5)
        await same("a zoom below the notice", charts=3)
        app.clear_notifications()
        await same("the notice gone", charts=0)
        app.theme = "textual-light"
        await same("another theme", charts=0)
        chart.zoom_x(2)
        await same("a zoom in another theme", charts=4)
        await app.push_screen(Question())
        await same("a dialog", charts=0)
        chart.zoom_x(2)
        await same("a zoom below the dialog", charts=0)
