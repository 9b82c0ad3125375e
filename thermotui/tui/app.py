"""The application: takes ticks from the poller to the main screen; themes, palette, help, and what one takes away."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.driver import Driver
from textual.events import Event, InputEvent, MouseMove, Resize
from textual.geometry import Size
from textual.message import Message
from textual.screen import Screen

from thermotui.analysis.memory import give_back_free_pages
from thermotui.analysis.snapshot import Tick
from thermotui.tui.actions import ACTIONS, hints
from thermotui.tui.ascii_driver import ascii_driver
from thermotui.tui.caches import MAXIMUM_ENTRIES, empty_caches, empty_large_widget_caches
from thermotui.tui.charts.raster import Mode
from thermotui.tui.charts.turns import Turns
from thermotui.tui.main_screen import MainScreen
from thermotui.tui.poller import Poller
from thermotui.tui.preferences import Preferences
from thermotui.tui.session import Session
from thermotui.tui.strips import free_strips
from thermotui.tui.themes import all_themes, check_theme, fitting_theme
from thermotui.tui.thin_driver import CellPainter, thin_driver
from thermotui.tui.views.view import Look

SETTLING_SECONDS = 1.0
"""Time after the first frame when nothing is imported or mounted any more that stays until the end."""
TIDYING_SECONDS, QUIET_SECONDS = 3.0, 1.0
"""Time between two looks at whether there is something to tidy up, and time without a key before it is done."""


class Settings(NamedTuple):
    """How the screen starts. theme: empty for what fits the terminal."""

    theme: str = ""
    mode: Mode = "braille"
    save_to: Path = Path()
    preferences: Preferences = Preferences()
    session: Session = Session()


class WatchApp(App[None]):
    """`thermotui watch`. After it ended, `failure` says what made it end; `last_session`, how it was looked at."""

    TITLE = "thermotui"
    COMMAND_PALETTE_BINDING = "colon"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(",".join(action.keys), action.action, action.title, id=action.name, show=False)
        for action in ACTIONS
        if action.group == "Screen"
    ]

    class Ticked(Message):
        """Something new is in the mailbox."""

    def __init__(self, poller: Poller, settings: Settings | None = None) -> None:
        # The driver is chosen while Textual is initialised.
        self.settings = settings or Settings()
        self.painter = CellPainter()
        self.turns = Turns(self.painter)
        free_strips()
        super().__init__()
        self.failure = ""
        self.last_session = self.settings.session
        self._theme_chosen = False
        self._touched: float | None = None
        """When something was last pressed or resized that was not yet tidied up."""
        self._resized = False
        """Whether the terminal has got another size since what it left behind was last tidied up."""
        self.poller = poller
        session, preferences = self.settings.session, self.settings.preferences
        self.main = MainScreen(
            session.view,
            self._first_look(session),
            self.settings.save_to,
            poller.mailbox.take,
            poller,
            hints(preferences.keys),
        )
        self.main.restore(session)
        self._themes = all_themes(preferences.themes)
        for theme in self._themes.values():
            self.register_theme(theme)
        wanted = self.settings.theme or session.theme or preferences.theme or fitting_theme()
        self.theme = check_theme(wanted, self._themes)
        self.set_keymap(preferences.keys)
        self.animation_level = "none"

    def _first_look(self, session: Session) -> Look:
        return Look(
            mode=self.settings.mode,
            hidden_panels=frozenset(session.hidden_panels),
            acknowledged=frozenset(session.acknowledged),
        )

    def prepare(self, tick: Tick, size: Size) -> None:
        """Before it runs: ask for what it will show first, on a terminal of that size, of the runs in `tick`."""
        query = self.main.prepare(tick, size)
        if query is not None:
            self.poller.query = query

    def get_driver_class(self) -> type[Driver]:
        """The platform's driver, sending only the cells that differ, and ASCII alone where that is wanted."""
        driver = super().get_driver_class()
        if self.settings.mode == "ascii":
            driver = ascii_driver(driver)
        return thin_driver(driver, lambda: self.size, self.painter, self._lose_terminal)

    def get_default_screen(self) -> Screen[Any]:
        """The main screen."""
        return self.main

    def on_mount(self) -> None:
        """Leave in good order when ended from outside, by `kill` or a dropped connection."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGHUP):
                asyncio.get_running_loop().add_signal_handler(number, self.exit)
        if not self.is_headless and sys.__stdin__ is not None and os.isatty(sys.__stdin__.fileno()):
            self.set_interval(TIDYING_SECONDS, partial(self._leave_with_terminal, sys.__stdin__.fileno()))

    def _leave_with_terminal(self, descriptor: int) -> None:
        """End where the terminal is gone and no signal told: Textual reads from it for ever, on a whole processor."""
        poll = select.poll()
        poll.register(descriptor, 0)
        if poll.poll(0):
            self.exit()

    def _lose_terminal(self, error: OSError) -> None:
        """End: there is nobody to show anything, and where the terminal is gone nobody to tell."""
        if error.errno == errno.EIO:
            self.exit()
        else:
            self.failure = f"the terminal can no longer be used: {error.strerror}."
            self.exit(return_code=2)

    def on_main_screen_ready(self) -> None:
        """Take what was read meanwhile, and what comes."""
        if not gc.isenabled():
            self.set_timer(SETTLING_SECONDS, self._collect_again)
        self.poller.mailbox.listen(self._tell)

    def _collect_again(self) -> None:
        """Switch the collector on that the start had switched off; what was made until now is not looked through."""
        gc.freeze()
        gc.enable()
        self.set_interval(TIDYING_SECONDS, self._tidy)

    async def on_event(self, event: Event) -> None:
        """Note when something was last done, and before its answer show what charts have waited with."""
        if isinstance(event, InputEvent | Resize):
            self._touched = time.monotonic()
            self._resized |= isinstance(event, Resize)
            if not isinstance(event, MouseMove):
                self.main.left_alone &= isinstance(event, Resize)
                self.turns.lift()
        await super().on_event(event)

    def _tidy(self) -> None:
        """Collect what keys and sizes have left behind once nobody waits for an answer to the next.

        A dialog that was closed refers to itself, with all that it had drawn, and what waits for the collector to come
        by on its own is room that the next one cannot have.
        """
        if self._touched is not None and time.monotonic() - self._touched > QUIET_SECONDS:
            self._touched = None
            # Of another size nearly every entry is another one.
            empty_caches(0 if self._resized else MAXIMUM_ENTRIES)
            self._resized = False
            self.main.stage.view.forget_ahead()
            empty_large_widget_caches(self.main)
            gc.collect()
            give_back_free_pages()

    def _tell(self) -> None:
        self.post_message(self.Ticked())

    def on_unmount(self) -> None:
        """Stop to read."""
        self.poller.stop()

    async def action_quit(self) -> None:
        """Leave, remembering how the workspace was looked at."""
        theme = self.theme if self._theme_chosen else self.last_session.theme
        self.last_session = self.main.remember()._replace(theme=theme)
        self.exit()

    def on_watch_app_ticked(self) -> None:
        """Hand what is new to the main screen, or let it look ahead; leave where no more will come."""
        if not self.is_running:
            # The last word of the poller may come when the widgets have gone.
            return
        tick = self.poller.mailbox.take()
        if tick is not None:
            self.main.take(tick)
        elif self.poller.mailbox.failure:
            self.failure = self.poller.mailbox.failure
            self.exit(return_code=2)
        else:
            self.main.draw_ahead()

    def action_redraw(self) -> None:
        """Send every cell again; otherwise only those that differ are sent."""
        self.refresh()

    def action_theme(self) -> None:
        """The next theme."""
        names = list(self._themes)
        self.choose_theme(names[(names.index(self.theme) + 1) % len(names)])
        self.notify(f"theme: {self.theme}", timeout=2)

    def choose_theme(self, name: str) -> None:
        """Use a theme, and remember it."""
        self.theme = name
        self._theme_chosen = True

    def action_help(self) -> None:
        """All keys."""
        from thermotui.tui.dialogs.help import HelpScreen

        if not isinstance(self.screen, HelpScreen):
            self.push_screen(HelpScreen(self.settings.preferences.keys))

    def action_commands(self) -> None:
        """Choose an action by its words."""
        self.action_command_palette()

    def action_command_palette(self) -> None:
        """Choose an action by its words, in a palette that takes the place of any other dialog.

        Over one its actions would be done to that dialog, which knows none of them.
        """
        from thermotui.tui.dialogs.dialog import Commands, Dialog

        if isinstance(self.screen, Commands):
            return
        if isinstance(self.screen, Dialog):
            self.screen.action_leave()
        self.push_screen(Commands(id="--command-palette"))

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """Every action of the registry, and each theme."""
        for action in ACTIONS:
            owner = "app" if action.group == "Screen" or "." in action.action else "screen"
            called = action.action if "." in action.action else f"{owner}.{action.action}"
            yield SystemCommand(action.title, action.group, partial(self.run_action, called))
        for name in self._themes:
            yield SystemCommand(f"Theme {name}", "Screen", partial(self.choose_theme, name))

    async def action_back(self) -> None:
        """Out of a filter, a full-screen panel, a focus, a zoom: one at a time."""
        self.main.go_back()
