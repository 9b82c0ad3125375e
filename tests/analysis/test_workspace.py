"""Runs held open together: what appears, vanishes, breaks, is replaced; what an answer holds."""

from __future__ import annotations

import errno
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.tui import scripted
from thermotui.analysis.snapshot import Query, RowsQuery
from thermotui.analysis.workspace import Workspace
from thermotui.detect.intervals import Interval
from thermotui.runlog.reader import RunLogReader


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return scripted.scripted_log(tmp_path / "run.h5")


def ask(path: Path, **query: object) -> Query:
    return Query((str(path),), **query)


def test_curves_keep_every_extreme_and_zoom_to_the_rows(log: Path) -> None:
    with Workspace([log]) as workspace:
        whole = workspace.tick(ask(log, fields=(("steps", ("loss",)),), columns=64)).snapshots[0].curves["steps"]
        with RunLogReader(log) as reader:
            loss = reader.read("steps", ["loss"])["loss"]
        assert len(whole.step_first) <= 64
        assert whole.minimum["loss"].min() == loss.min()
        assert whole.maximum["loss"].max() == loss.max()
        near = workspace.tick(ask(log, fields=(("steps", ("loss",)),), columns=64, steps=(100, 120)))
        curve = near.snapshots[0].curves["steps"]
        assert curve.width == 1
        # One row on either side, so that the line runs to the edges.
        assert curve.step_first.tolist() == list(range(99, 122))
        assert np.array_equal(curve.mean["loss"], loss[99:122])


def test_the_row_under_the_cursor_autocorrelation_and_browsed_rows(log: Path) -> None:
    with Workspace([log]) as workspace:
        query = ask(
            log, fields=(("thermo", ("work",)),), at=1234, autocorrelation=True, rows=RowsQuery("steps", 1998, 9)
        )
        snapshot = workspace.tick(query).snapshots[0]
        assert snapshot.rows_at["thermo"]["step"].tolist() == [1230]
        assert snapshot.autocorrelation is not None
        assert (snapshot.autocorrelation.step, snapshot.autocorrelation.values.shape) == (999, (4, 8))
        assert snapshot.rows is not None and snapshot.rows["step"].tolist() == [1998, 1999]
        before = workspace.tick(replace(query, at=100)).snapshots[0]
        assert before.autocorrelation is None


def test_alerts_intervals_and_the_balance_of_each(log: Path) -> None:
    with Workspace([log]) as workspace:
        snapshot = workspace.tick(ask(log, balance=True)).snapshots[0]
        assert [(alert.kind, alert.start, alert.end) for alert in snapshot.alerts] == [
            ("loss_spike", 700, 760), ("temperature_jump", 1200, None),
        ]  # fmt: skip
        run = [interval for interval in snapshot.valid_intervals if interval.layer == -1]
        assert run == [Interval(-1, 0, 700), Interval(-1, 760, 1200)]
        assert snapshot.balance is not None and snapshot.balance.adds_up
        (_, first), (interval, second) = snapshot.interval_balances
        assert interval == Interval(-1, 760, 1200)
        work = {figure.name: figure.value for figure in second.figures}["work"]
        expected = 3 * (np.exp(-760 / 500) - np.exp(-1190 / 500))
        assert work == pytest.approx(expected, rel=0.03)
        assert first.stride == 10


def test_summary(log: Path) -> None:
    with Workspace([log]) as workspace:
        (summary,) = workspace.tick(Query(), now=scripted.CREATED + 100).summaries
    assert (summary.state, summary.step, summary.steps, summary.progress) == ("finished", 1999, 2000, 0.9995)
    assert summary.rate == pytest.approx(100.0)
    assert summary.age == pytest.approx(100 - 19.99)
    assert (summary.worst, summary.alerts, summary.open_alerts) == ("critical", 2, 1)
    assert summary.loss.size == 32 and summary.loss[0] > summary.loss[-1]


def test_a_run_that_has_ended_grows_older(log: Path) -> None:
    with Workspace([log]) as workspace:
        ages = [workspace.tick(Query(), now=scripted.CREATED + 100 + later).summaries[0].age for later in (0, 60, 4000)]
    assert np.diff(ages).tolist() == pytest.approx([60, 3940])


