"""Dialogs close themselves and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.events import Click

from tests.tui.driving import main_screen, press, screen
from tests.tui.keys.checking import key
from thermotui.tui.dialogs.dialog import Dialog


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
