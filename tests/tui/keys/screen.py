"""Keys of what one takes away, and of the screen as a whole."""

from __future__ import annotations

import base64
import json

from textual.command import CommandPalette
from textual.geometry import Region
from textual.pilot import Pilot

from tests.tui.driving import main_screen, press
from tests.tui.keys.checking import checks, key
from thermotui.tui.actions import ACTIONS
from thermotui.tui.dialogs.help import HelpScreen


@checks("save")
async def _save(pilot: Pilot[None]) -> None:
    await press(pilot, key("save"))
    folder = main_screen(pilot).save_to
    files = {file.suffix: file for file in folder.iterdir()}
    assert set(files) == {".svg", ".txt", ".json"}
    assert files[".svg"].read_text(encoding="utf-8").startswith("<svg")
    assert "alpha" in files[".txt"].read_text(encoding="utf-8")
    data = json.loads(files[".json"].read_text(encoding="utf-8"))
    assert data[0]["stride"] == 10
    assert data[0]["curves"]["thermo"]["fields"]["work"]["mean"][0] == 0.0


@checks("copy")
async def _copy(pilot: Pilot[None]) -> None:
    written: list[str] = []
    pilot.app._driver.write = written.append
    await press(pilot, key("copy"))
    sent = "".join(part for part in written if "\x1b]52;c;" in part)
    text = base64.b64decode(sent.split("\x1b]52;c;")[1].split("\a")[0]).decode()
    assert "W 2.9439 nats exact, Q −4.91 ± 0.05 nats" in text
    assert "stride 10" in text


@checks("theme")
async def _theme(pilot: Pilot[None]) -> None:
    await press(pilot, key("theme"))
    assert pilot.app.theme == "light"


@checks("commands")
async def _commands(pilot: Pilot[None]) -> None:
    await pilot.press(key("commands"))
    await pilot.pause(0.2)
    assert CommandPalette.is_open(pilot.app)
    await pilot.press(*"layers", "space", *"view")
    await pilot.pause(0.5)
    await pilot.press("enter")
    await pilot.pause(0.3)
    assert main_screen(pilot).stage.name_shown == "layers"


@checks("redraw")
async def _redraw(pilot: Pilot[None]) -> None:
    sent: list[int] = []
    pilot.app._display = lambda screen, update: sent.append(  # what goes to the terminal
        0 if update is None else update.render_segments(pilot.app.console).count("\x1b[1;1H")
    )
    await pilot.press(key("redraw"))
    await pilot.pause(0.2)
    assert any(sent), "from the first cell on"


@checks("help")
async def _help(pilot: Pilot[None]) -> None:
    await pilot.press(key("help"))
    await pilot.pause()
    assert isinstance(pilot.app.screen, HelpScreen)
    keys = pilot.app.screen.query_one("#keys")
    text = " ".join(" ".join(strip.text for strip in keys.render_lines(Region(0, 0, *keys.size))).split())
    for action in ACTIONS:
        assert action.title in text
    await pilot.press("escape")
    assert not isinstance(pilot.app.screen, HelpScreen)


@checks("quit")
async def _quit(pilot: Pilot[None]) -> None:
    await pilot.press(key("view_layers"), key("quit"))
    await pilot.pause()
    assert pilot.app.return_code == 0
    assert pilot.app.last_session.view == "layers"
