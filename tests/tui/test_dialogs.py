"""Dialogs close themselves and nothing else."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import Mock

import pytest
from textual.events import Click
from textual.geometry import Region
from textual.widgets import Input

from tests.tui.driving import main_screen, press, screen, until
from tests.tui.keys.checking import key
from thermotui.tui.actions import BY_NAME
from thermotui.tui.dialogs.dialog import Commands, Dialog


async def test_two_clicks_beside_the_palette_leave_the_screen_below_open(finished: Path) -> None:
    async with screen([finished]) as pilot:
        below = pilot.app.screen
        await press(pilot, key("commands"))
        palette = pilot.app.screen
        assert isinstance(palette, Dialog)
        for _ in range(2):
            palette.post_message(
                Click(palette, 0, 0, 0, 0, button=1, shift=False, meta=False, ctrl=False, screen_x=0, screen_y=0)
            )
        await pilot.pause()
        assert pilot.app.screen is below


async def test_what_a_key_does_stays_beside_the_keys_where_it_takes_two_lines(finished: Path) -> None:
    async with screen([finished], size=(140, 40)) as pilot:
        await press(pilot, key("help"))
        keys = pilot.app.screen.query_one("#keys")
        lines = [strip.text.rstrip() for strip in keys.render_lines(Region(0, 0, *keys.size))]
        first = next(index for index, line in enumerate(lines) if line.split()[:1] == [key("snooze")])
        assert lines[first].index("Snooze") == len(lines[first + 1]) - len(lines[first + 1].lstrip())


async def test_the_palette_is_deaf_once_it_is_closed(finished: Path) -> None:
    async with screen([finished]) as pilot:
        await press(pilot, key("commands"))
        palette = pilot.app.screen
        assert isinstance(palette, Commands)
        searches = palette._gather_commands = Mock()
        letters = palette.query_one(Input)
        palette.dismiss()
        for message in (Input.Changed(letters, "heat"), Input.Submitted(letters, "heat")):
            assert palette.post_message(message)
        await pilot.pause()
        # What was under way has its say when the list is gone.
        for _ in range(2):
            palette._list_visible = not palette._list_visible
        await palette._watch__show_busy()
        searches.assert_not_called()
        assert not isinstance(pilot.app.screen, Dialog)


@pytest.mark.parametrize("name", ["help", "commands", "choose_panels"])
async def test_a_dialog_closed_twice_leaves_the_screen_below_open(name: str, finished: Path) -> None:
    async with screen([finished]) as pilot:
        below = pilot.app.screen
        await press(pilot, key(name))
        dialog = pilot.app.screen
        assert isinstance(dialog, Dialog)
        dialog.dismiss()
        await pilot.pause()
        dialog.dismiss()
        await pilot.pause()
        assert pilot.app.screen is below
        await press(pilot, key("view_layers"))
        assert main_screen(pilot).stage.name_shown == "layers"


@pytest.mark.parametrize("name", ["help", "choose_panels"])
async def test_the_palette_takes_the_place_of_another_dialog(name: str, finished: Path) -> None:
    async with screen([finished]) as pilot:
        main = main_screen(pilot)
        await press(pilot, key(name))
        if name == "choose_panels":
            await press(pilot, "space")
        await press(pilot, key("commands"))
        assert isinstance(pilot.app.screen, Commands)
        assert len(pilot.app.screen_stack) == 2
        await press(pilot, *BY_NAME["view_layers"].title, "enter")
        await until(pilot, lambda: main.stage.name_shown == "layers")
        assert bool(main.look.hidden_panels) == (name == "choose_panels")