def test_a_live_run_that_is_no_longer_asked_for_gives_its_tables_back(tmp_path: Path) -> None:
    paths = [tmp_path / "first.h5", tmp_path / "second.h5"]
    writers = [scripted.live_log(path, rows=100) for path in paths]
    fields = (("reservoir", ("temperature",)),)
    with Workspace([tmp_path]) as workspace:

        def with_reservoir() -> list[bool]:
            logs = [workspace._runs[str(path)].log for path in paths]
            return ["reservoir" in log._tables for log in logs if log is not None]

        for asked, expected in ((0, [True, False]), (1, [False, True]), (0, [True, False])):
            answer = workspace.tick(ask(paths[asked], fields=fields))
            assert [snapshot.path for snapshot in answer.snapshots] == [str(paths[asked])], "answered anew each time"
            workspace.tick(ask(paths[asked], fields=fields))
            assert with_reservoir() == expected
    for writer in writers:
        writer.close()


def test_a_run_without_recorded_alerts_is_searched_here(tmp_path: Path) -> None:
    path = scripted.scripted_log(tmp_path / "run.h5", alerts=False, detectors={})
    with scripted.RunLogWriter.resume(path, 1999) as writer:
        for step in range(2000, 2060):
            writer.append("steps", step=step, time=scripted.CREATED + step * 0.01, loss=float("nan"))
    with Workspace([path]) as workspace:
        snapshot = workspace.tick(ask(path)).snapshots[0]
    assert not snapshot.alerts_recorded
    assert "non_finite" in {alert.kind for alert in snapshot.alerts}


def test_broken_replaced_and_vanished_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thermotui.analysis.workspace.SEARCH_INTERVAL", 0.0)
    broken, log = tmp_path / "broken.h5", scripted.scripted_log(tmp_path / "run.h5", rows=100, alerts=False)
    broken.write_bytes(b"\x89HDF\r\n\x1a\n" + b"\0" * 500)
    with Workspace([tmp_path]) as workspace:
        states = {summary.name: summary for summary in workspace.tick(ask(log)).summaries}
        assert states["broken"].state == "unreadable" and str(broken) in states["broken"].problem
        assert states["run"].step == 99
        # A good file in the place of the broken one, and a longer run in the place of the other.
        shutil.copy(log, broken)
        other = scripted.scripted_log(tmp_path / "other.h5", rows=300, alerts=False)
        other.replace(log)
        states = {summary.name: summary for summary in workspace.tick(ask(log)).summaries}
        assert states["broken"].state == "finished"
        assert states["run"].step == 299
        log.unlink()
        states = {summary.name: summary for summary in workspace.tick(ask(log)).summaries}
        assert states["run"].state == "deleted"


@pytest.mark.parametrize("asked", ["file", "directory"])
def test_what_was_asked_for_may_vanish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: str) -> None:
    monkeypatch.setattr("thermotui.analysis.workspace.SEARCH_INTERVAL", 0.0)
    log = scripted.scripted_log(tmp_path / "run.h5", rows=100, alerts=False)
    with Workspace([log if asked == "file" else tmp_path]) as workspace:
        assert workspace.tick(Query()).summaries[0].state == "finished"
        shutil.rmtree(tmp_path)
        assert workspace.tick(Query()).summaries[0].state == "deleted"


def test_what_was_asked_for_may_be_closed_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thermotui.analysis.workspace.SEARCH_INTERVAL", 0.0)
    log = scripted.scripted_log(tmp_path / "run.h5", rows=100, alerts=False)
    with Workspace([log]) as workspace:
        assert workspace.tick(Query()).summaries[0].state == "finished"

        def refuse(path, **options):
            raise PermissionError(errno.EACCES, "Permission denied", path)

        monkeypatch.setattr(os, "stat", refuse)
        assert [summary.name for summary in workspace.tick(Query()).summaries] == ["run"]


def test_only_what_changed_is_answered(tmp_path: Path) -> None:
    path = tmp_path / "live.h5"
    writer = scripted.live_log(path)
    with Workspace([path]) as workspace:
        query = ask(path, fields=(("steps", ("loss",)),))
        assert len(workspace.tick(query).snapshots) == 1
        scripted.write_rows(writer, 500, 510)
        writer.flush()
        assert workspace.tick(query).snapshots[0].lengths["steps"] == 510
        assert workspace.tick(ask(path, fields=(("steps", ("accuracy",)),))).snapshots != ()
    writer.close()


