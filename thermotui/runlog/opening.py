"""Opens a run log that may be live, dead, damaged or hostile, for reading only.

What HDF5 itself would do with such a file: retry a torn checksum for hours with the interpreter's lock held, follow
links to other files, load filter plug-ins, allocate whatever size a header claims. Here everything is looked at first.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Collection
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from thermotui.runlog.errors import EmptyRunLogError, RunLogError
from thermotui.runlog.layout import HEADER_LIMIT
from thermotui.runlog.paths import is_directory, is_plain_file, is_there, unreadable

SIGNATURE = b"\x89HDF\r\n\x1a\n"
SUPERBLOCK_BYTES = 48
END_OF_FILE = slice(28, 36)
METADATA_READ_ATTEMPTS = 24
"""Tries at a block whose checksum is torn, 20 ms in all; HDF5's own default for readers of live files is endless."""
MAX_CHUNK_BYTES = 64 * 1024 * 1024
WRITING_FLAG = 1
SWMR_FLAG = 4

HDF5_ERRORS = (OSError, RuntimeError, ValueError, KeyError, TypeError, AttributeError, OverflowError)
"""What h5py raises on a damaged file, according to where it notices."""


class Superblock(NamedTuple):
    """The first look at a file.

    `closed`: its writer closed it. `creating`: its writer died, or still is, in the creation. `missing_bytes`: how much
    shorter the file is than it says.
    """

    closed: bool
    creating: bool
    missing_bytes: int


def read_superblock(path: Path) -> Superblock:
    """Signature, version and flags from the first 48 bytes, without HDF5.

    Raises RunLogError for what is no run log and EmptyRunLogError for a file of no length.
    """
    try:
        if not is_plain_file(path):
            raise RunLogError(path, _what_it_is(path))
        with path.open("rb") as file:
            head = file.read(SUPERBLOCK_BYTES)
            size = os.fstat(file.fileno()).st_size
    except OSError as error:
        raise unreadable(path, error) from error
    if not head:
        raise EmptyRunLogError(path, "is empty: nothing was ever written to it")
    if not head.startswith(SIGNATURE):
        raise RunLogError(path, "is not a run log (no HDF5 signature)")
    if len(head) < SUPERBLOCK_BYTES:
        raise RunLogError(path, "is cut short: not even its first block is whole")
    version, flags = head[8], head[11]
    if version != 3:
        raise RunLogError(path, "is an HDF5 file, but not a run log of thermotui")
    return Superblock(
        closed=not flags & (WRITING_FLAG | SWMR_FLAG),
        creating=bool(flags & WRITING_FLAG) and not flags & SWMR_FLAG,
        missing_bytes=max(0, int.from_bytes(head[END_OF_FILE], "little") - size),
    )


def _what_it_is(path: Path) -> str:
    if is_directory(path):
        return "is a directory, not a run log"
    return "is not a regular file" if is_there(path) else "no such file"


@cache
def _set_read_attempts() -> Any:
    """HDF5's H5Pset_metadata_read_attempts, which h5py does not wrap, from the library that h5py has loaded.

    The dynamic linker looks a symbol up in the dependencies of a loaded module too: no search for the library's file.
    """
    function = ctypes.CDLL(h5py.h5p.__file__).H5Pset_metadata_read_attempts
    function.argtypes = [ctypes.c_int64, ctypes.c_uint]
    function.restype = ctypes.c_int
    return function


