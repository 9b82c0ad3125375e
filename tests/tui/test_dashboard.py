"""The dashboard and the list of runs: what they show of each kind of run, and at each size."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.tui import scripted
from tests.tui.driving import main_screen, press, screen, settle, text_of, until, wait_for
from thermotui.analysis.snapshot import RunSnapshot
from thermotui.tui.charts.chart import Chart
from thermotui.tui.charts.model import ChartData
from thermotui.tui.charts.turns import update_charts
from thermotui.tui.views.dashboard import Dashboard, grid_shape
from thermotui.tui.widgets.run_list import RunList


async def test_header_says_what_the_figures_belong_to(finished: Path) -> None:
    async with screen([finished], size=(160, 40)) as pilot:
        header = text_of(pilot).splitlines()[0]
        for part in ("batch-10", "softmax", "stride 10", "K=8", "by data and seed", "marginal: ensemble", "finished"):
            assert part in header


async def test_panels_show_values_with_errors_and_alerts(finished: Path) -> None:
    async with screen([finished], size=(160, 40)) as pilot:
        text = text_of(pilot)
        assert "Q −4.91 ± 0.05" in text
        assert "2.9439 exact" in text
        assert "temperature jump" in text.replace("…", "ump")
        assert "linear3" in text


@pytest.mark.parametrize("size", [(80, 24), (160, 48), (300, 100), (40, 10)])
async def test_usable_at_every_size(finished: Path, size: tuple[int, int]) -> None:
    async with screen([finished], size=size) as pilot:
        dashboard = pilot.app.screen.query_one(Dashboard)
        charts = [chart for chart in dashboard.query(Chart) if chart.display]
        assert charts
        assert all(chart.size.height >= 4 and chart.size.width >= 20 for chart in charts)
        columns, rows = grid_shape(*dashboard.size)
        assert len(dashboard.shown) <= columns * rows


async def test_every_panel_has_its_title_on_the_smallest_usual_terminal(finished: Path) -> None:
    async with screen([finished], size=(80, 24)) as pilot:
        dashboard = pilot.app.screen.query_one(Dashboard)
        titles = {"heat_work": "Heat/work", "entropy_production": "EP", "information": "Info", "loss": "Loss"}
        titles |= {"temperature": "Temperature", "alerts": "Alerts"}
        lines = text_of(pilot).splitlines()
        for name in dashboard.shown:
            region = dashboard.query_one(f"#panel-{name}").region
            assert lines[region.y][region.x :].startswith(titles[name])


async def test_too_small_a_terminal_is_told_to_grow(finished: Path) -> None:
    async with screen([finished], size=(80, 24)) as pilot:
        await pilot.resize_terminal(10, 3)
        await pilot.pause()
        assert text_of(pilot).strip() == "grow 40×10"
        await pilot.resize_terminal(80, 24)
        await settle(pilot)
        assert "batch-10" in text_of(pilot)


async def test_the_list_tells_each_state_and_a_broken_file_is_a_card(workspace: Path) -> None:
    async with screen([workspace], size=(120, 30)) as pilot:
        rows = {row.cells[1].text: row for row in pilot.app.screen.query_one(RunList).rows}
        assert set(rows) == {"alpha", "beta", "gamma", "delta"}
        assert rows["alpha"].cells[2].text == "100%"
        assert rows["alpha"].cells[3].text == "‼2"
        assert rows["beta"].cells[2].text == "50%"
        await press(pilot, "j", "j", "j")
        assert "is not a run log" in text_of(pilot).splitlines()[0]


async def test_live_run_moves_then_crashes_then_vanishes(tmp_path: Path) -> None:
    path = tmp_path / "live.h5"
    writer = scripted.live_log(path)
    async with screen([path]) as pilot:
        assert "running 499" in text_of(pilot)
        scripted.write_rows(writer, 500, 800)
        writer.heartbeat(799)
        writer.flush()
        await wait_for(pilot, "running 799")
        writer.close("failed", "out of memory \x1b[31m")
        await wait_for(pilot, "failed 799")
        path.unlink()
        await wait_for(pilot, "deleted 799")
        assert "\x1b" not in text_of(pilot)


@pytest.mark.usefixtures("without_heartbeats")
async def test_charts_take_turns_only_while_the_whole_of_a_live_run_is_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[bool] = []

    def update(updates: Iterable[tuple[Chart, ChartData | None]], *, goes_on: bool) -> None:
        told.append(goes_on)
        update_charts(updates, goes_on=goes_on)

    monkeypatch.setattr("thermotui.tui.views.dashboard.update_charts", update)
    writer = scripted.live_log(tmp_path / "live.h5")
    async with screen([tmp_path / "live.h5"]) as pilot:

        async def more(last: int) -> list[bool]:
            told.clear()
            scripted.write_rows(writer, last - 100, last)
            writer.heartbeat(last - 1)
            writer.flush()
            await wait_for(pilot, f" {last - 1}")
            await settle(pilot)
            return told[-1:]

        assert not told[0], "a first picture comes at once"
        assert await more(600) == [True]
        told.clear()
        await press(pilot, "+")
        assert not told[0]
        assert await more(700) == [False]
        told.clear()
        await press(pilot, "0")
        assert not told[0]
        assert await more(800) == [True]
        writer.close("finished")
        await wait_for(pilot, "finished 799")
        await settle(pilot)
        assert not told[-1]


async def test_new_runs_appear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thermotui.analysis.workspace.SEARCH_INTERVAL", 0.0)
    scripted.scripted_log(tmp_path / "first.h5", rows=50, alerts=False)
    async with screen([tmp_path]) as pilot:
        assert "second" not in text_of(pilot)
        scripted.scripted_log(tmp_path / "second.h5", rows=50, alerts=False)
        await wait_for(pilot, "second")


@pytest.mark.parametrize("touched", [False, True])
async def test_a_run_that_begins_is_shown_to_who_waits_for_it(
    tmp_path: Path, touched: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("thermotui.analysis.workspace.SEARCH_INTERVAL", 0.0)
    scripted.scripted_log(tmp_path / "old.h5", rows=50, alerts=False)
    async with screen([tmp_path]) as pilot:
        main = main_screen(pilot)
        if touched:
            await press(pilot, "3")
        with scripted.live_log(tmp_path / "new.h5") as writer:
            await until(pilot, lambda: len(main.runs) == 2)
            await settle(pilot)
            assert Path(main.selected).stem == ("old" if touched else "new")
            # Of two that go on the first stays.
            with scripted.live_log(tmp_path / "newer.h5"):
                await until(pilot, lambda: len(main.runs) == 3)
                await settle(pilot)
                assert Path(main.selected).stem == ("old" if touched else "new")
            writer.flush()


async def test_words_of_a_log_never_drive_the_terminal(tmp_path: Path) -> None:
    path = tmp_path / "hostile.h5"
    layers = tuple(scripted.Layer(f"evil\x1b[2J{index}\x07", 10) for index in range(2))
    header = replace(scripted.header("x\x1b]0;owned\x07", family="soft\x1b[31mmax"), layers=layers)
    writer = scripted.RunLogWriter.create(path, header)
    scripted.write_rows(writer, 0, 100)
    scripted.write_alert(writer, "loss\x1b[5m", 0, 10, None, message="boo\x9b31m \x1b]52;c;AAAA\x07")
    writer.close("finished", "done \x1b[?1049l")
    async with screen([path], size=(160, 48)) as pilot:
        for view in "1234567":
            await press(pilot, view)
            text = text_of(pilot)
            assert not any(ord(character) < 32 and character != "\n" for character in text), view
            assert "\x9b" not in text


async def test_a_key_shows_at_once_what_was_read_ahead(finished: Path) -> None:
    async with screen([finished], size=(160, 40)) as pilot:
        await press(pilot, "plus", "l")
        main = main_screen(pilot)
        answers = main._answers
        for key in ("l", "h", "plus", "minus"):
            await until(pilot, lambda: answers.ahead and all(map(answers.held, answers.ahead)))
            drawn: list[RunSnapshot] = []

            def note(charts: object, drawn: list[RunSnapshot] = drawn) -> None:
                drawn.append(main.stage.snapshots[0])

            main.steps.link(pilot, note)
            await pilot.pause(0.05)
            await pilot.press(key)
            main.steps.unlink(pilot, note)
            held = answers.held(main._question(main.steps.x_range))
            assert held is not None and drawn == [held], "the first picture after a key is that of the answer"
            await settle(pilot)
            assert main.stage.snapshots == (held,), "which stays when the log is asked whether it is the newest"


async def test_nothing_is_read_ahead_for_a_view_or_a_run_that_is_left(workspace: Path) -> None:
    async with screen([workspace], size=(160, 40)) as pilot:
        poller = pilot.app.poller
        for keys in (("4",), ("4", "j"), ("7",)):
            await press(pilot, "2", "plus")
            await until(pilot, lambda: poller.ahead)
            await press(pilot, *keys)
            await pilot.pause(0.05)
            assert not poller.ahead


async def test_a_screen_taken_down_after_a_key_asks_no_more(finished: Path) -> None:
    async with screen([finished], size=(160, 40)) as pilot:
        main, poller = main_screen(pilot), pilot.app.poller
        await press(pilot, "plus")
        asked = poller.query
    main._look_ahead()  # as its timer does where it was due meanwhile
    assert poller.query == asked


async def test_what_came_while_the_curves_were_stopped_is_shown_when_they_go_on(finished: Path) -> None:
    async with screen([finished], size=(160, 40)) as pilot:
        main = main_screen(pilot)
        before = main.stage.snapshots
        await press(pilot, "space", "plus")
        assert main.stage.snapshots == before, "they are stopped"
        await press(pilot, "space")
        (after,) = main.stage.snapshots
        assert after.curves["steps"].step_last[-1] < before[0].curves["steps"].step_last[-1]


async def test_a_run_selected_while_the_curves_are_stopped_is_shown(workspace: Path) -> None:
    async with screen([workspace], size=(160, 40)) as pilot:
        main = main_screen(pilot)
        first = main.selected
        await press(pilot, "space", "j")
        assert main.selected != first
        assert [snapshot.path for snapshot in main.stage.snapshots] == [main.selected]
