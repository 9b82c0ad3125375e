"""The one writer of a run log: created under another name, shown when complete, appended to by a background thread.

The training thread copies a row into a buffer and goes on. The flush thread writes rows and rollups, flushes them so
that readers see them, and adds a heartbeat about once a second, also while the training thread is busy. Whatever goes
wrong with the file, the training goes on: logging stops, `failure` says why, and one warning is logged.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from thermotui.runlog.buffer import Block, RowBuffer, Rows
from thermotui.runlog.disk import reason_of
from thermotui.runlog.errors import RunLogError
from thermotui.runlog.reader import RunLogReader
from thermotui.runlog.schema import EVERYTHING_MEASURED, STREAMS, Header, State, Unmeasured, row_dtype
from thermotui.runlog.state import heartbeat_interval, this_host
from thermotui.runlog.storage import Storage, lock_file, new_storage, own_header

FLUSH_SECONDS = 0.5
REST_SECONDS = 0.2
"""Shortest time between two flushes: a fast run must not spend its processor on flushing."""
FILE_FLUSH_SECONDS = 30.0
ANSWER_SECONDS = 60.0
"""How long `flush` and `close` wait for a write that hangs in the flush thread."""
MAX_WAITING_BYTES = 64 * 1024 * 1024
"""Rows that may wait for a slow disk before logging stops."""
HURRY_BYTES = 4 * 1024 * 1024
"""Rows that end the flush thread's rest."""
COPY_BYTES = 16 * 1024 * 1024
"""What is copied at a time, from log to log; a row of many layers has kilobytes."""

logger = logging.getLogger("thermotui")


