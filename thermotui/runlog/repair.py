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
from thermotui.runlog.errors import EmptyRunLogError, RunLogError
from thermotui.runlog.handle import LogFile
from thermotui.runlog.header import ATTRIBUTES, parse_header
from thermotui.runlog.opening import open_file, read_attributes, read_superblock
from thermotui.runlog.rollup import rolled_fields
from thermotui.runlog.schema import HEARTBEAT, STREAMS, Header, Stream, row_dtype
from thermotui.runlog.state import ENDED, judge
from thermotui.runlog.storage import Storage, lock_file, new_storage
from thermotui.runlog.table import Table
from thermotui.runlog.writer import COPY_BYTES, heartbeat_row


@dataclass(frozen=True)
class StreamRepair:
    """What became of one stream: rows that the table claims, rows saved, and what was wrong, empty where nothing.

    `last_step`: the step of the last row saved, 0 where there is none or the steps are not in order.
    """

    stream: str
    found: int
    saved: int
    problem: str
    last_step: int = 0


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
    log, or has a header that cannot be read; EmptyRunLogError where its writer died before the first row,
    and where none of the rows of a damaged log can be saved: nothing is written then.
    """
    with _opened(path) as (log, header, problems):
        tables = {name: _table_or_problem(log, header, stream) for name, stream in STREAMS.items()}
        unmeasured = {name: _lacking(table) for name, table in tables.items() if isinstance(table, Table)}
        if output is None and not problems:
            streams = tuple(_copy_stream(stream, tables[stream.name], None) for stream in STREAMS.values())
            if not any(stream.problem for stream in streams):
                return Repair(path, path, True, (), streams)
        with new_storage(output or path, header, replace_existing=output is None, unmeasured=unmeasured) as storage:
            streams = tuple(_copy_stream(stream, tables[stream.name], storage) for stream in STREAMS.values())
            _refuse_to_save_nothing(path, problems, streams)
            _say_the_end(log, header, storage, max(stream.last_step for stream in streams))
            storage.start()
            storage.close()
    sound = not problems and not any(stream.problem for stream in streams)
    return Repair(path, output or path, sound, tuple(problems), streams)


def _refuse_to_save_nothing(path: Path, problems: list[str], streams: tuple[StreamRepair, ...]) -> None:
    damaged = problems or any(stream.problem for stream in streams)
    # Signs of life are none of what was measured.
    measured = [stream for stream in streams if stream.stream != HEARTBEAT.name]
    if damaged and not any(stream.saved for stream in measured):
        found = sum(stream.found for stream in measured)
        lost = f"none of its {found} rows is sound" if found else "there are no rows in it"
        raise EmptyRunLogError(path, f"nothing but its header could be saved, {lost}; no log was written")


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[LogFile, Header, list[str]]]:
    """The file, its header, and what is wrong with it as a whole; locked against a writer meanwhile."""
    superblock = read_superblock(path)
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, lock_file(path, path))
        file = open_file(path, cut_short=True)
        stack.callback(file.close)
        try:
            header = parse_header(read_attributes(path, file, ATTRIBUTES))
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
    """The last row of `heartbeat` that can be read; None where there is none."""
    with contextlib.suppress(RunLogError):
        table = _table(log, header, STREAMS["heartbeat"])
        if table is not None:
            whole = np.flatnonzero(table.whole_chunks())
            if len(whole):
                chunk = int(whole[-1]) * table.chunk_rows
                row: np.void = table.read(None, chunk, chunk + table.chunk_rows)[-1]
                return row
    return None


def _table_or_problem(log: LogFile, header: Header, stream: Stream) -> Table | str:
    """The table of a stream, or what is wrong with it."""
    try:
        return _table(log, header, stream) or "the table is missing"
    except RunLogError as error:
        return error.reason


def _lacking(table: Table) -> list[str]:
    """The fields that a log may leave out and this one does."""
    return [name for name in rolled_fields(table.dtype) if name not in table.held]


def _copy_stream(stream: Stream, table: Table | str, target: Storage | None) -> StreamRepair:
    """Copy the sound rows of one stream to `target`; only count them where that is None."""
    if isinstance(table, str):
        return StreamRepair(stream.name, 0, 0, table)
    fields = None if target is None else target.dtypes[stream.name].names
    saved = unreadable = 0
    last_step = 0
    for rows in _sound_blocks(table, fields):
        if isinstance(rows, int):
            unreadable += rows
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
    return StreamRepair(stream.name, len(table), saved, "; ".join(problems), last_step)


def _sound_blocks(table: Table, fields: tuple[str, ...] | None) -> Iterator[Rows | int]:
    """The rows in blocks of neighbouring readable chunks; for chunks that are not, the number of rows they held."""
    whole = table.whole_chunks()
    many = max(1, COPY_BYTES // (table.chunk_rows * table.dtype.itemsize))
    for first in range(0, len(whole), many):
        last = min(first + many, len(whole))
        block = _read(table, fields, first, last) if whole[first:last].all() else None
        if block is not None:
            yield block
            continue
        for chunk in range(first, last):
            part = _read(table, fields, chunk, chunk + 1) if whole[chunk] else None
            yield part if part is not None else min(table.chunk_rows, len(table) - chunk * table.chunk_rows)


def _read(table: Table, fields: tuple[str, ...] | None, first: int, last: int) -> Rows | None:
    """The rows of chunks [first, last), None where they cannot be read."""
    try:
        return table.read(fields, first * table.chunk_rows, last * table.chunk_rows)
    except RunLogError:
        return None


def in_order(
    steps: np.ndarray[tuple[int], np.dtype[np.int64]], last: int
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which rows to keep so that steps are not negative and never decrease from `last` on.

    A step larger than both that follow it is an outlier, and goes; then whatever is smaller than one before it.
    """
    keep = steps >= max(last, 0)
    left = steps[keep]
    outlier = np.zeros(len(left), np.bool_)
    outlier[:-2] = (left[:-2] > left[1:-1]) & (left[:-2] > left[2:])
    highest = np.maximum.accumulate(np.where(outlier, 0, left))
    keep[keep] = ~outlier & (left >= highest)
    return keep


def _say_the_end(log: LogFile, header: Header, storage: Storage, last_step: int) -> None:
    """Where the writer did not live to say how the run ended, say that, as of its last sign of life."""
    beat = _last_beat(log, header)
    said = beat["state"].decode("utf-8", "replace") if beat is not None else ""
    if said not in ENDED:
        message = "ended without closing its log; repaired since"
        end = heartbeat_row(header, last_step, "interrupted", message)
        # Not the time of the repair: the age of a run is told from it.
        known = header.created if beat is None else float(beat["time"])
        end["time"] = known if np.isfinite(known) else header.created
        storage.store("heartbeat", [end])
