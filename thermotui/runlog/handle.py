"""One open HDF5 file a log and process, however many readers look at it.

HDF5 makes one file of two opens in a process; refreshing a table then mixes up its chunks for both (HDF5 2.0: rows of
later chunks read as those of the first). Readers of one file in one process therefore share the handle.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from weakref import WeakValueDictionary

import h5py

from thermotui.runlog.opening import open_file, open_table, read_superblock, refresh_table

_lock = threading.Lock()
_open: dict[tuple[int, int], LogFile] = {}


class LogFile:
    """An open log: its tables, its identity (device and inode), its size. Get one from `open_log`."""

    def __init__(self, path: Path, file: h5py.File) -> None:
        self.path = path
        self.file = file
        self.closed = read_superblock(path).closed
        """Whether the writer had closed it when it was opened: then its length was checked as a whole."""
        self._descriptor = file.id.get_vfd_handle()
        status = os.fstat(self._descriptor)
        self.identity = (status.st_dev, status.st_ino)
        self._readers = 0
        self._tables: WeakValueDictionary[str, h5py.h5d.DatasetID] = WeakValueDictionary()
        """Those that a reader has open."""
        self._opened: set[str] = set()

    @property
    def size(self) -> int:
        """Bytes in the file now, also after it was deleted or moved."""
        return os.fstat(self._descriptor).st_size

    def table(self, name: str) -> h5py.h5d.DatasetID | None:
        """The table `name`, None where the file has none; RunLogError where it is damaged or leads out of the file."""
        table = self._tables.get(name) or open_table(self.path, self.file, name)
        if table is not None:
            self._tables[name] = table
            if name in self._opened:
                # A reader opened it, perhaps long ago, and HDF5 remembers what it was then.
                refresh_table(self.path, name, table)
            self._opened.add(name)
        return table

    def release(self) -> None:
        """Give the handle back; the last reader's release closes the file."""
        with _lock:
            self._readers -= 1
            if self._readers == 0:
                del _open[self.identity]
                self._tables.clear()
                self.file.close()


def open_log(path: Path) -> LogFile:
    """The log at `path`, shared with other readers in this process; `release` it once. RunLogError as `open_file`."""
    with _lock:
        file = open_file(path)
        log = LogFile(path, file)
        shared = _open.setdefault(log.identity, log)
        if shared is not log:
            file.close()
        shared._readers += 1
        return shared
