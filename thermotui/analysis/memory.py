"""Memory of processes that run for days."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable

TRIM_THRESHOLD, MMAP_THRESHOLD, ARENA_MAX = -1, -3, -8
"""Parameters of mallopt(3)."""
LARGE_BYTES = 128 * 1024


def of_gnu(name: str) -> Callable[..., int] | None:
    """A function of the GNU C library; None where there is another one, or it lacks that."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None


def give_back_free_pages() -> None:
    """Give back to the system what lies free between blocks that are in use; about a millisecond.

    Does nothing where there is another C library than GNU's.
    """
    trim = of_gnu("malloc_trim")
    if trim is not None:
        trim(0)


def give_back_large_blocks() -> None:
    """Have freed blocks of LARGE_BYTES and more go back to the system at once, and threads share what is free.

    The GNU C library begins so, but with every large block that is freed it keeps more of them, and a process that
    handles arrays of many sizes stays near the most that it ever held. And it keeps a heap for every thread: what one
    allocates and another frees is room that the other cannot have. Does nothing where there is another C library.
    """
    mallopt = of_gnu("mallopt")
    if mallopt is not None:
        mallopt(TRIM_THRESHOLD, LARGE_BYTES)
        mallopt(MMAP_THRESHOLD, LARGE_BYTES)
        mallopt(ARENA_MAX, 1)