def open_file(path: Path, *, cut_short: bool = False) -> h5py.File:
    """The file opened for reading beside a possible writer, without taking any lock.

    RunLogError where HDF5 refuses, and where the file is cut short, unless `cut_short` says that this is known: HDF5
    reads the missing end as zeros.
    """
    superblock = read_superblock(path)
    if superblock.creating:
        raise EmptyRunLogError(path, "is empty: its writer died before the log was complete, or is just making it")
    if superblock.missing_bytes and not cut_short:
        reason = f"is cut short by {superblock.missing_bytes} bytes; thermotui repair saves the rows that are whole"
        raise RunLogError(path, reason)
    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    access.set_file_locking(False, True)
    # No cache of chunks: a window is read once, and what HDF5 keeps a table adds up over the runs of a screen.
    access.set_cache(0, 1, 0, 0.75)
    if _set_read_attempts()(access.id, METADATA_READ_ATTEMPTS) < 0:
        raise RunLogError(path, "HDF5 refused the limit on read attempts; the installed h5py is not usable here")
    try:
        flags = h5py.h5f.ACC_RDONLY | h5py.h5f.ACC_SWMR_READ
        return h5py.File(h5py.h5f.open(os.fsencode(path), flags, fapl=access))
    except HDF5_ERRORS as error:
        raise RunLogError(path, f"is damaged ({_first_line(error)}); try: thermotui repair") from error


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def read_attributes(path: Path, file: h5py.File, names: Collection[str]) -> dict[str, Any]:
    """Those of the root attributes `names` that are scalar text, integer, float or boolean, as Python values.

    RunLogError where one is damaged.
    """
    values: dict[str, Any] = {}
    try:
        for name in _attribute_names(file.id):
            if name not in names:
                continue
            attribute = h5py.h5a.open(file.id, name.encode())
            kind = attribute.get_type()
            size = kind.get_size()
            # A scalar's storage is one element, and so is that of an array of one, which h5py then refuses to read.
            if attribute.get_storage_size() != size or size > HEADER_LIMIT:
                continue
            if isinstance(kind, h5py.h5t.TypeStringID):
                if not kind.is_variable_str():
                    raw = np.empty((), f"S{size}")
                    attribute.read(raw, mtype=kind)
                    values[name] = raw.item().decode("utf-8", "replace")
            else:
                native = _native(kind)
                if native is not None:
                    number = np.empty((), native[0])
                    attribute.read(number, mtype=native[1])
                    values[name] = number.item()
    except HDF5_ERRORS as error:
        raise RunLogError(path, f"has a damaged header ({_first_line(error)}); try: thermotui repair") from error
    return values


def _attribute_names(root: h5py.h5g.GroupID) -> list[str]:
    """All at once: HDF5 finds a single attribute only by counting."""
    names: list[str] = []
    h5py.h5a.iterate(root, lambda name: names.append(name.decode("utf-8", "replace")))
    return names


def _native(kind: h5py.h5t.TypeID) -> tuple[type[np.generic], h5py.h5t.TypeID] | None:
    """The type in memory for a number, which HDF5 converts to; working out the file's own costs more than reading."""
    if isinstance(kind, (h5py.h5t.TypeIntegerID, h5py.h5t.TypeEnumID)):
        return np.int64, h5py.h5t.NATIVE_INT64
    return (np.float64, h5py.h5t.NATIVE_DOUBLE) if isinstance(kind, h5py.h5t.TypeFloatID) else None


def open_table(path: Path, file: h5py.File, name: str) -> h5py.h5d.DatasetID | None:
    """The table at `name`, None where the file has none; RunLogError for anything but a plain chunked table.

    Every link on the way must be a hard link: a soft or an external one leads out of what this program wrote.
    """
    try:
        at: Any = file.id
        for part in name.encode().split(b"/"):
            if not at.links.exists(part):
                return None
            if at.links.get_info(part).type != h5py.h5l.TYPE_HARD:
                raise RunLogError(path, f"{name} is a link out of the log, which is not followed")
            at = h5py.h5o.open(at, part)
        if not isinstance(at, h5py.h5d.DatasetID):
            raise RunLogError(path, f"{name} is not a table")
        _check_storage(path, name, at)
    except HDF5_ERRORS as error:
        raise RunLogError(path, f"table {name} is damaged ({_first_line(error)}); try: thermotui repair") from error
    return at


def refresh_table(path: Path, name: str, table: h5py.h5d.DatasetID) -> None:
    """See what the writer has flushed since. RunLogError where the table has become unreadable."""
    try:
        table.refresh()
    except HDF5_ERRORS as error:
        raise RunLogError(path, f"table {name} is damaged ({_first_line(error)}); try: thermotui repair") from error


def _check_storage(path: Path, name: str, table: h5py.h5d.DatasetID) -> None:
    plan = table.get_create_plist()
    if plan.get_layout() != h5py.h5d.CHUNKED or plan.get_external_count() or plan.get_nfilters():
        raise RunLogError(path, f"{name} is not stored as run logs store tables (external, virtual or filtered)")
    if table.rank != 1 or not isinstance(table.get_type(), h5py.h5t.TypeCompoundID):
        raise RunLogError(path, f"{name} is not a table of rows")
    if plan.get_chunk()[0] * table.get_type().get_size() > MAX_CHUNK_BYTES:
        raise RunLogError(path, f"{name} claims chunks of more than {MAX_CHUNK_BYTES >> 20} MiB")
