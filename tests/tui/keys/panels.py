"""Keys of panels and of alerts."""

from __future__ import annotations

from textual.pilot import Pilot
from textual.widgets import SelectionList

from tests.tui.driving import main_screen, press, settle, text_of
from tests.tui.keys.checking import checks, key
from thermotui.tui.charts.chart import Chart
from thermotui.tui.charts.layers import Heatmap
from thermotui.tui.views.dashboard import Dashboard
from thermotui.tui.views.layers import LayersView
from thermotui.tui.views.log_browser import LogBrowser
from thermotui.tui.widgets.run_list import RunList
from thermotui.tui.widgets.table import Table


@checks("next_panel", "previous_panel", "full_screen", "back")
async def _panels(pilot: Pilot[None]) -> None:
    await press(pilot, key("next_panel"), key("next_panel"), key("previous_panel"), key("next_panel"))
    dashboard = pilot.app.screen.query_one(Dashboard)
    assert pilot.app.focused is dashboard.query_one("#panel-entropy_production")
    await press(pilot, key("full_screen"))
    assert dashboard.shown == ("entropy_production",)
    assert dashboard.query_one("#panel-entropy_production").size == dashboard.size
    await press(pilot, key("back"))
    assert len(dashboard.shown) > 4
    await press(pilot, key("back"))
    assert pilot.app.focused is None


@checks("choose_panels")
async def _choose(pilot: Pilot[None]) -> None:
    await pilot.press(key("choose_panels"))
    await pilot.pause()
    assert isinstance(pilot.app.screen.query_one(SelectionList), SelectionList)
    await pilot.press("space", "escape")
    await settle(pilot)
    assert "heat_work" not in main_screen(pilot).query_one(Dashboard).shown


@checks("quantity", "next_layer", "previous_layer")
async def _layers(pilot: Pilot[None]) -> None:
    await press(pilot, key("view_layers"), key("next_layer"), key("next_layer"), key("previous_layer"))
    assert pilot.app.screen.query_one(Heatmap).selected == 1
    assert pilot.app.screen.query_one("#curve", Chart).data.series[0].name == "linear1"
    await press(pilot, key("quantity"))
    assert pilot.app.screen.query_one(LayersView).quantity == 1
    assert "Force" in text_of(pilot)


@checks("earlier_rows", "later_rows")
async def _rows(pilot: Pilot[None]) -> None:
    await press(pilot, key("view_log"), "down")
    browser = pilot.app.screen.query_one(LogBrowser)
    table = browser.query_one("#rows", Table)
    assert table.rows[-1].key == "1999"
    await press(pilot, key("earlier_rows"))
    first = int(table.rows[0].key)
    assert int(table.rows[-1].key) < 1999
    await press(pilot, key("earlier_rows"))
    assert int(table.rows[0].key) < first
    await press(pilot, key("later_rows"), key("later_rows"), key("later_rows"))
    assert table.rows[-1].key == "1999"
    await press(pilot, key("pan_right"))
    assert browser.first_column == 1


@checks("next_alert", "previous_alert")
async def _jump(pilot: Pilot[None]) -> None:
    steps = main_screen(pilot).steps
    await press(pilot, key("next_alert"))
    assert steps.cursor == 700
    assert steps.x_range and steps.x_range[0] < 700 < 760 < steps.x_range[1] < 1200
    await press(pilot, key("next_alert"))
    assert steps.cursor == 1200
    await press(pilot, key("previous_alert"))
    assert steps.cursor == 700


def listed_alerts(pilot: Pilot[None]) -> str:
    return next(row.cells[3].text for row in pilot.app.screen.query_one(RunList).rows if row.cells[1].text == "alpha")


@checks("acknowledge", "filter_alerts")
async def _alerts(pilot: Pilot[None]) -> None:
    await press(pilot, key("view_alerts"))
    table = pilot.app.screen.query_one("#alerts", Table)
    assert [row.cells[2].text for row in table.rows] == ["temperature jump", "loss spike"]
    await press(pilot, key("acknowledge"))
    assert [row.cells[0].text for row in table.rows] == ["x", ""]
    assert listed_alerts(pilot) == "‼1"
    await press(pilot, "down", key("acknowledge"))
    assert listed_alerts(pilot) == ""
    await press(pilot, key("acknowledge"), "up")
    kept = []
    for _ in range(7):
        await press(pilot, key("filter_alerts"))
        kept.append((pilot.app.screen.query_one("AlertsView").choice, len(table.rows)))
    assert kept == [
        ("open", 1),
        ("critical", 1),
        ("unacknowledged", 1),
        ("kind", 1),
        ("layer", 1),
        ("snoozed", 0),
        ("all", 2),
    ]


@checks("snooze")
async def _snooze(pilot: Pilot[None]) -> None:
    await press(pilot, key("view_alerts"), "down", key("snooze"))
    table = pilot.app.screen.query_one("#alerts", Table)
    assert [row.cells[2].text for row in table.rows] == ["temperature jump"]
    assert listed_alerts(pilot) == "!1"
    await press(pilot, *[key("filter_alerts")] * 6)
    assert [row.cells[2].text for row in table.rows] == ["loss spike"]
    await press(pilot, "up", key("snooze"))
    assert not table.rows and listed_alerts(pilot) == "‼2"
    await press(pilot, key("view_dashboard"), key("snooze"))
    assert not main_screen(pilot).look.snoozed, "only where one sees which alert it is"
