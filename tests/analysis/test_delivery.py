"""Alerts that are raised while runs are watched: which are new, and their delivery beside the screen."""

from __future__ import annotations

import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from thermotui.analysis.actions import Actions, actions_of
from thermotui.analysis.delivery import Delivery, NewAlerts
from thermotui.analysis.ranks import group_ranks
from thermotui.analysis.run_state import RunSummary
from thermotui.analysis.snapshot import Query, Tick
from thermotui.detect.alert import Alert
from thermotui.errors import InputError

BEGAN = 1000.0


def alert(kind: str = "loss_spike", step: int = 150, **changes: Any) -> Alert:
    values = {"layer": -1, "start": step, "end": None, "severity": "warning", "p_value": float("nan"), "message": "m"}
    return Alert(kind=kind, step=step, **(values | changes))


def run(*flagged: Alert, step: int = 100, state: str = "running", created: float = 0.0, path: str = "a") -> RunSummary:
    return RunSummary(path, path, state=state, step=step, created=created, flagged=flagged)


def kinds(found: list[dict[str, Any]]) -> list[tuple[str, str, int]]:
    return [(payload["file"], payload["alert"]["kind"], payload["alert"]["step"]) for payload in found]


def test_what_was_raised_before_the_watching_is_not_new_and_what_comes_is_told_once() -> None:
    new = NewAlerts(BEGAN)
    assert new.take((run(alert(step=50)),)) == []
    assert kinds(new.take((run(alert(step=50), alert(step=150), step=200),))) == [("a", "loss_spike", 150)]
    ended = replace(alert(step=150), end=170)
    assert new.take((run(alert(step=50), ended, step=300),)) == []


def test_old_rows_that_are_searched_late_bring_no_new_alerts() -> None:
    new = NewAlerts(BEGAN)
    new.take((run(step=10_000),))
    assert new.take((run(alert(step=4000), step=10_100),)) == []


def test_all_alerts_of_a_run_that_began_later_are_new() -> None:
    new = NewAlerts(BEGAN)
    new.take((run(),))
    later = run(alert(step=20), step=60, created=BEGAN + 5, path="b")
    assert kinds(new.take((run(), later))) == [("b", "loss_spike", 20)]


def test_minor_alerts_are_not_told() -> None:
    new = NewAlerts(BEGAN)
    new.take((run(),))
    assert new.take((run(alert(severity="minor"), step=200),)) == []


def test_a_crash_is_new_where_it_happened_meanwhile() -> None:
    new = NewAlerts(BEGAN)
    crash = alert("crashed", step=100, severity="critical")
    new.take((run(), run(path="b", state="crashed")))
    found = new.take((run(crash, state="crashed"), run(crash, path="b", state="crashed")))
    assert kinds(found) == [("a", "crashed", 100)]


def ranks(*each: RunSummary) -> tuple[RunSummary, ...]:
    """The ranks of one run as a tick lists them."""
    made = (
        replace(one, path=f"x-rank{rank}" if rank else "x", run_id="i", rank=rank, world_size=len(each))
        for rank, one in enumerate(each)
    )
    return tuple(group_ranks(made))


def test_the_alert_of_a_rank_is_told_with_its_file_and_those_of_two_ranks_twice() -> None:
    new = NewAlerts(BEGAN)
    new.take(ranks(run(), run()))
    found = new.take(ranks(run(step=200), run(alert("divergence"), step=200)))
    assert kinds(found) == [("x-rank1", "divergence", 150)]
    both = run(alert("divergence"), alert("non_finite", 220), step=250)
    assert [file for file, *_ in kinds(new.take(ranks(run(alert("non_finite", 220), step=250), both)))] == [
        "x",
        "x-rank1",
    ]


def test_a_rank_ahead_of_the_slowest_brings_no_old_alerts_and_a_crash_before_hides_none_after() -> None:
    new = NewAlerts(BEGAN)
    crash = alert("crashed", 500, severity="critical")
    ahead = run(alert(step=300), crash, step=500, state="crashed")
    assert new.take(ranks(run(), ahead)) == []
    later = run(alert("crashed", 600, severity="critical"), step=600, state="crashed")
    assert kinds(new.take(ranks(later, ahead))) == [("x", "crashed", 600)]


def test_a_run_that_takes_the_name_of_another_is_new() -> None:
    new = NewAlerts(BEGAN)
    new.take((run(step=5000),))
    replaced = run(alert("divergence", step=30), step=50, created=BEGAN + 5)
    assert kinds(new.take((replaced,))) == [("a", "divergence", 30)]


