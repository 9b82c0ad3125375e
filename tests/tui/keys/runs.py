"""Keys of views and of the list of runs."""

from __future__ import annotations

from textual.pilot import Pilot

from tests.tui.driving import main_screen, press, text_of
from tests.tui.keys.checking import checks, key
from thermotui.tui.actions import VIEWS
from thermotui.tui.views.dashboard import Dashboard
from thermotui.tui.widgets.run_list import RunList


@checks(*(f"view_{view}" for view in VIEWS))
async def _views(pilot: Pilot[None]) -> None:
    for view in (*VIEWS, *reversed(VIEWS)):
        await press(pilot, key(f"view_{view}"))
        assert main_screen(pilot).stage.name_shown == view
        assert text_of(pilot).splitlines()[-1].startswith(view)
        assert [child.display for child in main_screen(pilot).stage.children].count(True) == 1


@checks("next_run", "previous_run")
async def _runs(pilot: Pilot[None]) -> None:
    main = main_screen(pilot)
    first = main.selected
    await press(pilot, key("next_run"))
    second = main.selected
    assert second != first
    assert main.stage.snapshots[0].path == second
    await press(pilot, key("previous_run"))
    assert main.selected == first


@checks("toggle_runs")
async def _toggle(pilot: Pilot[None]) -> None:
    width = pilot.app.screen.query_one(Dashboard).size.width
    await press(pilot, key("toggle_runs"))
    assert pilot.app.screen.query_one(Dashboard).size.width > width
    await press(pilot, key("toggle_runs"))
    assert pilot.app.screen.query_one(Dashboard).size.width == width


def names(pilot: Pilot[None]) -> list[str]:
    return [row.cells[1].text for row in pilot.app.screen.query_one(RunList).rows]


@checks("filter_runs")
async def _filter(pilot: Pilot[None]) -> None:
    await press(pilot, key("filter_runs"), *"gaus", "enter")
    assert names(pilot) == ["beta"]
    await press(pilot, "escape")
    assert len(names(pilot)) == 4
    await press(pilot, key("filter_runs"), *"learning_rate", "greater_than_sign", *"0.2", "enter")
    assert names(pilot) == ["gamma"]


@checks("sort_runs")
async def _sort(pilot: Pilot[None]) -> None:
    await press(pilot, key("sort_runs"))
    assert main_screen(pilot).order == "name"
    assert names(pilot) == ["alpha", "beta", "delta", "gamma"]


@checks("group_runs")
async def _group(pilot: Pilot[None]) -> None:
    await press(pilot, key("group_runs"))
    assert names(pilot) == ["gaussian", "beta", "softmax", "alpha", "gamma", "unknown", "delta"]
    for _ in range(8):
        await press(pilot, key("next_run"))
    assert main_screen(pilot).selected.endswith("delta.h5")


@checks("mark_run")
async def _mark(pilot: Pilot[None]) -> None:
    await press(pilot, key("mark_run"), key("next_run"), key("mark_run"), key("view_compare"))
    assert names(pilot)[:2] == ["+alpha", "+beta"]
    assert {snapshot.summary.name for snapshot in main_screen(pilot).stage.snapshots} == {"alpha", "beta"}
    await press(pilot, key("mark_run"))
    assert names(pilot)[:2] == ["+alpha", "beta"]
