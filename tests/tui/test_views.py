"""What each view shows besides its charts, at the sizes where there is least and most room."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.tui import scripted
from tests.tui.driving import press, screen, text_of
from thermotui.runlog.reader import RunLogReader
from thermotui.runlog.schema import Layer
from thermotui.tui.charts.axes import read_out
from thermotui.tui.charts.chart import Chart
from thermotui.tui.widgets.table import Table

SAMPLE_RUNS = Path(__file__).parents[2] / "sample_runs"


def previewed(pilot: object) -> int:
    charts = pilot.app.screen.query("OverviewView Chart")
    return sum(isinstance(chart, Chart) and chart.display and chart.size.height > 0 for chart in charts)


@pytest.mark.parametrize(("size", "charts"), [((80, 24), 2), ((160, 48), 4), ((80, 14), 0)])
async def test_the_overview_draws_the_selected_run_where_there_is_room(
    workspace: Path, size: tuple[int, int], charts: int
) -> None:
    async with screen([workspace], size=size) as pilot:
        await press(pilot, "1")
        assert previewed(pilot) == charts
        text = text_of(pilot)
        assert "loss [nats]" in text and "finished" in text
        if charts:
            before = text
            await press(pilot, "down")
            assert text_of(pilot).splitlines()[-8:] != before.splitlines()[-8:], "of another run"


async def test_the_evidence_of_an_alert_is_in_sight_at_80_by_24() -> None:
    async with screen([SAMPLE_RUNS / "softmax-disturbed.h5"], size=(80, 24)) as pilot:
        await press(pilot, "5")
        said = " ".join(line[21:].strip() for line in text_of(pilot).splitlines()[-7:-1])
        assert "autocorrelation -0.30 at lag 1" in said
        assert said.count("p = ") == 1
        assert "the reservoir assumption does not hold here." in said


async def test_only_an_alert_that_breaks_an_interval_speaks_against_the_reservoir(tmp_path: Path) -> None:
    writer = scripted.live_log(tmp_path / "cooling.h5", rows=100)
    scripted.write_alert(writer, "temperature_drift", 0, 10, 50, severity="minor")
    scripted.write_alert(writer, "temperature_drift", 1, 10, 50, severity="warning")
    scripted.write_alert(writer, "not_yet_invented", 2, 10, 50, severity="warning")
    writer.close("finished")
    async with screen([tmp_path], size=(160, 48)) as pilot:
        said = {}
        await press(pilot, "5")
        for _ in range(3):
            row = pilot.app.screen.query_one("#alerts", Table).cursor
            said[row.split("/")[0], row.split("/")[1]] = "does not hold here" in text_of(pilot)
            await press(pilot, "down")
    assert said == {
        ("temperature_drift", "0"): False,
        ("temperature_drift", "1"): True,
        ("not_yet_invented", "2"): False,
    }


async def test_no_number_of_the_balance_is_cut_at_80_by_24() -> None:
    async with screen([SAMPLE_RUNS / "softmax-disturbed.h5"], size=(80, 24)) as pilot:
        await press(pilot, "4")
        text = text_of(pilot)
        for whole in ("0–1500", "1569–1698", "−0.0058(15)", "−16.51 ± 0.60 nats", "0.00071 ± 0.00015"):
            assert whole in text


async def test_layers_of_alerts_and_families_of_runs_are_told_apart(tmp_path: Path) -> None:
    layers = tuple(Layer(f"hidden {index}", 10, "within-batch") for index in range(4))
    for stamp in ("softmax-20261124-061733", "gaussian-20261124-061801"):
        path = tmp_path / f"{stamp}.h5"
        header = replace(scripted.header(stamp), layers=layers)
        writer = scripted.RunLogWriter.create(path, header)
        scripted.write_rows(writer, 0, 100)
        for layer in range(4):
            scripted.write_alert(writer, "coloured_noise", layer, 10 + layer, 50)
        writer.close("finished")
    async with screen([tmp_path], size=(80, 24)) as pilot:
        text = text_of(pilot)
        for name in ("hidden 0 ", "hidden 3 ", "gaus…-061801", "soft…-061733"):
            assert name in text


async def test_the_log_view_tells_every_attribute_in_full(finished: Path) -> None:
    async with screen([finished], size=(160, 60)) as pilot:
        await press(pilot, "7")
        text = text_of(pilot)
        for part in ("config.learning_rate", "layers.3", "linear3: 4,000 parameters", "2025-10-09 08:53:20"):
            assert part in text


async def test_the_layers_view_marks_its_layer_and_reads_the_first_lag(finished: Path) -> None:
    async with screen([finished], size=(120, 36)) as pilot:
        await press(pilot, "3", "right_square_bracket")
        text = text_of(pilot)
        assert "linear1▶" in text
        assert "lag 1 " in text and "C 0.010" in text


@pytest.mark.parametrize("size", [(40, 10), (160, 48)])
async def test_a_chart_reads_out_rows_and_not_the_means_of_its_points(size: tuple[int, int]) -> None:
    file = SAMPLE_RUNS / "softmax-disturbed.h5"
    with RunLogReader(file) as log:
        rows = log.read("steps", start=0, stop=log.length("steps"))
    async with screen([file], size=size) as pilot:
        await press(pilot, "5")
        chart = pilot.app.screen.query_one("AlertsView Chart", Chart)
        assert chart.data is not None
        (loss,) = chart.data.series
        assert loss.x.size < len(rows)
        assert read_out(loss, None)[0] == pytest.approx(float(rows["loss"][-1]))
        chart.view.point(1234.5)
        await press(pilot)
        assert chart.data is not None
        (loss,) = chart.data.series
        assert read_out(loss, 1234.5)[0] == pytest.approx(float(rows["loss"][rows["step"] == 1234][0]))
        assert f"{read_out(loss, 1234.5)[0]:.2g}"[:3] in text_of(pilot).splitlines()[1]
