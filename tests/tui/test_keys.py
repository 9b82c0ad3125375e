"""Every key of the registry does what its line in the help says."""

from __future__ import annotations

import base64
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from textual.command import CommandPalette
from textual.pilot import Pilot
from textual.widgets import Input, SelectionList

from tests.tui.driving import main_screen, press, screen, settle, text_of
from thermotui.tui.actions import ACTIONS, BY_NAME, SYMBOLS, VIEWS
from thermotui.tui.charts.chart import Chart
from thermotui.tui.charts.layers import Heatmap, LayerSparklines
from thermotui.tui.dialogs.help import HelpScreen
from thermotui.tui.views.dashboard import Dashboard
from thermotui.tui.views.layers import LayersView
from thermotui.tui.views.log_browser import LogBrowser
from thermotui.tui.widgets.run_list import RunList
from thermotui.tui.widgets.table import Table

Check = Callable[[Pilot[None]], Awaitable[None]]
CHECKS: dict[str, Check] = {}


def checks(*names: str) -> Callable[[Check], Check]:
    def register(check: Check) -> Check:
        CHECKS.update(dict.fromkeys(names, check))
        return check

    return register


def key(name: str) -> str:
    return BY_NAME[name].keys[0]


def shown_range(pilot: Pilot[None]) -> tuple[float, float]:
    return pilot.app.screen.query(Chart).first().shown_range


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


@checks("zoom_in", "zoom_out", "zoom_all", "pan_left", "pan_right")
async def _zoom(pilot: Pilot[None]) -> None:
    whole = shown_range(pilot)
    await press(pilot, key("zoom_in"))
    start, end = shown_range(pilot)
    assert end - start == pytest.approx((whole[1] - whole[0]) / 2)
    assert {chart.shown_range for chart in pilot.app.screen.query(Chart) if chart.display} == {(start, end)}
    await press(pilot, key("pan_left"))
    assert shown_range(pilot)[0] < start
    await press(pilot, key("pan_right"), key("pan_right"))
    assert shown_range(pilot)[0] > start
    await press(pilot, key("zoom_out"))
    assert shown_range(pilot)[1] - shown_range(pilot)[0] == pytest.approx(whole[1] - whole[0])
    await press(pilot, key("zoom_in"), key("zoom_in"), key("zoom_all"))
    assert shown_range(pilot) == whole


@checks("zoom_values_in", "zoom_values_out", "pan_values_up", "pan_values_down")
async def _values(pilot: Pilot[None]) -> None:
    chart = main_screen(pilot).chart()
    assert chart and chart.shown_axis
    before = chart.shown_axis
    await press(pilot, key("zoom_values_in"))
    inside = chart.shown_axis
    assert before.low < inside.low < inside.high < before.high
    await press(pilot, key("pan_values_up"))
    assert chart.shown_axis.low > inside.low
    await press(pilot, key("pan_values_down"), key("pan_values_down"))
    assert chart.shown_axis.low < inside.low
    await press(pilot, key("zoom_values_out"))
    assert chart.shown_axis.high - chart.shown_axis.low == pytest.approx(before.high - before.low)


@checks("follow_latest")
async def _follow(pilot: Pilot[None]) -> None:
    await press(pilot, key("follow_latest"))
    start, end = shown_range(pilot)
    assert start > 1000
    assert end >= 1999


@checks("cursor_left", "cursor_right", "cursor_off")
async def _cursor(pilot: Pilot[None]) -> None:
    steps = main_screen(pilot).steps
    await press(pilot, key("cursor_left"))
    first = steps.cursor
    assert first is not None
    await press(pilot, key("cursor_left"))
    assert steps.cursor is not None and steps.cursor < first
    await press(pilot, key("cursor_right"))
    assert steps.cursor == pytest.approx(first)
    assert f"step {steps.cursor:.0f}" in text_of(pilot)
    await press(pilot, key("cursor_off"))
    assert steps.cursor is None


@checks("scale")
async def _scale(pilot: Pilot[None]) -> None:
    rows = pilot.app.screen.query_one(LayerSparklines)
    assert rows.scale == "log"
    assert "[nats] log" in text_of(pilot)
    for scale in ("linear", "log", "symlog"):
        await press(pilot, key("scale"))
        assert {widget.scale for widget in (rows, *pilot.app.screen.query(Chart))} == {scale}
    await press(pilot, key("scale"), key("view_layers"))
    assert pilot.app.screen.query_one("#curve", Chart).scale == "log"
    await press(pilot, key("quantity"))
    assert pilot.app.screen.query_one("#curve", Chart).scale == "linear"


