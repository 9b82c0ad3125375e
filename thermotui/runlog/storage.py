"""The file behind a writer: its tables, the rollups that follow them, its flushes and its end. One thread at a time."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from weakref import WeakSet

import h5py
import numpy as np

from thermotui.runlog.appending import TableEnd
from thermotui.runlog.buffer import Rows, join
from thermotui.runlog.disk import divert, network_file_system, reason_not_to_start, reason_of, reason_to_stop
from thermotui.runlog.errors import RunLogError
from thermotui.runlog.layout import create_file, rollup_path
from thermotui.runlog.paths import is_there
from thermotui.runlog.rollup import Rollups
from thermotui.runlog.schema import EVERYTHING_MEASURED, STREAMS, Header, Unmeasured, file_dtypes
from thermotui.runlog.state import this_host

ABANDONED_SECONDS = 60.0
EXISTS = "exists already; choose another name"
NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}

logger = logging.getLogger("thermotui")


class Storage:
    """A log's file, open for writing. `dtypes`: of a row of each stream."""

    def __init__(self, file: h5py.File, dtypes: Mapping[str, np.dtype[np.void]], lock: int) -> None:
        """`lock`: the descriptor that holds the advisory lock on the file; closed with it."""
        self.dtypes = dtypes
        self._file = file
        self._lock = lock
        self._descriptor = int(file.id.get_vfd_handle())
        self._tables = {name: TableEnd(file[name]) for name in STREAMS}
        self._rollups = {name: Rollups(dtypes[name]) for name, stream in STREAMS.items() if stream.rollups}
        self._rollup_tables = {
            name: [TableEnd(file[rollup_path(name, factor)]) for factor in rollups.factors]
            for name, rollups in self._rollups.items()
        }
        self._unflushed: dict[TableEnd, None] = {}
        """In the order of their first row: no reader is to see a rollup before its rows."""
        _open.add(self)

    def start(self) -> None:
        """From here on readers may look while rows are added, and nothing but rows can be added."""
        self._file.swmr_mode = True

    def store(self, stream: str, blocks: Sequence[Rows]) -> None:
        """Append rows and the rollup rows that they complete; visible to readers after `flush_tables`."""
        rows = join(blocks)
        self._append(self._tables[stream], rows)
        if stream in self._rollups:
            completed = self._rollups[stream].add(rows)
            for table, done in zip(self._rollup_tables[stream], completed, strict=False):
                self._append(table, done)

    def _append(self, table: TableEnd, rows: Rows) -> None:
        # Gives a waiting training thread the interpreter between two calls into HDF5, which hold on to it.
        time.sleep(0)
        table.append(rows)
        self._unflushed[table] = None

    def flush_tables(self) -> None:
        """Make the stored rows visible to readers."""
        for table in self._unflushed:
            table.flush()
        self._unflushed.clear()

    def flush_file(self) -> None:
        """Write all of HDF5's caches, indexes included."""
        self._file.flush()

    def reason_to_stop(self, waiting_bytes: int) -> str | None:
        """Why the log should be closed at once: no room, or no name any more; None where it can go on."""
        return reason_to_stop(self._descriptor, waiting_bytes)

    def close(self) -> None:
        """Close the file and let go of the lock."""
        # First: a child forked meanwhile must not take descriptors that are others' by then for this log's.
        _open.discard(self)
        try:
            self._file.close()
        finally:
            os.close(self._lock)

    def leave_to_parent(self) -> None:
        """In a forked child: HDF5 would write its caches to the parent's live file as the child ends, and the lock
        would outlive the parent.
        """
        divert(self._descriptor)
        os.close(self._lock)

    def abandon(self) -> None:
        """After a failed write: leave the file as it is, readable to the last flush, and close what is open."""
        if self._file:
            divert(self._descriptor)
            self.close()


_open: WeakSet[Storage] = WeakSet()


def _leave_all_to_parent() -> None:
    for storage in tuple(_open):
        storage.leave_to_parent()
    _open.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_all_to_parent)


@contextlib.contextmanager
def new_storage(
    path: Path, header: Header, *, replace_existing: bool, unmeasured: Unmeasured = EVERYTHING_MEASURED
) -> Iterator[Storage]:
    """A complete log under a hidden name; at the end of the block it takes the name `path`, readable by others.

    A kill in between leaves nothing at `path`. On an exception the file goes away. RunLogError where it cannot be
    written, or where `path` has come to exist meanwhile and is not to be replaced; ValueError as `file_dtypes`.
    """
    dtypes = file_dtypes(header, unmeasured)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    if is_there(path, "written") and not replace_existing:
        raise RunLogError(path, EXISTS)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(path)
        shortage = reason_not_to_start(path.parent)
        if shortage is not None:
            raise RunLogError(path, f"cannot be written: {shortage}; make room or choose another --log")
        file = create_file(temporary, header, dtypes)
    except OSError as error:
        # A temporary that was there before may be another writer's, in the making.
        if not isinstance(error, FileExistsError):
            with contextlib.suppress(OSError):
                temporary.unlink()
        raise RunLogError(path, f"cannot be written ({reason_of(error)}); choose another --log") from error
    network = network_file_system(path)
    if network is not None:
        logger.warning("%s: is on a network file system (%s), where reading a live log is not reliable", path, network)
    storage = None
    try:
        storage = Storage(file, dtypes, lock_file(temporary, path))
        yield storage
        if replace_existing:
            temporary.replace(path)
        else:
            _name_file(temporary, path)
    except BaseException as error:
        if storage is None:
            file.close()
        else:
            storage.abandon()
        temporary.unlink(missing_ok=True)
        if isinstance(error, FileExistsError):
            raise RunLogError(path, EXISTS) from error
        if isinstance(error, OSError):
            raise RunLogError(path, f"cannot be written ({reason_of(error)})") from error
        raise


def lock_file(actual: Path, shown: Path) -> int:
    """An advisory lock on the file for as long as the writer lives; the kernel drops it when the process dies.

    RunLogError, naming the file `shown`, where another writer holds it.
    """
    descriptor = os.open(actual, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in NO_LOCKS:
            logger.warning("%s: this file system has no locks; nothing keeps a second writer away", shown)
            return descriptor
        os.close(descriptor)
        raise RunLogError(shown, "is being written by another process; stop that run first") from error
    return descriptor


def own_header(header: Header) -> Header:
    """The header with this host and this process where it names none."""
    return replace(header, host=header.host or this_host(), pid=header.pid or os.getpid())


def _name_file(temporary: Path, path: Path) -> None:
    """Give the file its name without ever replacing another: a link fails where a rename would overwrite."""
    try:
        path.hardlink_to(temporary)
    except FileExistsError:
        raise
    except OSError:
        # A file system without hard links. A rename is then the only way, with a moment between look and leap.
        if path.exists():
            raise FileExistsError(path) from None
        temporary.rename(path)
        return
    temporary.unlink()


def _remove_abandoned(path: Path) -> None:
    """Files that killed processes left in the making of this log: old, and locked by nobody."""
    for leftover in path.parent.glob(f".{path.name}.*.tmp"):
        with contextlib.suppress(OSError, RunLogError):
            if time.time() - leftover.stat().st_mtime > ABANDONED_SECONDS:
                os.close(lock_file(leftover, leftover))
                leftover.unlink()
