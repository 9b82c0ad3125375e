"""The one writer of a run log: created under another name, shown when complete, appended to by a background thread.

The training thread copies a row into a buffer and goes on. The flush thread writes rows and rollups, flushes them so
that readers see them, and adds a heartbeat about once a second, also while the training thread is busy. Whatever goes
wrong with the file, the training goes on: logging stops, `failure` says why, and one warning is logged.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np

from thermotui.runlog.buffer import RowBuffer, Rows
from thermotui.runlog.errors import RunLogError
from thermotui.runlog.layout import append_to_table, create_file, rollup_path
from thermotui.runlog.reader import RunLogReader
from thermotui.runlog.rollup import Rollups
from thermotui.runlog.schema import STREAMS, Header, State, row_dtype
from thermotui.runlog.state import heartbeat_interval

FLUSH_ROWS = 256
FLUSH_SECONDS = 0.5
REST_SECONDS = 0.05
"""Shortest time between two flushes: a fast run must not spend its processor on flushing."""
FILE_FLUSH_SECONDS = 30.0
COPY_ROWS = 16_384
MAX_WAITING_BYTES = 64 * 1024 * 1024
"""Rows that may wait for a slow disk before logging stops."""

logger = logging.getLogger("thermotui")


class RunLogWriter:
    """Writes one run log; a context manager. Make one with `create` or `resume`."""

    def __init__(self, path: Path, header: Header, file: h5py.File, lock: int) -> None:
        """For `create` and `resume`: a complete file before SWMR mode, and the descriptor that holds the lock."""
        self.path = path
        self.header = header
        self.failure: str | None = None
        """Why logging stopped; None while it works. The training goes on either way."""
        self._file = file
        self._lock = lock
        self._process = os.getpid()
        self._tables = {name: file[name] for name in STREAMS}
        self._buffers = {name: RowBuffer(name, row_dtype(stream, header)) for name, stream in STREAMS.items()}
        self._rollups = {name: Rollups(row_dtype(s, header)) for name, s in STREAMS.items() if s.rollups}
        self._rollup_tables = {
            name: [file[rollup_path(name, factor)] for factor in rollups.factors]
            for name, rollups in self._rollups.items()
        }
        self._started = time.monotonic()
        self._flushed = self._started
        self._beaten = 0.0
        self._step = 0
        self._saying: tuple[State, str] = ("starting", "")
        self._io = threading.RLock()
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="thermotui-runlog", daemon=True)

    @classmethod
    def create(cls, path: Path, header: Header) -> RunLogWriter:
        """A new log at `path`, which must not exist; missing directories are made.

        The file is complete before it gets its name: a reader never sees one being made, and a kill leaves none behind
        at `path`. Raises RunLogError where `path` exists or cannot be written.
        """
        path = Path(path)
        if path.exists():
            raise RunLogError(path, "exists already; choose another name with --log, or continue it with --resume")
        return cls._begin(path, header, None)

    @classmethod
    def resume(cls, path: Path, step: int) -> RunLogWriter:
        """Continue the log at `path` after optimizer step `step`: rows of later steps are dropped.

        The sound rows are copied into a fresh file that then takes the name; the old file is not touched, and readers
        that have it open go over to the new one. RunLogError where `path` is no run log, or is still being written.
        """
        path = Path(path)
        with RunLogReader(path) as old:
            lock = _lock_file(path, path)
            try:
                state = old.state()
                if state.live and old.header.host != socket.gethostname() and state.state != "stalled":
                    raise RunLogError(path, f"is being written on {old.header.host}; stop that run first")
                return cls._begin(
                    path, replace(old.header, host="", pid=0), lambda writer: copy_rows(old, writer, step)
                )
            finally:
                os.close(lock)

    @classmethod
    def _begin(cls, path: Path, header: Header, fill: Callable[[RunLogWriter], None] | None) -> RunLogWriter:
        """A new file under a hidden name, filled by `fill` where given, that takes the name `path` when complete."""
        header = replace(header, host=header.host or socket.gethostname(), pid=header.pid or os.getpid())
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = create_file(temporary, header)
        except OSError as error:
            raise RunLogError(path, f"cannot be written ({error.strerror or error}); choose another --log") from error
        try:
            writer = cls(path, header, file, _lock_file(temporary, path))
            if fill is not None:
                fill(writer)
            file.swmr_mode = True
            writer._add_heartbeat()
            writer.flush()
            if fill is None:
                _name_file(temporary, path)
            else:
                temporary.replace(path)
        except BaseException as error:
            file.close()
            temporary.unlink(missing_ok=True)
            if isinstance(error, OSError):
                raise RunLogError(path, f"cannot be written ({error.strerror or error})") from error
            raise
        atexit.register(writer._close_at_exit)
        writer._thread.start()
        return writer

    def dtype(self, stream: str) -> np.dtype[np.void]:
        """The compound dtype of one row of `stream` in this log."""
        return self._buffers[stream].dtype

    def append(self, stream: str, /, **values: Any) -> None:
        """Log one row of `stream`, a value a field: scalars, or arrays of the field's shape; text is cut to fit.

        Fields left out are NaN, 0 or empty. Copies the values and returns. ValueError for an unknown field or a value
        of the wrong shape; never an error because of the file.
        """
        if self._accepts_rows():
            count = self._buffers[stream].append(values)
            if count % FLUSH_ROWS == 0:
                self._note_waiting(stream)

    def append_rows(self, stream: str, rows: Rows) -> None:
        """Log a block of rows [n] of dtype `self.dtype(stream)`; ValueError for another dtype."""
        if self._accepts_rows() and len(rows):
            self._buffers[stream].extend(rows)
            if len(rows) >= FLUSH_ROWS:
                self._note_waiting(stream)

    def heartbeat(self, step: int, state: State = "running", message: str = "") -> None:
        """Say which step the run has reached; the flush thread writes it down, at once where the state is new."""
        changed = (state, message) != self._saying
        self._step, self._saying = step, (state, message)
        if changed:
            self._add_heartbeat()
            self._wake.set()

    def flush(self) -> None:
        """Write all rows logged so far and make them visible to readers, on the calling thread."""
        with self._io:
            self._drain()

    def close(self, state: State = "finished", message: str = "") -> None:
        """Write what is left and the final state, and close the file; a second call does nothing."""
        if self._closed or os.getpid() != self._process:
            return
        self._closed = True
        atexit.unregister(self._close_at_exit)
        self._stop.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()
        with self._io:
            self._drain()
            self._saying = (state, message)
            self._add_heartbeat()
            self._drain()
            self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        elif isinstance(error, KeyboardInterrupt):
            self.close("interrupted", "interrupted from the keyboard")
        else:
            self.close("failed", f"{type(error).__name__}: {error}")

    def _accepts_rows(self) -> bool:
        if self._closed:
            raise ValueError(f"{self.path}: the log is closed")
        return self.failure is None

    def _note_waiting(self, stream: str) -> None:
        if self._buffers[stream].waiting_bytes > MAX_WAITING_BYTES:
            self._fail(f"the disk is too slow: {MAX_WAITING_BYTES >> 20} MiB of rows were waiting to be written")
        self._wake.set()

    def _add_heartbeat(self) -> None:
        state, message = self._saying
        self._beaten = time.monotonic()
        self._buffers["heartbeat"].append({"time": time.time(), "step": self._step, "state": state, "message": message})

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wake.wait(FLUSH_SECONDS)
            self._wake.clear()
            now = time.monotonic()
            if now - self._beaten >= heartbeat_interval(now - self._started):
                self._add_heartbeat()
            with self._io:
                self._drain()
            self._stop.wait(REST_SECONDS)

    def _drain(self) -> None:
        """Write and flush all waiting rows. Errors of the file end here: they must not reach the training."""
        for name, buffer in self._buffers.items():
            blocks = buffer.take()
            if self.failure is None and blocks:
                try:
                    self._write(name, [block.rows[: block.count] for block in blocks])
                except Exception as error:  # noqa: BLE001 - HDF5 raises OSError, RuntimeError, ValueError, KeyError
                    self._fail(str(error))
            buffer.recycle(blocks)
        now = time.monotonic()
        if self.failure is None and now - self._flushed >= FILE_FLUSH_SECONDS:
            self._flushed = now
            with self._stop_logging_on_error():
                self._file.flush()

    def _write(self, stream: str, parts: list[Rows]) -> None:
        rows = np.concatenate(parts) if len(parts) > 1 else parts[0]
        for table in self._store(stream, rows):
            table.id.flush()
        if stream == "steps":
            self._step = max(self._step, int(rows["step"][-1]))

    def _store(self, stream: str, rows: Rows) -> list[h5py.Dataset]:
        """Append rows and the rollup rows that they complete, not flushed; returns the tables that grew."""
        tables = [self._tables[stream]]
        append_to_table(self._tables[stream], rows)
        if stream in self._rollups:
            for table, complete in zip(self._rollup_tables[stream], self._rollups[stream].add(rows), strict=True):
                if len(complete):
                    append_to_table(table, complete)
                    tables.append(table)
        return tables

    def _fail(self, reason: str) -> None:
        if self.failure is None:
            self.failure = reason
            logger.warning("%s: logging stopped, the training goes on: %s", self.path, reason)

    @contextlib.contextmanager
    def _stop_logging_on_error(self) -> Any:
        try:
            yield
        except Exception as error:  # noqa: BLE001 - as above: HDF5 raises several kinds
            self._fail(str(error))

    def _release(self) -> None:
        with self._stop_logging_on_error():
            self._file.close()
        os.close(self._lock)

    def _close_at_exit(self) -> None:
        self.close("interrupted", "the program ended without closing its log")


def _lock_file(actual: Path, shown: Path) -> int:
    """An advisory lock on the file for as long as the writer lives; the kernel drops it when the process dies."""
    descriptor = os.open(actual, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise RunLogError(shown, "is being written by another process; stop that run first") from error
    except OSError:
        # A file system without locks (some network mounts): the heartbeat is then the only guard.
        logger.info("%s: this file system has no locks", shown)
    return descriptor


def copy_rows(source: RunLogReader, target: RunLogWriter, last_step: int) -> None:
    """Copy every row of `source` up to and with `last_step` into a writer's file that no reader has seen yet."""
    for stream in STREAMS:
        for start in range(0, source.length(stream), COPY_ROWS):
            rows = source.read(stream, None, start, start + COPY_ROWS)
            rows = rows[rows["step"] <= last_step]
            if len(rows):
                target._store(stream, rows)


def _name_file(temporary: Path, path: Path) -> None:
    """Give the file its name without ever replacing another: a link fails where a rename would overwrite."""
    os.link(temporary, path)
    temporary.unlink()