class RunLogWriter:
    """Writes one run log; a context manager. Make one with `create` or `resume`."""

    def __init__(self, path: Path, header: Header, storage: Storage) -> None:
        """For `create` and `resume`, which hand over a storage whose rows readers can already see."""
        self.path = path
        self.header = header
        self.failure: str | None = None
        """Why logging stopped; None while it works. The training goes on either way."""
        self._storage: Storage | None = storage
        self._process = os.getpid()
        self._buffers = {
            name: RowBuffer(name, dtype, row_dtype(STREAMS[name], header)) for name, dtype in storage.dtypes.items()
        }
        self._started = time.monotonic()
        self._flushed = self._started
        self._beaten = self._started
        self._step = 0
        self._saying: tuple[State, str] = ("starting", "")
        self._io = threading.RLock()
        self._wake = threading.Event()
        self._hurry = threading.Event()
        self._stop = threading.Event()
        self._storing = False
        self._closing = False
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="thermotui-runlog", daemon=True)
        atexit.register(self._close_at_exit)
        self._thread.start()

    @classmethod
    def create(cls, path: Path, header: Header, *, unmeasured: Unmeasured = EVERYTHING_MEASURED) -> RunLogWriter:
        """A new log at `path`, which must not exist; missing directories are made.

        unmeasured: fields, per stream, that this run will never measure. The file has no columns for them, and every
        reader takes them for NaN. ValueError for one that there is not, or that no log can do without.

        The file is complete before it gets its name: a reader never sees one being made, and a kill leaves none behind
        at `path`. Raises RunLogError where `path` exists or cannot be written.
        """
        path = Path(path)
        header = own_header(header)
        with new_storage(path, header, replace_existing=False, unmeasured=unmeasured) as storage:
            begin(storage, header, 0)
        return cls(path, header, storage)

    @classmethod
    def resume(
        cls, path: Path, step: int, *, steps: int | None = None, unmeasured: Unmeasured = EVERYTHING_MEASURED
    ) -> RunLogWriter:
        """Continue the log at `path` after optimizer step `step`: rows of later steps are dropped.

        steps: the number of steps that the run is now to have; as planned where None.
        unmeasured: as for `create`; fields that the log has already are kept all the same.

        The sound rows are copied into a fresh file that then takes the name; the old file is not touched, and readers
        that have it open go over to the new one. RunLogError where `path` is no run log, or is still being written.
        """
        path = Path(path)
        with RunLogReader(path) as old, contextlib.ExitStack() as stack:
            stack.callback(os.close, lock_file(path, path))
            state = old.state().state
            if state in ("starting", "running") and old.header.host != this_host():
                raise RunLogError(path, f"is being written on {old.header.host}; stop that run first")
            planned = old.header.steps if steps is None else steps
            header = own_header(replace(old.header, host="", pid=0, steps=planned))
            lacking = {name: [f for f in fields if f not in old.held(name)] for name, fields in unmeasured.items()}
            with new_storage(path, header, replace_existing=True, unmeasured=lacking) as storage:
                copy_rows(old, storage, step)
                begin(storage, header, step)
        writer = cls(path, header, storage)
        writer._step = step
        return writer

    def dtype(self, stream: str) -> np.dtype[np.void]:
        """The compound dtype of one row of `stream` in this log."""
        return self._buffers[stream].dtype

    def append(self, stream: str, /, **values: Any) -> None:
        """Log one row of `stream`, a value a field: scalars, or arrays of the field's shape; text is cut to fit.

        Fields left out are NaN, 0 or empty. Copies the values and returns. ValueError for an unknown field or a value
        of the wrong shape; never an error because of the file.
        """
        self.append_row(stream, values.pop("step", 0), values)

    def append_row(self, stream: str, step: int, values: Mapping[str, Any]) -> None:
        """As `append`, with all values but the step in a mapping: the quickest way for loops that log at every step."""
        if self._closing:
            raise self._refusal()
        if self.failure is None:
            many = self._buffers[stream].append(step, values)
            if many:
                self._note_waiting(stream)

    def append_rows(self, stream: str, rows: Rows) -> None:
        """Log a block of rows [n] of dtype `self.dtype(stream)`; ValueError for another dtype.

        Also of the schema's whole dtype, whose fields that this log leaves out are then dropped.
        """
        if self._closing:
            raise self._refusal()
        if self.failure is None and len(rows):
            many = self._buffers[stream].extend(rows)
            if many:
                self._note_waiting(stream)

    def heartbeat(self, step: int, state: State = "running", message: str = "") -> None:
        """Say which step the run has reached; the flush thread writes it down, at once where the state is new."""
        changed = (state, message) != self._saying
        self._step, self._saying = step, (state, message)
        if changed:
            self._add_heartbeat()
            self._wake.set()

    def flush(self) -> None:
        """Write all rows logged so far and make them visible to readers, on the calling thread.

        Waits for a write that hangs in the flush thread no longer than `close` does: then logging stops. Does nothing
        in a forked child, whose file it is not.
        """
        if os.getpid() != self._process:
            return
        if not self._io.acquire(timeout=0 if self.failure else ANSWER_SECONDS):
            self._fail(f"the disk did not answer for {ANSWER_SECONDS:.0f} s")
            return
        try:
            self._drain()
        finally:
            self._io.release()

    def close(self, state: State = "finished", message: str = "") -> None:
        """Write what is left and the final state, and close the file; a second call does nothing.

        A call that KeyboardInterrupt cuts short is made good by the next, at the latest when the program ends.
        """
        if self._closed or os.getpid() != self._process:
            return
        self._closing = True
        self._stop.set()
        self._wake.set()
        self._hurry.set()
        self._thread.join(ANSWER_SECONDS)
        if self._thread.is_alive():
            self._fail(f"the disk did not answer for {ANSWER_SECONDS:.0f} s")
        else:
            self.flush()
            self._end(state, message)
        self._closed = True
        atexit.unregister(self._close_at_exit)

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

    def _refusal(self) -> ValueError:
        return ValueError(f"{self.path}: the log is closed")

    def _note_waiting(self, stream: str) -> None:
        waiting = self._buffers[stream].waiting_bytes
        if waiting > HURRY_BYTES:
            self._hurry.set()
        if waiting > MAX_WAITING_BYTES:
            self._fail(f"the disk is too slow: {MAX_WAITING_BYTES >> 20} MiB of rows were waiting to be written")
        self._wake.set()

    def _add_heartbeat(self) -> None:
        state, message = self._saying
        self._beaten = time.monotonic()
        self._buffers["heartbeat"].append(self._step, heartbeat(state, message))

    def _run(self) -> None:
        while not self._stop.is_set() and self._storage is not None:
            self._wake.wait(FLUSH_SECONDS)
            self._wake.clear()
            now = time.monotonic()
            if now - self._beaten >= heartbeat_interval(now - self._started):
                self._add_heartbeat()
            self.flush()
            self._hurry.wait(REST_SECONDS)
            self._hurry.clear()

    def _drain(self) -> None:
        """Write and flush all waiting rows. Errors of the file end here: they must not reach the training."""
        taken: dict[str, list[Block]] = {}
        storage = self._storage
        if storage is None:
            for buffer in self._buffers.values():
                buffer.recycle(buffer.take())
        else:
            try:
                for name, buffer in self._buffers.items():
                    taken[name] = buffer.take()
                waiting = sum(block.rows.nbytes for blocks in taken.values() for block in blocks)
                reason = self.failure or storage.reason_to_stop(waiting)
                if reason is None:
                    self._write(storage, taken)
            except Exception as error:  # noqa: BLE001 - HDF5 raises OSError, RuntimeError, ValueError and KeyError
                self._fail(reason_of(error))
                self._abandon(storage)
            except BaseException:
                # KeyboardInterrupt, where this is the main thread. A table may now be longer than its rows.
                if self._storing:
                    self._fail("interrupted while rows were written")
                    self._abandon(storage)
                else:
                    for name, blocks in taken.items():
                        self._buffers[name].put_back(blocks)
                raise
            else:
                if reason is not None:
                    self._fail(reason)
                    self._end("interrupted", f"logging stopped: {reason}")
        for name, blocks in taken.items():
            self._buffers[name].recycle(blocks)

    def _write(self, storage: Storage, taken: dict[str, list[Block]]) -> None:
        """Write the blocks; those of a stream leave `taken` once they are stored."""
        for name, buffer in self._buffers.items():
            if not (blocks := taken[name]):
                continue
            if name == "steps":
                last = blocks[-1]
                self._step = max(self._step, int(last.rows["step"][last.count - 1]))
            self._storing = True
            storage.store(name, [block.rows[: block.count] for block in blocks])
            del taken[name]
            self._storing = False
            buffer.recycle(blocks)
        storage.flush_tables()
        now = time.monotonic()
        if now - self._flushed >= FILE_FLUSH_SECONDS:
            self._flushed = now
            storage.flush_file()

    def _fail(self, reason: str) -> None:
        if self.failure is None:
            self.failure = reason
            logger.warning("%s: logging stopped, the training goes on: %s", self.path, reason)

    def _end(self, state: State, message: str) -> None:
        """Write the last heartbeat and close the file."""
        storage = self._storage
        if storage is None:
            return
        try:
            storage.store("heartbeat", [heartbeat_row(self.header, self._step, state, message)])
            storage.flush_tables()
            storage.close()
            self._storage = None
        except Exception as error:  # noqa: BLE001 - as above
            self._fail(reason_of(error))
            self._abandon(storage)

    def _abandon(self, storage: Storage) -> None:
        self._storage = None
        try:
            storage.abandon()
        except Exception as error:  # noqa: BLE001 - the first failure has been said; this one changes nothing
            logger.debug("%s: %s", self.path, error)

    def _close_at_exit(self) -> None:
        self.close("interrupted", "the program ended without closing its log")


