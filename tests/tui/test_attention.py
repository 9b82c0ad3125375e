"""Alerts that were acknowledged or snoozed ask for no attention, until their snooze is over."""

from __future__ import annotations

import math
import time
from pathlib import Path
from unittest.mock import Mock

import pytest

from tests.tui import scripted
from tests.tui.driving import main_screen, press, screen, until
from thermotui.analysis.run_state import RunSummary
from thermotui.detect.alert import Alert
from thermotui.tui.attention import SNOOZE_MINUTES, acknowledgement, needing_attention, snooze, still_snoozed
from thermotui.tui.widgets.alert_table import AlertTable
from thermotui.tui.widgets.table import Table


def alert(kind: str, start: int, severity: str = "warning", end: int | None = None) -> Alert:
    return Alert(kind, -1, start, end, start + 5, severity, math.nan, kind)


SPIKE, STEP = alert("loss_spike", 100, "critical", 120), alert("step_up", 300)
RUN = RunSummary("a.h5", "a", worst="critical", open_alerts=1, alerts=2, flagged=(SPIKE, STEP))
OTHER = RunSummary("b.h5", "b", worst="critical", alerts=1, flagged=(SPIKE,))


def test_the_worst_is_the_worst_of_those_that_ask_for_attention() -> None:
    acknowledged = frozenset({acknowledgement("a.h5", SPIKE)})
    run, other = needing_attention((RUN, OTHER), acknowledged, ())
    assert (run.worst, run.alerts, run.open_alerts) == ("warning", 1, 1)
    assert other is OTHER, "the same alert of another run still asks"
    run, _ = needing_attention((RUN, OTHER), acknowledged, (snooze("a.h5", STEP, RUN.flagged, 0.0),))
    assert (run.worst, run.alerts, run.open_alerts) == (None, 0, 0)


def test_a_snooze_ends_with_its_time_or_with_the_next_of_its_kind() -> None:
    earlier = alert("loss_spike", 200)
    snoozed = (snooze("a.h5", SPIKE, (SPIKE, earlier, STEP), 1000.0),)
    over = 1000.0 + 60 * SNOOZE_MINUTES
    assert still_snoozed(snoozed, (RUN,), over - 1) == snoozed
    assert still_snoozed(snoozed, (RUN,), over) == ()

    def runs(*alerts: Alert) -> tuple[RunSummary, ...]:
        return (RunSummary("a.h5", "a", flagged=alerts),)

    assert still_snoozed(snoozed, runs(SPIKE, earlier, STEP), 1001.0) == snoozed, "known when it was snoozed"
    assert still_snoozed(snoozed, runs(SPIKE, alert("step_up", 900)), 1001.0) == snoozed, "of another kind"
    assert still_snoozed(snoozed, runs(SPIKE, alert("loss_spike", 900)), 1001.0) == ()
    assert still_snoozed(snoozed, (), 1001.0) == snoozed


async def test_the_next_of_its_kind_wakes_a_snoozed_alert_on_the_screen(tmp_path: Path) -> None:
    path = tmp_path / "live.h5"
    writer = scripted.live_log(path)
    scripted.write_alert(writer, "loss_spike", -1, 100, 120)
    writer.flush()
    async with screen([path], size=(160, 48)) as pilot:
        await press(pilot, "5", "z")
        assert not pilot.app.screen.query_one("#alerts", Table).rows
        await press(pilot, "2")
        assert not pilot.app.screen.query_one(AlertTable).rows
        scripted.write_rows(writer, 500, 520)
        scripted.write_alert(writer, "loss_spike", -1, 510, 515)
        writer.flush()
        await until(pilot, lambda: len(pilot.app.screen.query_one(AlertTable).rows) == 2)
        assert not main_screen(pilot).look.snoozed
    writer.close()


async def test_a_snooze_that_is_over_shows_the_alert_without_any_new_row(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("thermotui.tui.main_screen.WAKING_SECONDS", 0.05)
    async with screen([finished]) as pilot:
        await press(pilot, "5", "z")
        table = pilot.app.screen.query_one("#alerts", Table)
        assert len(table.rows) == 1
        later = time.time() + 60 * SNOOZE_MINUTES
        monkeypatch.setattr("thermotui.tui.run_screen.time", Mock(time=lambda: later))
        await until(pilot, lambda: len(table.rows) == 2)
