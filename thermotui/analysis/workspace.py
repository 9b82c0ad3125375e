"""The runs under a set of paths, asked together: new ones appear, broken and vanished ones say so."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from thermotui.analysis.answering import take_snapshot
from thermotui.analysis.monitoring import AlertFollower
from thermotui.analysis.ranks import group_ranks
from thermotui.analysis.run_state import RunSummary, summarise, with_details, with_details_of
from thermotui.analysis.snapshot import Query, RunSnapshot, Tick
from thermotui.errors import InputError
from thermotui.runlog.reader import RunLogReader
from thermotui.runlog.schema import STREAMS
from thermotui.runlog.workspace import find_logs

SEARCH_INTERVAL = 2.0
"""Seconds between two looks for new files: a directory on a network file system is slow to list."""
SETTLED = ("finished", "failed", "interrupted", "crashed", "empty")
"""States of runs that write no more: until their file changes they are not opened again."""
REMEMBERED_ANSWERS = 32
"""Questions about a run of which it is known that they were answered from the log as it is."""


@dataclass
class _Run:
    """A run that was looked at. identity: device and inode, by which a file put in its place is noticed.
    looked: when, in seconds since 1970.

    log: None while nothing is asked of a settled run. complete: whether `follower` and the curves have every row.
    shown: the question that the newest answer shown was about, and what it was made of.
    made_of: what the last answers were made of, and answered: the questions, the last at the end.
    """

    file: Path
    identity: tuple[int, int]
    log: RunLogReader | None = None
    modified: tuple[int, int] = (-1, -1)
    summary: RunSummary | None = None
    follower: AlertFollower | None = None
    complete: bool = False
    looked: float = 0.0
    looked_closely: float = -math.inf
    shown: tuple[object, ...] | None = None
    made_of: tuple[object, ...] = ()
    answered: dict[Query, None] = field(default_factory=dict)

    def opened(self) -> RunLogReader:
        """The log, opened where it is not."""
        if self.log is None:
            self.log = RunLogReader(self.file)
        return self.log

    @property
    def settled(self) -> bool:
        """Whether all is known of a run that writes no more."""
        return self.complete and self.summary is not None and self.summary.state in SETTLED

    def age(self, now: float | None) -> None:
        """A run that is not looked at again grows older all the same."""
        now = time.time() if now is None else now
        if self.summary is not None:
            self.summary = replace(self.summary, age=max(0.0, self.summary.age + now - self.looked))
        self.looked = now

    def close(self) -> None:
        """Close the log; what is known of the run stays."""
        if self.log is not None:
            self.log.close()
            self.log = None


class Workspace:
    """Runs found under `paths`. `about_to_read` is called with a path before each file is touched, for a watchdog.

    A tick lists runs for at most `look_seconds`, the newest files first, and then looks closely, for curves and alerts,
    for at most `detail_seconds`, live runs first; later ticks do the rest. What a query names does not wait.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        about_to_read: Callable[[str], None] = lambda path: None,
        *,
        look_seconds: float = math.inf,
        detail_seconds: float = math.inf,
    ) -> None:
        self._paths = [Path(path) for path in paths]
        self._about_to_read = about_to_read
        self._look_seconds, self._detail_seconds = look_seconds, detail_seconds
        self._files: list[Path] = []
        self._searched = -SEARCH_INTERVAL
        self._runs: dict[str, _Run] = {}
        self._broken: dict[str, tuple[tuple[int, ...], RunSummary]] = {}

    def __enter__(self) -> Workspace:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every file."""
        for run in self._runs.values():
            run.close()
        self._runs.clear()

    def avoid(self, path: str, reason: str) -> None:
        """Never open `path` again unless another file takes its place: reading it once hung or crashed the reader."""
        self._broken[path] = (_identity(Path(path)), self._card(path, reason))

    def tick(self, query: Query, now: float | None = None) -> Tick:
        """Look at every run; answer `query` for the runs it names where anything changed since the last tick."""
        self._search()
        self._look_at_all(query, now)
        self._look_closely(query, now)
        snapshots = list(self._answers(query))
        for path, run in self._runs.items():
            if path not in query.runs and (run.shown is not None or run.settled):
                # A run that is no longer asked for, live or not, gives back the tables that only its curves needed,
                # and what was answered is answered again if it is asked once more.
                run.shown = None
                run.made_of, run.answered = (), {}
                run.close()
        return Tick(query, tuple(group_ranks(self._summaries())), tuple(snapshots))

    def _search(self) -> None:
        now = time.monotonic()
        if now - self._searched >= SEARCH_INTERVAL:
            self._searched = now
            # A path that vanishes later must not end the screen: its runs stay in the list and say so.
            found: dict[Path, None] = {}
            for path in self._paths:
                try:
                    found.update(dict.fromkeys(find_logs([path])))
                except InputError:
                    if not self._files:
                        raise
            known = found.keys()
            # A file that vanished stays in the list, as a card that says so.
            self._files = [*found, *(file for file in self._files if file not in known)]

    def _summaries(self) -> Iterator[RunSummary]:
        for path in map(str, self._files):
            if path in self._broken:
                yield self._broken[path][1]
            elif path in self._runs and (summary := self._runs[path].summary):
                yield summary

    def _look_at_all(self, query: Query, now: float | None) -> None:
        begin = time.monotonic()
        new = [file for file in self._files if str(file) not in self._runs]
        known = [file for file in self._files if str(file) in self._runs]
        new.sort(key=lambda file: (str(file) in query.runs, _modified(file)), reverse=True)
        for file in (*known, *new):
            path = str(file)
            if self._is_broken(file):
                continue
            is_new = path not in self._runs
            try:
                self._look(file, now)
            except InputError as error:
                self._break(path, str(error))
            if is_new and time.monotonic() - begin > self._look_seconds:
                break

    def _is_broken(self, file: Path) -> bool:
        path = str(file)
        if path not in self._broken:
            return False
        identity = _identity(file)
        if self._broken[path][0] in (identity, identity + _modified(file)):
            return True
        del self._broken[path]
        return False

    def _look(self, file: Path, now: float | None) -> None:
        path, identity = str(file), _identity(file)
        run = self._runs.get(path)
        if run and run.identity != identity and identity != (0, 0):
            # Another file lies there now: a run that was resumed, or restarted under the same name.
            run.close()
            run = None
        run = run or _Run(file, identity)
        self._runs[path] = run
        modified = _modified(file)
        if run.summary and modified == run.modified and run.summary.state in SETTLED:
            run.age(now)
            return
        if run.log is None and run.summary and identity == (0, 0):
            run.summary = replace(run.summary, state="deleted", message="the file is gone")
            run.age(now)
            return
        self._about_to_read(path)
        run.modified = modified
        run.looked = time.time() if now is None else now
        log = run.opened()
        log.refresh()
        summary = summarise(log, path, self._name(file), now)
        run.summary = with_details_of(summary, run.summary) if run.summary else summary
        run.complete = False

    def _look_closely(self, query: Query, now: float | None) -> None:
        begin = time.monotonic()

        def urgency(run: _Run) -> tuple[bool, bool, float, int]:
            assert run.summary is not None
            return str(run.file) not in query.runs, not run.summary.live, run.looked_closely, -run.modified[0]

        waiting = [run for run in self._runs.values() if run.summary and not run.complete]
        for run in sorted(waiting, key=urgency):
            path = str(run.file)
            self._about_to_read(path)
            try:
                self._take_details(run, now)
            except InputError as error:
                self._break(path, str(error))
            if path not in query.runs and time.monotonic() - begin > self._detail_seconds:
                break

    def _take_details(self, run: _Run, now: float | None) -> None:
        assert run.summary is not None
        log = run.opened()
        run.follower = run.follower or AlertFollower(log.header)
        run.complete = run.follower.follow(log, log.state(now))
        run.looked_closely = time.monotonic()
        run.summary = with_details(run.summary, log, run.follower.alerts, run.follower.searched_to)

    def _answers(self, query: Query) -> Iterator[RunSnapshot]:
        for path in query.runs:
            run = self._runs.get(path)
            if run is None or run.summary is None or run.follower is None:
                continue
            if run.log is None and run.summary.state == "deleted":
                continue
            self._about_to_read(path)
            try:
                snapshot = self._answer(run, run.summary, run.follower, query)
            except InputError as error:
                self._break(path, str(error))
                continue
            if snapshot is not None:
                yield snapshot

    def _answer(self, run: _Run, summary: RunSummary, follower: AlertFollower, query: Query) -> RunSnapshot | None:
        log = run.opened()
        lengths = {stream: log.length(stream) for stream in STREAMS}
        question = replace(query, purpose="shown")
        made_of = replace(summary, age=0.0), tuple(lengths.values()), follower.alerts
        if made_of != run.made_of:
            # No answer from before is the newest any more.
            run.made_of, run.answered = made_of, {}
        if query.purpose == "held" and question in run.answered:
            run.shown = question, made_of
        if query.purpose != "ahead" and run.shown == (question, made_of):
            return None
        snapshot = take_snapshot(log, lengths, summary, follower, query)
        if query.purpose != "ahead":
            run.shown = question, made_of
        run.answered.pop(question, None)
        run.answered[question] = None
        while len(run.answered) > REMEMBERED_ANSWERS:
            del run.answered[next(iter(run.answered))]
        return snapshot

    def _break(self, path: str, reason: str) -> None:
        run = self._runs.pop(path, None)
        if run:
            run.close()
        self._broken[path] = (_identity(Path(path)) + _modified(Path(path)), self._card(path, reason))

    def _card(self, path: str, reason: str) -> RunSummary:
        return RunSummary(path=path, name=self._name(Path(path)), state="unreadable", problem=reason)

    def _name(self, file: Path) -> str:
        """The file's name without its ending, with its directory below the path that was asked for."""
        for root in self._paths:
            if file != root and file.is_relative_to(root):
                return str(file.relative_to(root).with_suffix(""))
        return file.stem


def _identity(file: Path) -> tuple[int, int]:
    """Device and inode; (0, 0) where there is no such file."""
    try:
        status = file.stat()
    except OSError:
        return 0, 0
    return status.st_dev, status.st_ino


def _modified(file: Path) -> tuple[int, int]:
    try:
        status = file.stat()
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_size
