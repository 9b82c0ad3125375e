"""What `inspect` finds within bounded work, and what it says it did not look for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tui import scripted
from thermotui.analysis.comparison import compare_runs
from thermotui.analysis.inspection import inspect_run, to_json
from thermotui.cli.inspect import inspect
from thermotui.detect.monitor import RunMonitor
from thermotui.tui.plain_frame import frame_data, plain_frame, read_once


def test_recorded_alerts_are_taken_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = scripted.scripted_log(tmp_path / "run.h5")

    def refuse(*arguments: object) -> None:
        raise AssertionError("the detectors ran")

    monkeypatch.setattr(RunMonitor, "feed", refuse)
    inspection = inspect_run(log)
    assert [alert.kind for alert in inspection.alerts] == ["loss_spike", "temperature_jump"]
    assert inspection.alerts_searched_to is None


def test_a_long_log_without_recorded_alerts_is_left_to_scan_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log = scripted.scripted_log(tmp_path / "run.h5", alerts=False, detectors={})
    short = to_json(inspect_run(log))
    assert short["alerts_searched_to"] is None
    assert short["alerts"]
    monkeypatch.setattr("thermotui.analysis.monitoring.ROWS_A_TICK", 500)
    long = to_json(inspect_run(log))
    assert long["alerts_searched_to"] == -1
    assert long["alerts"] == []
    inspect(log)
    said = " ".join(capsys.readouterr().out.split())
    assert "Its writer recorded no alerts, and the log is too long to search it here: thermotui scan" in said
    assert "No alerts" not in said
    found = scripted.scripted_log(tmp_path / "found.h5")
    comparison = compare_runs([inspect_run(found), inspect_run(log)])
    assert comparison.alerts == {"loss_spike": (1, None), "temperature_jump": (1, None)}
    (remark,) = [remark for remark in comparison.remarks if "alerts" in remark]
    assert remark.startswith("no alerts were recorded, nor searched, in ")
    tick = read_once([log], 400)
    (run,) = frame_data(tick)["runs"]
    assert run["alerts_searched_to"] == 999
    assert any(
        "searched up to step 999, the whole run: thermotui scan" in line for line in plain_frame(tick, 100, "ascii")
    )


def test_of_many_alerts_the_gravest_are_shown_and_the_rest_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log = scripted.scripted_log(tmp_path / "run.h5")
    monkeypatch.setattr("thermotui.cli.inspected.MOST_ALERTS", 1)
    inspect(log)
    said = capsys.readouterr().out
    assert "2 alerts, the 1 gravest and latest of them" in said
    assert ("loss_spike" in said) != ("temperature_jump" in said)


def test_errors_of_mean_temperatures_that_are_bounds_are_called_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    logs = [scripted.scripted_log(tmp_path / f"{varies}.h5", ensemble_varies=varies) for varies in ("data", "seed")]
    said = []
    for log in logs:
        inspect(log)
        said.append("upper bounds" in " ".join(capsys.readouterr().out.split()))
    assert said == [True, False]
    first, second = (inspect_run(log) for log in logs)
    assert to_json(first)["temperatures"][0]["errors_bound"] is True
    (remark,) = [remark for remark in compare_runs([first, second]).remarks if "upper bounds" in remark]
    assert "data.h5" in remark and "seed.h5" not in remark
    assert not any("upper bounds" in remark for remark in compare_runs([second, second]).remarks)
