"""What keeps a full or failing disk away from the training."""

from __future__ import annotations

import os
import re
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

NETWORK_FILE_SYSTEMS = (
    "nfs",
    "cifs",
    "smb",
    "fuse.sshfs",
    "lustre",
    "beegfs",
    "gpfs",
    "ceph",
    "glusterfs",
    "9p",
    "afs",
)
RESERVE_BYTES = 4 * 1024 * 1024
"""Space that must be left beyond what waits to be written: a new chunk for every table, their indexes, the close."""


def reason_to_stop(descriptor: int, waiting_bytes: int) -> str | None:
    """Why the log must be closed now, while that still works; None where there is room and the file has a name."""
    if os.fstat(descriptor).st_nlink == 0:
        return "its file was deleted"
    return _shortage(os.fstatvfs(descriptor), 2 * waiting_bytes)


def reason_not_to_start(directory: Path, needed_bytes: int = 0) -> str | None:
    """Why a log in `directory`, or a file of `needed_bytes` beside one, would have no room; None where it has.

    HDF5 survives no full disk while it makes a log.
    """
    return _shortage(os.statvfs(directory), needed_bytes)


def _shortage(space: os.statvfs_result, needed_bytes: int) -> str | None:
    free = space.f_bavail * space.f_frsize
    return f"the disk is full ({free / 2**20:.1f} MiB left)" if free < RESERVE_BYTES + needed_bytes else None


def network_file_system(path: Path, mounts: Path = Path("/proc/self/mounts")) -> str | None:
    """The kind of network file system that `path` lies on; None for a local one, or where the system does not say."""
    return _network_file_system(path.absolute().parent, mounts)


@lru_cache(maxsize=256)
def _network_file_system(place: Path, mounts: Path) -> str | None:
    try:
        lines = mounts.read_text().splitlines()
    except OSError:
        return None
    best, kind = Path(), ""
    for line in lines:
        fields = line.split()
        # Spaces in the mount point are written in octal.
        point = Path(fields[1].replace("\\040", " "))
        if place.is_relative_to(point) and len(point.parts) >= len(best.parts):
            best, kind = point, fields[2]
    return kind if kind.startswith(NETWORK_FILE_SYSTEMS) else None


def divert(descriptor: int) -> None:
    """Let HDF5 go on writing to nowhere, and leave the file on disk as it is now: as after a kill.

    Once a write has failed HDF5 can neither flush nor close, and ends the process at its exit, whatever is caught. So
    its `descriptor` is pointed at a nameless, empty file, where every write succeeds.
    """
    with nameless_file() as nowhere:
        os.dup2(nowhere.fileno(), descriptor)


def nameless_file() -> BinaryIO:
    """An empty file to write and read, which is gone once nobody has it open; in memory where the system has that."""
    create = getattr(os, "memfd_create", None)
    if create is not None:
        return os.fdopen(create("thermotui"), "w+b")
    # Slow to import, on the way to every reader.
    import tempfile

    return tempfile.TemporaryFile()


def reason_of(error: Exception) -> str:
    """The operating system's words, where HDF5's many lines hold them; else the first of these."""
    text = str(error)
    found = re.search(r"error message = '([^']*)'", text)
    if found:
        return found[1]
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return (text.splitlines() or [type(error).__name__])[0]
