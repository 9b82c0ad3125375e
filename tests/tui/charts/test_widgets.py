"""The widgets, driven as a person and a poller drive them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from textual.events import MouseScrollDown, MouseScrollUp
from textual.geometry import Region
from textual.pilot import Pilot

from tests.tui.charts.gallery import STEPS, Gallery, heat_and_work, loss, temperatures
from thermotui.tui.charts.cells import CellWidget
from thermotui.tui.charts.chart import Chart
from thermotui.tui.charts.layers import Heatmap, LayerSparklines
from thermotui.tui.charts.model import ChartData, raw_series
from thermotui.tui.charts.raster import MODES
from thermotui.tui.charts.roles import ROLE

SIZE = (120, 40)


@contextmanager
def repaints(widget: CellWidget, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Region]]:
    """The regions that a widget asks to repaint; the whole of it where it names none."""
    regions: list[Region] = []
    refresh = widget.refresh

    def recording(*args: Region, **kwargs: bool) -> CellWidget:
        regions.extend(args or [Region(0, 0, *widget.size)])
        return refresh(*args, **kwargs)

    monkeypatch.setattr(widget, "refresh", recording)
    yield regions
    monkeypatch.undo()


def shown(widget: CellWidget) -> list[str]:
    return [widget.render_line(y).text.rstrip() for y in range(widget.size.height)]


async def test_the_same_data_repaint_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    app = Gallery()
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()
        for widget, data in ((app.query_one("#loss", Chart), loss()), (app.query_one(Heatmap), temperatures())):
            with repaints(widget, monkeypatch) as regions:
                widget.data = data
                await pilot.pause()
            assert regions == []


async def test_appended_rows_repaint_only_cells_at_the_right_and_the_read_out(monkeypatch: pytest.MonkeyPatch) -> None:
    app = Gallery()
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()
        chart = app.query_one("#loss", Chart)
        chart.data = loss(3600)
        await pilot.pause()
        place, (start, end) = chart.layout_cells, chart.shown_range
        edge = place.gutter + int((3600 - start) / (end - start) * place.cells)
        with repaints(chart, monkeypatch) as regions:
            chart.data = loss(3800)
            await pilot.pause()
        below = [region for region in regions if region.y >= place.top]
        assert below and all(region.x >= edge for region in below)
        assert sum(region.area for region in regions) < 60


async def test_zoom_and_pan_on_both_axes_and_back() -> None:
    app = Gallery()
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()
        chart, other = app.query_one("#loss", Chart), app.query_one("#heat", Chart)
        whole = chart.shown_range
        chart.zoom_x(4, at=1000)
        start, end = chart.shown_range
        assert end - start == pytest.approx((whole[1] - whole[0]) / 4)
        assert (1000 - start) / (end - start) == pytest.approx((1000 - whole[0]) / (whole[1] - whole[0]))
        assert other.shown_range == (start, end), "linked"
        chart.pan_x(0.5)
        assert chart.shown_range == pytest.approx((start + (end - start) / 2, end + (end - start) / 2))
        chart.zoom_x(1 / 64)
        assert chart.shown_range == whole, "zooming out ends at the whole run"
        await pilot.pause()
        axis = chart.shown_axis
        assert axis is not None
        chart.zoom_y(2)
        zoomed = chart.shown_axis
        assert zoomed is not None and zoomed.high - zoomed.low == pytest.approx((axis.high - axis.low) / 2)
        chart.pan_y(0.5)
        panned = chart.shown_axis
        assert panned is not None and panned.low == pytest.approx(zoomed.low + (zoomed.high - zoomed.low) / 2)
        chart.reset()
        assert chart.shown_axis == axis
        with pytest.raises(ValueError, match="empty"):
            chart.set_y_range((1.0, 1.0))


async def test_only_running_totals_get_room_to_grow_into() -> None:
    """An accuracy has none beyond one."""
    x = np.arange(STEPS)
    values = x / STEPS
    tops = []
    for totals in (False, True):
        app = Gallery()
        async with app.run_test(size=SIZE) as pilot:
            chart = app.query_one("#loss", Chart)
            for steps in (1200, 2400, 4000):
                curve = raw_series("accuracy", x[:steps], values[:steps])
                chart.data = ChartData("Accuracy", "", (curve,), x_range=(0.0, float(STEPS)), totals=totals)
                await pilot.pause()
            axis = chart.shown_axis
            assert axis is not None
            tops.append(axis.high)
    assert tops[0] <= 1.1 < tops[1]


async def test_following_keeps_the_latest_steps_in_sight() -> None:
    app = Gallery()
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()
        chart = app.query_one("#loss", Chart)
        app.steps.follow(500)
        start, end = chart.shown_range
        assert start <= STEPS - 1 < end and end - start < 1200


async def test_the_cursor_is_shared_and_read_out_with_errors() -> None:
    app = Gallery()
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()
        chart, other = app.query_one("#loss", Chart), app.query_one("#heat", Chart)
        chart.move_cursor(-1)
        first = app.steps.cursor
        assert first is not None
        chart.move_cursor(-3)
        assert app.steps.cursor is not None and app.steps.cursor < first
        await pilot.pause()
        assert f"step {app.steps.cursor:.0f}" in shown(other)[0] and re.search(r"±|\d\(\d+\)", shown(other)[0])
        chart.reset()
        await pilot.pause()
        assert "step " not in shown(other)[0]


async def test_the_wheel_zooms_about_the_pointer_and_pans_with_shift() -> None:
    app = Gallery()
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()
        chart = app.query_one("#loss", Chart)
        whole = chart.shown_range
        at = chart.step_at(30)
        await wheel(pilot, chart, MouseScrollUp, 30)
        start, end = chart.shown_range
        assert end - start == pytest.approx((whole[1] - whole[0]) / 1.25)
        assert chart.step_at(30) == pytest.approx(at)
        await wheel(pilot, chart, MouseScrollDown, 30, shift=True)
        assert chart.shown_range == pytest.approx((start + 0.1 * (end - start), end + 0.1 * (end - start)))
        axis = chart.shown_axis
        assert axis is not None
        await wheel(pilot, chart, MouseScrollUp, 30, control=True)
        after = chart.shown_axis
        assert after is not None and after.high - after.low == pytest.approx((axis.high - axis.low) / 1.25)


async def wheel(
    pilot: Pilot[None], chart: Chart, kind: type[MouseScrollUp | MouseScrollDown], x: int, **held: bool
) -> None:
    await pilot._post_mouse_events([kind], chart, offset=(x, 5), **held)
    await pilot.pause()


async def test_a_click_points_and_a_drag_zooms_to_what_it_covers() -> None:
    app = Gallery()
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()
        chart = app.query_one("#loss", Chart)
        wanted = chart.step_at(20)
        await pilot.click(chart, offset=(20, 5))
        assert app.steps.cursor == wanted
        left, right = chart.step_at(15), chart.step_at(40)
        axis = chart.shown_axis
        assert left is not None and right is not None and axis is not None
        await pilot.mouse_down(chart, offset=(15, 5))
        await pilot.hover(chart, offset=(40, 6))
        place = chart.layout_cells
        frame = chart.draw_frame(*chart.size)
        assert (frame.background[place.top : place.top + place.rows, 15:41] == ROLE["cursor"]).all()
        await pilot.mouse_up(chart, offset=(40, 6))
        half = (right - left) / 25 / 2
        assert app.steps.x_range == pytest.approx((left - half, right + half))
        assert chart.shown_axis is not None
        await pilot.mouse_down(chart, offset=(15, 4))
        await pilot.hover(chart, offset=(40, 9))
        await pilot.mouse_up(chart, offset=(40, 9))
        box = chart.shown_axis
        assert box.high - box.low < (axis.high - axis.low), "a box zooms the values too"


@pytest.mark.parametrize("mode", MODES)
async def test_modes_scales_and_themes_redraw(mode: str) -> None:
    app = Gallery()
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()
        chart = app.query_one("#loss", Chart)
        chart.mode = mode
        await pilot.pause()
        before = shown(chart)
        if mode == "ascii":
            assert "".join(before).isascii()
        assert chart.cycle_scale() == "log"
        await pilot.pause()
        assert shown(chart) != before
        old = chart.render_line(3)
        app.theme = "textual-light"
        await pilot.pause()
        new = chart.render_line(3)
        assert new.text == old.text
        assert [segment.style for segment in new] != [segment.style for segment in old]


async def test_rows_scroll_to_the_selected_layer() -> None:
    app = Gallery()
    async with app.run_test(size=(100, 12)) as pilot:
        await pilot.pause()
        rows = app.query_one(LayerSparklines)
        rows.data = temperatures(200)
        rows.focus()
        rows.selected = 150
        await pilot.pause()
        text = shown(rows)
        assert any("150" in line and "▶" in line for line in text)
        assert any("±" in line for line in text)
        rows.selected = 999
        assert rows.selected == 199
        rows.data = replace(temperatures(3))
        await pilot.pause()
        assert sum("±" in line for line in shown(rows)) == 3


async def test_one_hot_layer_leaves_the_others_readable() -> None:
    app = Gallery()
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()
        heatmap = app.query_one(Heatmap)
        hot = temperatures(7)
        last = replace(hot.series[6], high=hot.series[6].high * 1e3)
        heatmap.data = replace(hot, series=(*hot.series[:6], last))
        await pilot.pause()
        assert len(levels(heatmap)) >= 2, "on a linear scale all but the hot layer would have the lowest colour"
        assert any(line.endswith("log") for line in shown(heatmap))


def levels(heatmap: Heatmap) -> set[int]:
    """Colours in the rows of the layers."""
    frame = heatmap.draw_frame(*heatmap.size)
    return {int(role) for role in np.unique(frame.background[:6, 20:]) if role}


@pytest.mark.parametrize("size", [(1, 1), (5, 2), (10, 3), (21, 5), (40, 9), (300, 100)])
async def test_any_terminal_size(size: tuple[int, int]) -> None:
    app = Gallery()
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        await pilot.resize_terminal(80, 24)
        await pilot.pause()
        assert "Heat and work ━ W 15.8(17)" in shown(app.query_one("#heat", Chart))[0]


async def test_data_may_come_and_go() -> None:
    app = Gallery()
    async with app.run_test(size=SIZE) as pilot:
        chart = app.query_one("#loss", Chart)
        chart.data = None
        await pilot.pause()
        assert not any(shown(chart))
        chart.data = heat_and_work()
        await pilot.pause()
        assert "Heat and work" in shown(chart)[0]


@pytest.mark.parametrize(
    ("palette", "mode"), [("dark", "braille"), ("light", "braille"), ("colour_blind", "block"), ("sixteen", "ascii")]
)
def test_pictures(palette: str, mode: str, snap_compare: object) -> None:
    assert callable(snap_compare)
    assert snap_compare(Gallery(palette, mode), terminal_size=(100, 30))


async def test_without_colours_characters_tell_what_colours_would(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app = Gallery()
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()
        heatmap, chart = app.query_one(Heatmap), app.query_one("#loss", Chart)
        rows = shown(heatmap)
        assert set(rows[0][16:]) != set(rows[10][16:]), "levels differ by their characters"
        assert any("═" in line for line in shown(chart)), "valid intervals are on the axis"
        colours = {
            tuple(colour.get_truecolor())
            for widget in (heatmap, chart)
            for y in range(widget.size.height)
            for segment in widget.render_line(y)
            if segment.style is not None
            for colour in (segment.style.color, segment.style.bgcolor)
            if colour is not None
        }
        assert all(red == green == blue for red, green, blue in colours)