def heartbeat(state: State, message: str) -> dict[str, Any]:
    """What a row of `heartbeat` says beside the step, now."""
    return {"time": time.time(), "state": state, "message": message}


def heartbeat_row(header: Header, step: int, state: State, message: str) -> Rows:
    """One row [1] of `heartbeat`, now."""
    buffer = RowBuffer("heartbeat", row_dtype(STREAMS["heartbeat"], header))
    buffer.append(step, heartbeat(state, message))
    return buffer.take()[0].rows[:1]


def begin(storage: Storage, header: Header, step: int) -> None:
    """Open the storage to readers, with the sign of life that says "starting"."""
    storage.start()
    storage.store("heartbeat", [heartbeat_row(header, step, "starting", "")])
    storage.flush_tables()


def copy_rows(source: RunLogReader, target: Storage, last_step: int) -> None:
    """Copy every row of `source` up to and with `last_step` into a file that no reader has seen yet."""
    for stream, dtype in target.dtypes.items():
        many = max(1, COPY_BYTES // dtype.itemsize)
        for start in range(0, source.length(stream), many):
            rows = source.read(stream, dtype.names, start, start + many)
            rows = rows[rows["step"] <= last_step]
            if stream == "alerts":
                # The end of an alert has the step of its beginning; one that came later is found again.
                rows = rows[rows["end"] <= last_step]
            if len(rows):
                target.store(stream, [rows])
