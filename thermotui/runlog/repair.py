"""Saves what is sound in a log that was killed, cut short or corrupted; the damaged file is only read."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from thermotui.runlog.buffer import Rows
from thermotui.runlog.errors import RunLogError
from thermotui.runlog.handle import LogFile
from thermotui.runlog.header import parse_header
from thermotui.runlog.opening import open_file, read_attributes, read_superblock
from thermotui.runlog.schema import STREAMS, Header, Stream, row_dtype
from thermotui.runlog.state import ENDED, judge
from thermotui.runlog.storage import Storage, lock_file, new_storage
from thermotui.runlog.table import Table
from thermotui.runlog.writer import heartbeat, one_row


@dataclass(frozen=True)
class StreamRepair:
    """What became of one stream: rows that the table claims, rows saved, and what was wrong, empty where nothing."""

    stream: str
    found: int
    saved: int
    problem: str


@dataclass(frozen=True)
class Repair:
    """What was found and saved. `sound`: the file was closed and whole. `output` is where the sound rows are now."""

    path: Path
    output: Path
    sound: bool
    problems: tuple[str, ...]
    streams: tuple[StreamRepair, ...]


def repair(path: Path, output: Path | None = None) -> Repair:
    """Copy every sound row of `path` into a fresh log at `output`, or in the place of `path` where that is None.

    A file that was closed and is whole is not replaced. RunLogError where the file is still being written, is no run
    log, or has a header that cannot be read; EmptyRunLogError where its writer died before the first row.
    """
    with _opened(path) as (log, header, problems):
        if output is None and not problems:
            streams = tuple(_copy_stream(log, header, stream, None) for stream in STREAMS.values())
            if not any(stream.problem for stream in streams):
                return Repair(path, path, True, (), streams)
        with new_storage(output or path, header, replace_existing=output is None) as storage:
            streams = tuple(_copy_stream(log, header, stream, storage) for stream in STREAMS.values())
            _say_the_end(log, header, storage)
            storage.start()
            storage.close()
    sound = not problems and not any(stream.problem for stream in streams)
    return Repair(path, output or path, sound, tuple(problems), streams)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[LogFile, Header, list[str]]]:
    """The file, its header, and what is wrong with it as a whole; locked against a writer meanwhile."""
    superblock = read_superblock(path)
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, lock_file(path, path))
        file = open_file(path, cut_short=True)
        stack.callback(file.close)
        try:
            header = parse_header(read_attributes(path, file))
        except ValueError as error:
            raise RunLogError(path, f"{error}; without its header its rows mean nothing") from error
        log = LogFile(path, file)
        state = judge(header, _last_beat(log, header), closed=superblock.closed, now=time.time())
        if state.state in ("starting", "running"):
            raise RunLogError(path, f"is being written on {header.host}; repair it when that run has ended")
        problems = []
        if superblock.missing_bytes:
            problems.append(f"cut short by {superblock.missing_bytes} bytes")
        if not superblock.closed:
            problems.append("not closed by its writer")
        yield log, header, problems


def _table(log: LogFile, header: Header, stream: Stream) -> Table | None:
    return Table.open(log, stream.name, row_dtype(stream, header), damaged=True)


def _last_beat(log: LogFile, header: Header) -> np.void | None:
    with contextlib.suppress(RunLogError):
        beats = _table(log, header, STREAMS["heartbeat"])
        if beats is not None and len(beats) and beats.is_whole(len(beats) - 1):
            beat: np.void = beats.read(None, len(beats) - 1, len(beats))[0]
            return beat
    return None


def _copy_stream(log: LogFile, header: Header, stream: Stream, target: Storage | None) -> StreamRepair:
    """Copy the sound rows of one stream to `target`; only count them where that is None."""
    try:
        table = _table(log, header, stream)
    except RunLogError as error:
        return StreamRepair(stream.name, 0, 0, error.reason)
    if table is None:
        return StreamRepair(stream.name, 0, 0, "the table is missing")
    saved = unreadable = 0
    last_step = np.iinfo(np.int64).min
    for start in range(0, len(table), table.chunk_rows):
        rows = _whole_rows(table, start)
        if rows is None:
            unreadable += min(table.chunk_rows, len(table) - start)
            continue
        if stream.ordered:
            rows = rows[in_order(rows["step"], last_step)]
            last_step = int(rows["step"][-1]) if len(rows) else last_step
        saved += len(rows)
        if target is not None and len(rows):
            target.store(stream.name, [rows])
    problems = []
    if unreadable:
        problems.append(f"{unreadable} rows cannot be read")
    if len(table) - saved - unreadable:
        problems.append(f"{len(table) - saved - unreadable} rows have a step out of order")
    return StreamRepair(stream.name, len(table), saved, "; ".join(problems))


def _whole_rows(table: Table, start: int) -> Rows | None:
    """The rows of the chunk that begins at `start`; None where it lies beyond the file's end or cannot be read."""
    if not table.is_whole(start):
        return None
    try:
        return table.read(None, start, start + table.chunk_rows)
    except RunLogError:
        return None


def in_order(
    steps: np.ndarray[tuple[int], np.dtype[np.int64]], last: int
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which rows to keep so that steps never decrease from `last` on.

    A step larger than both that follow it is an outlier, and goes; then whatever is smaller than one before it.
    """
    keep = np.ones(len(steps), np.bool_)
    keep[:-2] = (steps[:-2] <= steps[1:-1]) | (steps[:-2] <= steps[2:])
    highest = np.maximum.accumulate(np.where(keep, np.maximum(steps, last), last))
    return keep & (steps >= highest)


def _say_the_end(log: LogFile, header: Header, storage: Storage) -> None:
    """Where the writer did not live to say how the run ended, say that."""
    beat = _last_beat(log, header)
    said = beat["state"].decode("utf-8", "replace") if beat is not None else ""
    if said not in ENDED:
        step = int(beat["step"]) if beat is not None else 0
        row = heartbeat(step, "interrupted", "ended without closing its log; repaired since")
        storage.store("heartbeat", [one_row("heartbeat", header, row)])
