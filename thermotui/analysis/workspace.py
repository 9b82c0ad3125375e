"""The runs under a set of paths, held open and asked together: new ones appear, broken and vanished ones say so."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from thermotui.analysis.monitoring import AlertFollower
from thermotui.analysis.run_state import RunSummary, summarise
from thermotui.analysis.snapshot import Query, RunSnapshot, Tick, take_snapshot
from thermotui.errors import InputError
from thermotui.runlog.reader import RunLogReader
from thermotui.runlog.schema import STREAMS
from thermotui.runlog.workspace import find_logs

SEARCH_INTERVAL = 2.0
"""Seconds between two looks for new files: a directory on a network file system is slow to list."""
FINISHED = ("finished", "failed", "interrupted")


@dataclass
class _Open:
    """A log that is held open. identity: device and inode, by which a file put in its place is noticed."""

    log: RunLogReader
    follower: AlertFollower
    identity: tuple[int, int]
    modified: tuple[int, int]
    summary: RunSummary | None = None
    lengths: dict[str, int] | None = None
    complete: bool = False
    shown: tuple[object, ...] | None = None


class Workspace:
    """Runs found under `paths`. `about_to_read` is called with a path before each file is touched, for a watchdog."""

    def __init__(self, paths: Sequence[Path], about_to_read: Callable[[str], None] = lambda path: None) -> None:
        self._paths = [Path(path) for path in paths]
        self._about_to_read = about_to_read
        self._files: list[Path] = []
        self._searched = -SEARCH_INTERVAL
        self._open: dict[str, _Open] = {}
        self._broken: dict[str, tuple[tuple[int, ...], RunSummary]] = {}

    def __enter__(self) -> Workspace:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every file."""
        for entry in self._open.values():
            entry.log.close()
        self._open.clear()

    def avoid(self, path: str, reason: str) -> None:
        """Never open `path` again unless another file takes its place: reading it once hung or crashed the reader."""
        self._broken[path] = (_identity(Path(path)), self._card(path, reason))

    def tick(self, query: Query, now: float | None = None) -> Tick:
        """Look at every run; answer `query` for the runs it names where anything changed since the last tick."""
        self._search()
        summaries, snapshots = [], []
        for file in self._files:
            path = str(file)
            entry, summary = self._look(file, now)
            summaries.append(summary)
            if entry is None or path not in query.runs:
                continue
            try:
                snapshot = self._answer(entry, query)
            except InputError as error:
                summaries[-1] = self._break(path, str(error))
                continue
            if snapshot is not None:
                snapshots.append(snapshot)
        return Tick(query, tuple(summaries), tuple(snapshots))

    def _search(self) -> None:
        now = time.monotonic()
        if now - self._searched >= SEARCH_INTERVAL:
            self._searched = now
            # A path that vanishes later must not end the screen: its runs stay in the list and say so.
            found = find_logs([path for path in self._paths if path.exists()] if self._files else self._paths)
            known = set(found)
            # A file that vanished stays in the list, as a card that says so.
            self._files = [*found, *(file for file in self._files if file not in known)]

    def _look(self, file: Path, now: float | None) -> tuple[_Open | None, RunSummary]:
        path = str(file)
        identity = _identity(file)
        if path in self._broken:
            known, card = self._broken[path]
            if known in (identity, identity + _modified(file)):
                return None, card
            del self._broken[path]
        entry = self._open.get(path)
        if entry and entry.identity != identity and identity != (0, 0):
            # Another file lies there now: a run that was resumed, or restarted under the same name.
            entry.log.close()
            del self._open[path]
            entry = None
        self._about_to_read(path)
        try:
            if entry is None:
                log = RunLogReader(file)
                entry = self._open[path] = _Open(log, AlertFollower(log.header), identity, (-1, -1))
            self._refresh(entry, file, now)
        except InputError as error:
            return None, self._break(path, str(error))
        assert entry.summary is not None
        return entry, entry.summary

    def _refresh(self, entry: _Open, file: Path, now: float | None) -> None:
        modified = _modified(file)
        if entry.summary and entry.complete and entry.summary.state in FINISHED and modified == entry.modified:
            return
        entry.modified = modified
        entry.log.refresh()
        entry.lengths = {stream: entry.log.length(stream) for stream in STREAMS}
        entry.complete = entry.follower.follow(entry.log, entry.log.state(now))
        entry.summary = summarise(entry.log, str(file), self._name(file), entry.follower.alerts, now)

    def _answer(self, entry: _Open, query: Query) -> RunSnapshot | None:
        assert entry.summary is not None and entry.lengths is not None
        steady = replace(entry.summary, age=0.0)
        shown = (query, steady, tuple(entry.lengths.values()), entry.follower.alerts)
        if shown == entry.shown:
            return None
        snapshot = take_snapshot(entry.log, entry.lengths, entry.summary, entry.follower, query)
        entry.shown = shown
        return snapshot

    def _break(self, path: str, reason: str) -> RunSummary:
        entry = self._open.pop(path, None)
        if entry:
            entry.log.close()
        card = self._card(path, reason)
        self._broken[path] = (_identity(Path(path)) + _modified(Path(path)), card)
        return card

    def _card(self, path: str, reason: str) -> RunSummary:
        return RunSummary(path=path, name=self._name(Path(path)), state="unreadable", problem=reason)

    def _name(self, file: Path) -> str:
        """The file's name without its ending, with its directory below the path that was asked for."""
        for root in self._paths:
            if root.is_dir() and file.is_relative_to(root):
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
