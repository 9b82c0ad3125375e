"""Keys of charts."""

from __future__ import annotations

import pytest
from textual.pilot import Pilot

from tests.tui.driving import main_screen, press, text_of
from tests.tui.keys.checking import checks, key, shown_range
from thermotui.tui.charts.chart import Chart
from thermotui.tui.charts.layers import LayerSparklines


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
    assert "last 250 steps" in text_of(pilot)


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


@checks("glyphs")
async def _glyphs(pilot: Pilot[None]) -> None:
    await press(pilot, key("glyphs"), key("glyphs"))
    assert {chart.mode for chart in pilot.app.screen.query(Chart)} == {"ascii"}
