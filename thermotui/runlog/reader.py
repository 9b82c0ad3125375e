"""Reads a run log that is being written, has ended, has crashed, or is not to be trusted. Never blocks the writer."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from thermotui.runlog.buffer import Rows
from thermotui.runlog.disk import network_file_system
from thermotui.runlog.errors import EmptyRunLogError, RunLogError
from thermotui.runlog.handle import open_log
from thermotui.runlog.header import ATTRIBUTES, parse_header
from thermotui.runlog.kept_overviews import KeptOverviews
from thermotui.runlog.layout import rollup_path
from thermotui.runlog.opening import read_attributes, read_superblock
from thermotui.runlog.overview import Overview, overview, width_for
from thermotui.runlog.rollup import rolled_fields, rollup_dtype
from thermotui.runlog.schema import ROLLUP_FACTORS_OF_VERSION, STREAMS, Header, row_dtype
from thermotui.runlog.state import ENDED, RunState, judge
from thermotui.runlog.table import Table

__all__ = ["EmptyRunLogError", "Overview", "RunLogError", "RunLogReader", "RunState"]

UNUSED_SECONDS = 5.0
"""Time for which a rollup that was read stays open: each takes 0.1 MB, and as long to open as a few to refresh."""


class RunLogReader:
    """A view of one run log; a context manager. All lengths are as of the last `refresh`.

    Not for use by several threads at once. Raises RunLogError for a file that is no run log or is damaged, and
    EmptyRunLogError for one whose writer died while creating it.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        # There another machine's writes show in a file that is opened anew, not always in one that is open.
        self._reopens = network_file_system(self.path) is not None
        self._open()

    def _open(self) -> None:
        self._log = open_log(self.path)
        self._closed = False
        try:
            self._tables: dict[str, tuple[int, Table | None]] = {}
            self._rollups_read: dict[str, float] = {}
            """When each rollup that is open was last read."""
            try:
                attributes = read_attributes(self.path, self._log.file, ATTRIBUTES)
                self.header: Header = parse_header(attributes)
            except ValueError as error:
                raise RunLogError(self.path, str(error)) from error
            self._factors = ROLLUP_FACTORS_OF_VERSION[attributes["format_version"]]
            self._dtypes: dict[str, np.dtype[np.void]] = {}
            self._kept = KeptOverviews()
            self._generation = 0
        except BaseException:
            self.close()
            raise

    def refresh(self) -> None:
        """See the rows flushed since; where the file was replaced by a resumed run, go over to that.

        A deleted or moved file stays readable as it was. Cheap: tables refresh when they are next read.
        """
        identity = _identity(self.path)
        if identity is not None and (identity != self._log.identity or self._reopens):
            self.close()
            self._open()
        self._generation += 1
        now = time.monotonic()
        for name in [name for name, read in self._rollups_read.items() if now - read > UNUSED_SECONDS]:
            del self._rollups_read[name]
            self._tables.pop(name, None)

    def _table(self, name: str, dtype: np.dtype[np.void]) -> Table | None:
        generation, table = self._tables.get(name, (-1, None))
        if generation < 0:
            table = Table.open(self._log, name, dtype)
        elif generation != self._generation and table is not None:
            table.refresh()
        self._tables[name] = (self._generation, table)
        return table

    def _stream(self, stream: str) -> Table:
        if stream not in STREAMS:
            raise RunLogError(self.path, f"there is no stream {stream!r}; there are {', '.join(STREAMS)}")
        if stream not in self._dtypes:
            self._dtypes[stream] = row_dtype(STREAMS[stream], self.header)
        table = self._table(stream, self._dtypes[stream])
        if table is None:
            raise RunLogError(self.path, f"lacks the table {stream!r}; try: thermotui repair")
        return table

    def dtype(self, stream: str) -> np.dtype[np.void]:
        """The compound dtype of one row of `stream` in this log."""
        return self._stream(stream).dtype

    def held(self, stream: str) -> tuple[str, ...]:
        """The fields of `stream` that the file has a column for; the others were never measured and read as such."""
        return self._stream(stream).held

    def length(self, stream: str) -> int:
        """Number of rows of `stream`."""
        return len(self._stream(stream))

    def read(self, stream: str, fields: Sequence[str] | None = None, start: int = 0, stop: int | None = None) -> Rows:
        """Rows [start, stop) of `stream` as a structured array of `fields` (all by default), cut to what there is.

        Negative positions count from the end, as in a slice. RunLogError for a field that the stream does not have.
        """
        table = self._stream(stream)
        first, last, _ = slice(start, stop).indices(len(table))
        try:
            return table.read(None if fields is None else tuple(fields), first, last)
        except KeyError as error:
            raise RunLogError(self.path, f"stream {stream} has no field {error.args[0]!r}") from error

    def row_range(self, stream: str, first_step: int, last_step: int) -> tuple[int, int]:
        """Rows [start, stop) of `stream` whose step lies in [first_step, last_step], by binary search.

        RunLogError for `alerts` and `heartbeat`: an alert's end has the step of its beginning, so their steps are not
        in order.
        """
        table = self._stream(stream)
        if not STREAMS[stream].ordered:
            raise RunLogError(self.path, f"the steps of {stream} are not in order; read all its rows")
        return table.first_at_least("step", first_step), table.first_at_least("step", last_step + 1)

    def overview(
        self, stream: str, fields: Sequence[str], start: int = 0, stop: int | None = None, buckets: int = 512
    ) -> Overview:
        """Minimum, maximum and mean of `fields` in at most `buckets` buckets over rows [start, stop).

        Buckets are a power of two of rows wide and begin at multiples of it: panning and following never move a
        bucket's edge. Reads rollups, so the cost grows with the buckets and not with the rows. Floating-point fields.
        """
        first, last, _ = slice(start, stop).indices(self.length(stream))
        return self._overview(stream, fields, first, last, self._width(stream, first, last, buckets))

    def overview_followed(
        self,
        stream: str,
        fields: Sequence[str],
        start: int = 0,
        stop: int | None = None,
        buckets: int = 512,
        *,
        keep: bool = True,
    ) -> Overview:
        """As `overview`, without `measured`; whole buckets of the last few windows that were kept are not read again.

        For whoever asks again and again while a log grows, or moves along it. keep: whether this window is kept.
        """
        first, last, _ = slice(start, stop).indices(self.length(stream))
        width = self._width(stream, first, last, buckets)
        read = partial(self._overview, stream, fields, width=width)
        known = [name for name in ("step", "time") if name in (self._stream(stream).dtype.names or ())]
        mark = partial(self._mark, stream, tuple(dict.fromkeys((*known, *fields))))
        return self._kept.overview((stream, *fields), width, first, last, read, mark, keep=keep)

    def _mark(self, stream: str, fields: tuple[str, ...], row: int) -> bytes | None:
        table = self._stream(stream)
        return table.read(fields, row, row + 1).tobytes() if 0 <= row < len(table) else None

    def _width(self, stream: str, start: int, stop: int, buckets: int) -> int:
        return width_for(self._stream(stream), self._rollups(stream), start, stop, buckets)

    def _rollups(self, stream: str) -> tuple[int, ...]:
        return self._factors if STREAMS[stream].rollups else ()

    def _overview(self, stream: str, fields: Sequence[str], start: int, stop: int, width: int) -> Overview:
        table = self._stream(stream)
        rolled = rolled_fields(table.dtype)
        for field in fields:
            if field not in rolled:
                raise RunLogError(self.path, f"stream {stream} has no floating-point field {field!r}")

        def level(factor: int) -> Table | None:
            name = rollup_path(stream, factor)
            self._rollups_read[name] = time.monotonic()
            return self._table(name, rollup_dtype(table.dtype))

        return overview(table, self._rollups(stream), level, fields, start, stop, width)

    def state(self, now: float | None = None) -> RunState:
        """What the run is doing, by its last heartbeat, its process and its file. `now`: seconds since the epoch."""
        now = time.time() if now is None else now
        beats = self._stream("heartbeat")
        beat = beats.read(None, len(beats) - 1, len(beats))[0] if len(beats) else None
        if _identity(self.path) is None:
            age = now - (float(beat["time"]) if beat is not None else self.header.created)
            state = RunState("deleted", int(beat["step"]) if beat is not None else 0, age, "the file is gone")
        else:
            state = judge(self.header, beat, closed=read_superblock(self.path).closed, now=now)
        if state.state in ENDED:
            return state
        # The last beat may be older than the last row.
        steps = self._stream("steps")
        last = steps.read(("step",), len(steps) - 1, len(steps))
        return replace(state, step=max(state.step, int(last["step"][0]))) if len(last) else state

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        self._tables = {}
        if not self._closed:
            self._closed = True
            self._log.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _identity(path: Path) -> tuple[int, int] | None:
    """Device and inode, None where there is no such file: a resumed run is another file of the same name."""
    with contextlib.suppress(OSError):
        status = path.stat()
        return status.st_dev, status.st_ino
    return None
