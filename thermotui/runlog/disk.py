"""What keeps a full or failing disk away from the training."""

from __future__ import annotations

import os
import re
import tempfile

RESERVE_BYTES = 4 * 1024 * 1024
"""Space that must be left beyond what waits to be written: a new chunk for every table, their indexes, the close."""


def reason_to_stop(descriptor: int, waiting_bytes: int) -> str | None:
    """Why the log must be closed now, while that still works; None where there is room and the file has a name."""
    if os.fstat(descriptor).st_nlink == 0:
        return "its file was deleted"
    space = os.fstatvfs(descriptor)
    free = space.f_bavail * space.f_frsize
    if free < RESERVE_BYTES + 2 * waiting_bytes:
        return f"the disk is full ({free / 2**20:.1f} MiB left)"
    return None


def divert(descriptor: int) -> None:
    """Let HDF5 go on writing to nowhere, and leave the file on disk as it is now: as after a kill.

    Once a write has failed HDF5 can neither flush nor close, and ends the process at its exit, whatever is caught. So
    its `descriptor` is pointed at a nameless, empty file, where every write succeeds.
    """
    if hasattr(os, "memfd_create"):
        nowhere = os.memfd_create("thermotui")
        os.dup2(nowhere, descriptor)
        os.close(nowhere)
    else:
        with tempfile.TemporaryFile() as scratch:
            os.dup2(scratch.fileno(), descriptor)


def reason_of(error: Exception) -> str:
    """The operating system's words out of HDF5's many lines; else the first of those."""
    text = str(error)
    found = re.search(r"error message = '([^']*)'", text)
    return found[1] if found else (text.splitlines() or [type(error).__name__])[0]
