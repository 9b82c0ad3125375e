"""What `inspect` finds within bounded work, and what it says it did not look for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tui import scripted
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


def test_a_long_log_without_recorded_alerts_is_searched_in_part_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log = scripted.scripted_log(tmp_path / "run.h5", alerts=False, detectors={})
    assert to_json(inspect_run(log))["alerts_searched_to"] is None
    monkeypatch.setattr("thermotui.analysis.monitoring.ROWS_A_TICK", 500)
    assert to_json(inspect_run(log))["alerts_searched_to"] == 499
    inspect(log)
    assert "the rows up to step 499 were searched. The whole run: thermotui scan" in capsys.readouterr().out
    tick = read_once([log], 400)
    (run,) = frame_data(tick)["runs"]
    assert run["alerts_searched_to"] == 999
    assert any(
        "searched up to step 999, the whole run: thermotui scan" in line for line in plain_frame(tick, 100, "ascii")
    )