@checks("smooth")
async def _smooth(pilot: Pilot[None]) -> None:
    main = main_screen(pilot)
    raw = main.stage.snapshots[0].curves["steps"].mean["loss"]
    await press(pilot, key("smooth"))
    snapshot = main.stage.snapshots[0]
    assert snapshot.smoothing == 16
    assert abs(snapshot.curves["steps"].mean["loss"] - raw).max() > 0.01
    assert "smoothed" in text_of(pilot)


@checks("align")
async def _align(pilot: Pilot[None]) -> None:
    await press(pilot, key("mark_run"), key("next_run"), key("mark_run"), key("view_compare"))
    assert "by step" in text_of(pilot)
    await press(pilot, key("align"))
    assert "by time" in text_of(pilot)
    chart = pilot.app.screen.query_one("#compare-loss", Chart)
    assert chart.data and chart.data.x_label == "second"
    assert chart.data.series[0].x[-1] < 200


@checks("pause")
async def _pause(pilot: Pilot[None]) -> None:
    await press(pilot, key("pause"))
    assert "paused" in text_of(pilot)
    await press(pilot, key("pause"))
    assert "following" in text_of(pilot)


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
    assert pilot.app.screen.query_one("#curve", Chart).data.series[0].name == "linear1"  # type: ignore[union-attr]
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
    pilot.app._driver.write = written.append  # type: ignore[union-attr,method-assign]
    await press(pilot, key("copy"))
    sent = "".join(part for part in written if "\x1b]52;c;" in part)
    text = base64.b64decode(sent.split("\x1b]52;c;")[1].split("\a")[0]).decode()
    assert "W 2.9439 nats exact, Q −4.91 ± 0.05 nats" in text
    assert "stride 10" in text


@checks("theme")
async def _theme(pilot: Pilot[None]) -> None:
    await press(pilot, key("theme"))
    assert pilot.app.theme == "light"


@checks("glyphs")
async def _glyphs(pilot: Pilot[None]) -> None:
    await press(pilot, key("glyphs"), key("glyphs"))
    assert {chart.mode for chart in pilot.app.screen.query(Chart)} == {"ascii"}


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
    pilot.app._display = lambda screen, update: sent.append(  # type: ignore[method-assign]  # what goes to the terminal
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
    text = str(pilot.app.screen.query_one("Static").render())
    for action in ACTIONS:
        assert action.title in text
    await pilot.press("escape")
    assert not isinstance(pilot.app.screen, HelpScreen)


@checks("quit")
async def _quit(pilot: Pilot[None]) -> None:
    await pilot.press(key("view_layers"), key("quit"))
    await pilot.pause()
    assert pilot.app.return_code == 0
    assert pilot.app.last_session.view == "layers"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "check", sorted(set(CHECKS.values()), key=lambda check: check.__name__), ids=lambda c: c.__name__
)
async def test_key(check: Check, workspace: Path, tmp_path: Path) -> None:
    saved = tmp_path / "saved"
    saved.mkdir()
    async with screen([workspace], size=(120, 40), save_to=saved) as pilot:
        await check(pilot)


def test_every_action_has_a_test() -> None:
    assert set(CHECKS) == set(BY_NAME)


def test_no_key_that_a_multiplexer_or_a_shell_takes() -> None:
    for action in ACTIONS:
        for each in action.keys:
            assert not each.startswith("ctrl+"), action
            assert len(each) == 1 or each in SYMBOLS or each in (
                "up", "down", "left", "right", "tab", "shift+tab", "escape", "space", "f1", "pageup", "pagedown",
            )  # fmt: skip


def test_no_key_twice() -> None:
    keys = [each for action in ACTIONS for each in action.keys]
    assert len(keys) == len(set(keys))


async def test_enter_on_an_alert_shows_its_interval_on_every_chart(finished: Path) -> None:
    async with screen([finished]) as pilot:
        await press(pilot, "5", "down", "enter", "2")
        ranges = {chart.shown_range for chart in pilot.app.screen.query(Chart) if chart.display}
        assert len(ranges) == 1
        start, end = ranges.pop()
        assert start < 700 < 760 < end < 1000


async def test_typing_a_filter_types_letters(workspace: Path) -> None:
    async with screen([workspace]) as pilot:
        await press(pilot, "slash", *"q1t")
        assert pilot.app.screen.query_one("#filter", Input).value == "q1t"
