"""Nothing that reading does to its process reaches the screen: hangs, crashes, files that are no logs."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.tui import scripted
from thermotui.analysis.snapshot import Query, Tick
from thermotui.analysis.workspace import Workspace
from thermotui.errors import InputError
from thermotui.tui.mailbox import Mailbox
from thermotui.tui.poller import Poller
from thermotui.tui.reading import AT_ONCE, ReadingProcess


def test_answers_with_curves_that_the_log_holds(finished: Path) -> None:
    with ReadingProcess([finished]) as process:
        query = Query((str(finished),), (("thermo", ("heat",)),))
        tick = process.ask(query)
        assert tick is not None and tick.query == query
        (snapshot,) = tick.snapshots
        assert snapshot.lengths["thermo"] == 200
        assert snapshot.curves["thermo"].mean["heat"][-1] == pytest.approx(-5 * (1 - np.exp(-1990 / 500)))
        again = process.ask(query)
        assert again is not None and again.snapshots == ()


@pytest.mark.parametrize("refused", [0, errno.EPERM, errno.EINVAL])
def test_a_whole_answer_has_room_in_the_pipe_where_the_system_gives_it(
    finished: Path, refused: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    start = subprocess.Popen

    def starting(*arguments: Any, pipesize: int = -1, **options: Any) -> subprocess.Popen[bytes]:
        sizes.append(pipesize)
        if refused and pipesize > 0:
            raise OSError(refused, os.strerror(refused))
        return start(*arguments, pipesize=pipesize, **options)

    monkeypatch.setattr(subprocess, "Popen", starting)
    with ReadingProcess([finished]) as process:
        assert sizes == ([AT_ONCE, -1] if refused else [AT_ONCE])
        assert process.ask(Query()) is not None


def test_a_hang_is_ended_and_becomes_a_card_on_its_file(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As HDF5 does on some corrupt files: it never comes back, and holds the interpreter's lock meanwhile.
    (tmp_path / "sitecustomize.py").write_text(
        "import ctypes\n"
        "import thermotui.analysis.workspace as workspace\n"
        "read = workspace.RunLogReader\n"
        "hang = ctypes.PyDLL(None).sleep\n"
        "workspace.RunLogReader = lambda path: hang(1000) if path.name == 'hang.h5' else read(path)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    corrupt = tmp_path / "hang.h5"
    corrupt.write_bytes(b"\x89HDF\r\n\x1a\n")
    with ReadingProcess([finished, corrupt], patience=10.0) as process:
        started = time.monotonic()
        assert process.ask(Query()) is None
        assert time.monotonic() - started < 60
        tick = process.ask(Query((str(finished),)))
        assert tick is not None
        states = {summary.name: summary for summary in tick.summaries}
        assert states["batch-10"].state == "finished"
        assert states["hang"].state == "unreadable"
        assert "took too long" in states["hang"].problem
        assert len(tick.snapshots) == 1


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGSEGV])
def test_a_crash_is_survived(finished: Path, sent: signal.Signals) -> None:
    with ReadingProcess([finished]) as process:
        assert process.ask(Query()) is not None
        os.kill(process.pid, sent)
        answers = [process.ask(Query()), process.ask(Query())]
        assert answers[-1] is not None
        assert answers[-1].summaries[0].state == "finished"


def test_the_process_ends_with_its_parent(finished: Path) -> None:
    process = ReadingProcess([finished])
    assert process.ask(Query()) is not None
    process.close()
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)


def test_a_path_that_does_not_exist_is_said(tmp_path: Path) -> None:
    with ReadingProcess([tmp_path / "nowhere.h5"]) as process, pytest.raises(InputError, match="no such file"):
        process.ask(Query())


class _Scripted:
    """Answers with ticks numbered by the step of their only run."""

    def __init__(self) -> None:
        self.asked = threading.Semaphore(0)
        self.queries: list[Query] = []

    def ask(self, query: Query) -> Tick | None:
        self.queries.append(query)
        self.asked.release()
        return Tick(query, (), ())


def test_a_new_query_is_asked_at_once_and_nothing_new_is_not_delivered() -> None:
    mailbox, told = Mailbox(), []
    mailbox.listen(lambda: told.append(mailbox.take()))
    reading = _Scripted()
    poller = Poller(reading, 60.0, mailbox)
    poller.start()
    assert reading.asked.acquire(timeout=5)
    poller.query = Query(columns=7)
    assert reading.asked.acquire(timeout=5)
    poller.query = Query(columns=7)
    assert not reading.asked.acquire(timeout=0.2)
    poller.stop()
    poller.join(5)
    assert not poller.is_alive()
    assert [query.columns for query in reading.queries] == [512, 7]
    # The second answer has the same runs and no snapshot: the screen is not woken for it.
    assert len(told) == 1


def test_what_is_not_yet_taken_is_merged(finished: Path, workspace: Path) -> None:
    paths = (str(finished), str(workspace / "alpha.h5"))
    with ReadingProcess([finished, workspace]) as process:
        first, second = (process.ask(Query((path,))) for path in paths)
    assert first and second
    mailbox, told = Mailbox(), []
    mailbox.put(first)
    mailbox.listen(lambda: told.append("something is there"))
    mailbox.put(second)
    assert told == ["something is there"]
    assert mailbox.look(0) is not None
    merged = mailbox.take()
    assert merged is not None
    assert [snapshot.path for snapshot in merged.snapshots] == list(paths)
    assert merged.query == second.query
    assert mailbox.take() is None


def test_a_live_run_is_followed_through_the_process(tmp_path: Path) -> None:
    path = tmp_path / "live.h5"
    writer = scripted.live_log(path)
    with ReadingProcess([path]) as process:
        query = Query((str(path),), (("steps", ("loss",)),))
        first = process.ask(query)
        scripted.write_rows(writer, 500, 600)
        writer.flush()
        deadline = time.monotonic() + 10
        newest = None
        while newest is None and time.monotonic() < deadline:
            tick = process.ask(query)
            newest = tick.snapshots[0] if tick and tick.snapshots and tick.snapshots[0].summary.step == 599 else None
        writer.close()
    assert first is not None and first.snapshots[0].summary.step == 499
    assert newest is not None and newest.curves["steps"].step_last[-1] == 599


class _Workspaces:
    """Answers as the reading process does, and keeps what it was asked."""

    def __init__(self, path: Path) -> None:
        self.workspace = Workspace([path])
        self.queries: list[Query] = []

    def ask(self, query: Query) -> Tick | None:
        self.queries.append(query)
        return self.workspace.tick(query)


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_what_may_be_next_is_answered_ahead_and_not_read_again(finished: Path) -> None:
    reading, mailbox = _Workspaces(finished), Mailbox()
    poller = Poller(reading, 60.0, mailbox)
    now, later = (Query((str(finished),), (("thermo", ("heat",)),), steps) for steps in ((0, 100), (50, 150)))
    poller.query, poller.ahead = now, (later,)
    poller.start()
    _until(lambda: poller.held(later) is not None)
    first = mailbox.take()
    assert first is not None and first.snapshots == (poller.held(now),), "only what is shown goes to the screen"
    ahead = poller.held(later)
    assert ahead is not None and ahead.curves["thermo"].step_last[-1] == 160
    poller.query = later
    _until(lambda: poller.idle)
    second = mailbox.take()
    assert second is not None and second.snapshots == (ahead,), "the answer itself: nothing was read for it"
    assert [query.purpose for query in reading.queries] == ["shown", "ahead", "held"]
    poller.stop()
    poller.join(5)
    reading.workspace.close()


def test_large_answers_are_given_up_first_where_the_next_key_does_not_ask_for_them(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading = _Workspaces(finished)
    before, now, later = (Query((str(finished),), (("steps", ("loss",)),), (first, 1999)) for first in (0, 1, 2))
    answer = reading.ask(before).snapshots[0]
    assert answer.size == 3 * answer.curves["steps"].mean["loss"].nbytes
    for room, kept in ((3, {before, now, later}), (2, {now, later}), (1, {now, later})):
        monkeypatch.setattr("thermotui.tui.poller.KEPT_BYTES", room * answer.size)
        poller = Poller(reading, 60.0, Mailbox())
        poller.ahead = (later,)
        for query in (before, later, now):
            poller._keep(query, reading.workspace.tick(replace(query, purpose="ahead")).snapshots)
        assert {query for query in (before, now, later) if poller.held(query)} == kept
    reading.workspace.close()


def test_an_answer_that_was_kept_is_given_up_once_there_are_more_rows(tmp_path: Path) -> None:
    path = tmp_path / "live.h5"
    writer = scripted.live_log(path)
    reading = _Workspaces(path)
    poller = Poller(reading, 60.0, Mailbox())
    now, later = (Query((str(path),), (("steps", ("loss",)),), steps) for steps in (None, (400, 2000)))
    poller.query, poller.ahead = now, (later,)
    poller.start()
    _until(lambda: poller.held(later) is not None)
    old = poller.held(later)
    scripted.write_rows(writer, 500, 600)
    writer.flush()
    # Nothing has told the poller of the new rows yet.
    poller.query = later
    _until(lambda: poller.idle and poller.held(later) is not old)
    newer = poller.held(later)
    assert old is not None and old.curves["steps"].step_last[-1] == 499
    assert newer is not None and newer.curves["steps"].step_last[-1] == 599
    assert poller.held(now) is None, "it has fewer rows"
    poller.stop()
    poller.join(5)
    reading.workspace.close()
    writer.close()


@pytest.mark.usefixtures("without_heartbeats")
def test_a_run_that_gets_rows_is_not_read_ahead_for_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "live.h5"
    writer = scripted.live_log(path)
    reading = _Workspaces(path)
    poller = Poller(reading, 0.02, Mailbox())
    now, later = (Query((str(path),), (("steps", ("loss",)),), steps) for steps in (None, (400, 2000)))

    def grow(first: int) -> None:
        scripted.write_rows(writer, first, first + 100)
        writer.flush()

        def shown() -> bool:
            answer = poller.held(now)
            return answer is not None and answer.lengths["steps"] == first + 100

        _until(shown)

    poller.query, poller.ahead = now, (later,)
    poller.start()
    _until(lambda: poller.held(later) is not None)
    grow(500)
    _until(lambda: poller.held(later) is not None)
    monkeypatch.setattr(poller, "_ahead_until", 0.0)
    grow(600)
    asked = len(reading.queries)
    _until(lambda: len(reading.queries) > asked + 5)
    assert poller.held(later) is None
    # A key was pressed that may be followed by the same others.
    poller.ahead = (later,)
    _until(lambda: poller.held(later) is not None)
    poller.stop()
    poller.join(5)
    reading.workspace.close()
    writer.close()


def test_an_answer_about_another_log_at_the_same_path_is_not_kept(tmp_path: Path) -> None:
    path = scripted.scripted_log(tmp_path / "run.h5")
    reading = _Workspaces(path)
    poller = Poller(reading, 0.02, Mailbox())
    now, later = (Query((str(path),), (("thermo", ("heat",)),), steps) for steps in ((0, 100), (50, 150)))
    poller.query, poller.ahead = now, (later,)
    poller.start()
    _until(lambda: poller.held(later) is not None)
    old = poller.held(later)
    poller.ahead = ()
    other = scripted.scripted_log(tmp_path / "other" / "run.h5", created=scripted.CREATED + 100.0)
    other.replace(path)
    _until(lambda: poller.held(now) is not None and poller.held(now).header.created == scripted.CREATED + 100.0)
    assert old is not None and poller.held(later) is None
    poller.stop()
    poller.join(5)
    reading.workspace.close()
