"""Pictures of each view in three sizes, and of the busiest two in every theme, against those kept beside this file.

After a change that is meant: `pytest tests/tui/test_pictures.py --snapshot-update`, and look at what changed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from tests.tui import scripted
from tests.tui.driving import DirectReading, press
from thermotui.tui.actions import BY_NAME, VIEWS
from thermotui.tui.app import Settings, WatchApp
from thermotui.tui.mailbox import Mailbox
from thermotui.tui.poller import Poller
from thermotui.tui.themes import THEMES

SIZES = [(80, 24), (120, 36), (160, 48)]
NOW = scripted.CREATED + 60


def picture(snap_compare: Any, folder: Path, view: str, theme: str, size: tuple[int, int]) -> bool:
    poller = Poller(DirectReading([folder], NOW), 0.05, Mailbox())
    poller.start()
    app = WatchApp(poller, Settings(theme=theme))

    async def show(pilot: Pilot[None]) -> None:
        await press(pilot, "m", "j", "m", "k", BY_NAME[f"view_{view}"].keys[0])
        if view == "log":
            # The attributes hold the place of the file, which differs from run to run; the rows do not.
            await press(pilot, "down", "down")

    return bool(snap_compare(app, terminal_size=size, run_before=show))


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("view", VIEWS)
def test_view(snap_compare: Any, pictured: Path, view: str, size: tuple[int, int]) -> None:
    assert picture(snap_compare, pictured, view, "dark", size)


@pytest.mark.parametrize("theme", [name for name in THEMES if name != "dark"])
@pytest.mark.parametrize("view", ["dashboard", "layers"])
def test_theme(snap_compare: Any, pictured: Path, view: str, theme: str) -> None:
    assert picture(snap_compare, pictured, view, theme, (120, 36))


@pytest.fixture(scope="module")
def pictured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two comparable runs and one of another stride."""
    folder = tmp_path_factory.mktemp("pictured")
    created = scripted.CREATED
    scripted.scripted_log(folder / "batch-10.h5", created=created)
    scripted.scripted_log(folder / "batch-100.h5", rows=1500, state="interrupted", alerts=False, created=created - 1)
    scripted.scripted_log(folder / "every-step.h5", rows=300, state="failed", stride=1, created=created - 2)
    return folder