def test_a_resumed_run_tells_what_its_log_did_not_have_before() -> None:
    new = NewAlerts(BEGAN)
    before = (alert(step=500), alert(step=4000))
    new.take((run(*before, step=5000),))
    assert kinds(new.take((run(*before, alert(step=5050), step=5100),))) == [("a", "loss_spike", 5050)]
    # It went back to step 1000, and one look later has come so far.
    resumed = run(before[0], alert("divergence", step=3000), step=3500)
    assert kinds(new.take((resumed,))) == [("a", "divergence", 3000)]
    again = run(*resumed.flagged, alert(step=4000), alert(step=5050), step=6000)
    assert kinds(new.take((again,))) == [("a", "loss_spike", 4000), ("a", "loss_spike", 5050)]
    assert new.take((again,)) == []


def test_a_run_that_crashes_again_is_told() -> None:
    new = NewAlerts(BEGAN)
    crash = alert("crashed", step=100, severity="critical")
    assert new.take((run(crash, state="crashed"),)) == []
    # The alerts of a summary may be older than its state.
    assert new.take((run(crash, state="running"),)) == []
    assert kinds(new.take((run(crash, state="crashed"),))) == [("a", "crashed", 100)]


class Script:
    """Answers with the ticks that it was given, one after the other."""

    def __init__(self, *runs: RunSummary) -> None:
        self._runs = list(runs)

    def ask(self, query: Query) -> Tick | None:
        return Tick(query, (self._runs.pop(0),), ())


def test_a_slow_command_does_not_hold_up_the_answers_and_gets_the_alert(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("thermotui.analysis.delivery.GRACE", 60.0)
    written, answered = tmp_path / "got", tmp_path / "answered"
    program = f"""
import os, sys, time
until = time.monotonic() + 60
while not os.path.exists({str(answered)!r}) and time.monotonic() < until:
    time.sleep(0.01)
open({str(written)!r}, "w").write(sys.stdin.read())
"""
    delivery = Delivery(Script(run(), run(alert(), step=200)), Actions((sys.executable, "-c", program), silent=True))
    delivery.ask(Query())
    assert delivery.ask(Query()) is not None
    answered.touch()
    delivery.close()
    assert '"kind": "loss_spike"' in written.read_text()
    assert delivery.failures == ()


def test_what_fails_is_told_once_from_the_delivering_thread() -> None:
    runs = (run(), run(alert(), step=200), run(alert(), alert(step=250), step=300))
    delivery = Delivery(Script(*runs), Actions(("/nonexistent/program",)))
    told: list[tuple[str, str]] = []
    delivery.tell = lambda sentence: told.append((threading.current_thread().name, sentence))
    for _ in runs:
        delivery.ask(Query())
    delivery.close()
    assert [name for name, _ in told] == ["thermotui-delivery"]
    assert delivery.failures == (told[0][1],)
    assert "cannot run '/nonexistent/program'" in told[0][1]


def test_what_is_not_over_in_time_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thermotui.analysis.delivery.GRACE", 0.1)
    command = (sys.executable, "-c", "import time; time.sleep(2)")
    delivery = Delivery(Script(run(), run(alert(), step=200)), Actions(command, silent=True))
    delivery.ask(Query())
    delivery.ask(Query())
    delivery.close()
    assert "not over after" in delivery.failures[0]


def test_what_waits_when_the_delivery_has_died_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    died = threading.Event()
    monkeypatch.setattr(threading, "excepthook", lambda problem: died.set())

    class Broken(Actions):
        def deliver(self, payload: dict[str, Any]) -> list[str]:
            raise RuntimeError("a mistake of ours")

    delivery = Delivery(Script(run(), run(alert(), alert(step=160), alert(step=170), step=200)), Broken())
    delivery.ask(Query())
    delivery.ask(Query())
    assert died.wait(5)
    delivery.close()
    assert delivery.failures == ("2 more alerts were waiting when the delivery ended",)


def test_alerts_beyond_what_may_wait_are_said_to_be_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thermotui.analysis.delivery.MAXIMUM_WAITING", 1)
    monkeypatch.setattr("thermotui.analysis.delivery.GRACE", 0.1)
    many = (alert(step=step) for step in range(150, 160))
    sleeper = Actions((sys.executable, "-c", "import time; time.sleep(1)"), silent=True)
    delivery = Delivery(Script(run(), run(*many, step=200)), sleeper)
    delivery.ask(Query())
    delivery.ask(Query())
    delivery.close()
    assert "some are lost" in delivery.failures[0]


def test_actions_that_cannot_be_used_are_refused_at_once() -> None:
    assert not actions_of(None, None)
    assert actions_of("mail -s 'an alert'", None).command == ("mail", "-s", "an alert")
    for execute, webhook, said in (("'", None, "--exec"), ("", None, "names no command"), (None, "ftp://x", "URL")):
        with pytest.raises(InputError, match=said):
            actions_of(execute, webhook)
