"""The screen over logs without a child process, and waiting for what it shows."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from textual.pilot import Pilot

from thermotui.analysis.snapshot import Query, Tick
from thermotui.analysis.workspace import Workspace
from thermotui.tui.app import Settings, WatchApp
from thermotui.tui.mailbox import Mailbox
from thermotui.tui.main_screen import MainScreen
from thermotui.tui.poller import Poller

DEADLINE = 30.0
"""Seconds that the screen may take to show something."""


class DirectReading:
    """Reads as the child process does, but in the poller's thread. `now` holds the clock still for pictures."""

    def __init__(self, paths: list[Path], now: float | None = None) -> None:
        self.workspace = Workspace(paths)
        self.now = now

    def ask(self, query: Query) -> Tick | None:
        return self.workspace.tick(query, self.now)


@asynccontextmanager
async def screen(
    paths: list[Path], *, size: tuple[int, int] = (120, 36), now: float | None = None, **settings: object
) -> AsyncIterator[Pilot[None]]:
    """The screen on these paths, every run read and the first view drawn."""
    reading = DirectReading(paths, now)
    poller = Poller(reading, 0.05, Mailbox())
    poller.start()
    app = WatchApp(poller, Settings(**({"theme": "dark"} | settings)))
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        yield pilot
    app.poller.join(5)
    reading.workspace.close()


def main_screen(pilot: Pilot[None]) -> MainScreen:
    """The main screen of the app under test."""
    assert isinstance(pilot.app, WatchApp)
    return pilot.app.main


async def settle(pilot: Pilot[None]) -> None:
    """Wait until the newest question is answered and shown."""
    app = pilot.app
    assert isinstance(app, WatchApp)
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        await pilot.pause(0.01)
        shown = app.main.snapshots.get(app.main.selected)
        unreadable = any(run.problem for run in app.main.runs if run.path == app.main.selected)
        answered = app.poller.idle and app.poller.mailbox.look(0) is None
        if app.main.runs and (unreadable or shown is not None) and answered:
            await pilot.pause()
            return
    raise AssertionError("the screen did not settle")


async def press(pilot: Pilot[None], *keys: str) -> None:
    """Press keys one after the other and wait until what they ask for is shown."""
    for key in keys:
        await pilot.press(key)
    await settle(pilot)


async def wait_for(pilot: Pilot[None], words: str) -> None:
    """Wait until the words are on the screen."""
    await until(pilot, lambda: words in text_of(pilot), f"{words!r} on the screen")


async def until(pilot: Pilot[None], holds: Callable[[], object], what: str = "what was waited for") -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        await pilot.pause(0.02)
        if holds():
            return
    raise AssertionError(f"never came: {what}\n{text_of(pilot)}")


def text_of(pilot: Pilot[None]) -> str:
    """The text on the screen, line by line."""
    return "\n".join(strip.text.rstrip() for strip in pilot.app.screen._compositor.render_strips())