def test_an_avoided_file_is_never_opened(log: Path) -> None:
    touched: list[str] = []
    with Workspace([log], touched.append) as workspace:
        workspace.avoid(str(log), "reading it took too long")
        (summary,) = workspace.tick(ask(log)).summaries
    assert summary.problem == "reading it took too long"
    assert touched == []


def open_logs() -> set[str]:
    """Those of finished runs: HDF5 makes one open file of a reader and a writer in one process."""
    names = {Path(file.path).name for file in psutil.Process().open_files()}
    return {name for name in names if name.startswith("finished")}


def test_settled_runs_are_not_held_open(tmp_path: Path) -> None:
    finished = [scripted.scripted_log(tmp_path / f"finished-{index}.h5", rows=100) for index in range(3)]
    writer = scripted.live_log(tmp_path / "live.h5")
    with Workspace([tmp_path]) as workspace:
        before = workspace.tick(Query())
        assert open_logs() == set()
        assert {summary.loss.size for summary in before.summaries} == {25, 32}
        answered = workspace.tick(ask(finished[1], fields=(("steps", ("loss",)),)))
        assert answered.snapshots[0].lengths["steps"] == 100
        assert open_logs() == {"finished-1.h5"}
        workspace.tick(Query())
        assert open_logs() == set()
        finished[2].unlink()
        with scripted.RunLogWriter.resume(finished[0], 50) as resumed:
            scripted.write_rows(resumed, 51, 300)
        after = {summary.name: summary for summary in workspace.tick(Query()).summaries}
        assert after["finished-0"].step == 299
        assert after["finished-2"].state == "deleted"
    writer.close()


def test_a_tick_that_has_no_time_lists_the_newest_and_never_forgets_the_rest(tmp_path: Path) -> None:
    for age in range(4):
        path = scripted.scripted_log(tmp_path / f"{age}.h5", rows=100)
        os.utime(path, (1e9 - age, 1e9 - age))
    (tmp_path / "1.h5").write_bytes(b"broken")
    os.utime(tmp_path / "1.h5", (1e9 - 1, 1e9 - 1))
    with Workspace([tmp_path], look_seconds=0, detail_seconds=0) as workspace:
        listed = [{summary.name for summary in workspace.tick(Query()).summaries} for _ in range(4)]
        assert listed == [{"0"}, {"0", "1"}, {"0", "1", "2"}, {"0", "1", "2", "3"}]
        last = workspace.tick(Query()).summaries
        assert [summary.name for summary in last if summary.problem] == ["1"]
        assert {summary.curve_rows for summary in last if not summary.problem} == {100}


def test_what_is_asked_for_waits_for_no_other_run(tmp_path: Path) -> None:
    paths = [scripted.scripted_log(tmp_path / f"{index}.h5", rows=100) for index in range(6)]
    with Workspace([tmp_path], look_seconds=0, detail_seconds=0) as workspace:
        query = Query((str(paths[3]),))
        assert [snapshot.path for snapshot in workspace.tick(query).snapshots] == [str(paths[3])]
        asked = Query(tuple(map(str, paths[:2])))
        assert {summary.name for summary in workspace.tick(asked).summaries} >= {"3"}


def test_what_was_answered_about_a_run_is_forgotten_once_another_is_asked_for(tmp_path: Path) -> None:
    """Or else the questions about every run once visited add up."""
    paths = [scripted.scripted_log(tmp_path / f"{index}.h5", rows=100) for index in range(2)]
    with Workspace([tmp_path]) as workspace:
        first, ahead = (ask(paths[0], fields=(("steps", ("loss",)),), steps=steps) for steps in ((0, 50), (50, 99)))
        for query, told in (
            (first, True),
            (replace(ahead, purpose="ahead"), True),
            (replace(ahead, purpose="held"), False),
            (ask(paths[1]), True),
            (replace(ahead, purpose="held"), True),
        ):
            assert bool(workspace.tick(query).snapshots) == told, query


@pytest.mark.usefixtures("without_heartbeats")
def test_what_was_answered_before_there_were_more_rows_is_forgotten(tmp_path: Path) -> None:
    writer = scripted.live_log(tmp_path / "live.h5", rows=100)
    with Workspace([tmp_path]) as workspace:
        for first in range(100, 140, 2):
            for steps in ((0, first), (0, first + 1)):
                workspace.tick(ask(tmp_path / "live.h5", steps=steps))
            scripted.write_rows(writer, first, first + 2)
            writer.flush()
        (run,) = workspace._runs.values()
        assert len(run.answered) == 2
    writer.close()
