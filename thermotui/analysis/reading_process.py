"""The process that reads run logs for the screen, so that no hang, crash or stall of HDF5 ever reaches it.

Started as `python -m thermotui.analysis.reading_process PATH...`. Frames in both directions are a length (8 bytes,
little endian) and a pickle: queries on standard input, and on standard output for each query `str` (the path about to
be read, for the watchdog) any number of times and then one `Tick`, or one `InputError` and the end.
"""

from __future__ import annotations

import gc
import io
import os
import pickle
import select
import signal
import struct
import sys
import time
from pathlib import Path
from typing import IO, Any, Protocol

LENGTH = struct.Struct("<Q")
DEADLINE = 10
"""Seconds that reading one file may take. HDF5 may hang on a corrupt file, holding the interpreter's lock."""

LOOK_SECONDS, DETAIL_SECONDS = 1.0, 0.25
"""What a tick may spend on new files and on curves and alerts of runs that are not asked for: a screen waits for it."""

TIDYING_SECONDS, QUIET_SECONDS = 5.0, 0.05
"""Time between two times that what answers have left behind is given back, and time without a question before it is."""


def write_frame(pipe: IO[bytes], message: object) -> None:
    """Write one frame. Raises BrokenPipeError where nobody reads any more."""
    payload = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    pipe.write(LENGTH.pack(len(payload)) + payload)
    pipe.flush()


class Source(Protocol):
    """Where frames come from."""

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes; none at the end."""


def read_frame(pipe: Source) -> Any:
    """Read one frame; blocks. Raises EOFError at the end of the pipe, also within a frame."""
    (length,) = LENGTH.unpack(_read_exactly(pipe, LENGTH.size))
    return pickle.loads(_read_exactly(pipe, length))


def _read_exactly(pipe: Source, size: int) -> bytes:
    buffer = io.BytesIO()
    while (missing := size - buffer.tell()) > 0:
        chunk = pipe.read(missing)
        if not chunk:
            raise EOFError("the other end of the pipe is closed")
        buffer.write(chunk)
    return buffer.getvalue()


def arm(seconds: int) -> None:
    """Have the kernel end this process after `seconds`, 0 to disarm: no Python code runs while HDF5 hangs."""
    if hasattr(signal, "alarm"):
        signal.alarm(seconds)


def serve(paths: list[Path], avoided: dict[str, str], requests: IO[bytes], replies: IO[bytes]) -> None:
    """Answer queries until the pipe is closed."""
    from thermotui.analysis.memory import give_back_free_pages
    from thermotui.analysis.workspace import Workspace
    from thermotui.errors import InputError

    # What is imported stays: looking through it took twenty times as long as to pickle an answer.
    gc.freeze()
    gc.enable()

    def about_to_read(path: str) -> None:
        write_frame(replies, path)
        arm(DEADLINE)

    with Workspace(paths, about_to_read, look_seconds=LOOK_SECONDS, detail_seconds=DETAIL_SECONDS) as workspace:
        for path, reason in avoided.items():
            workspace.avoid(path, reason)
        tidied = time.monotonic()
        while True:
            if time.monotonic() - tidied > TIDYING_SECONDS and not select.select([requests], [], [], QUIET_SECONDS)[0]:
                gc.collect()
                give_back_free_pages()
                tidied = time.monotonic()
            query = read_frame(requests)
            try:
                tick = workspace.tick(query)
            except InputError as error:
                # A subclass may not survive being pickled; its sentence does.
                write_frame(replies, InputError(str(error)))
                return
            arm(0)
            write_frame(replies, tick)


def main() -> None:
    """Take the pipes for itself, so that nothing else written to standard output can end up in a frame."""
    # Here, since the screen imports this module before it starts the process.
    from thermotui.analysis.memory import give_back_large_blocks

    gc.disable()
    give_back_large_blocks()
    requests = os.fdopen(os.dup(0), "rb", buffering=0)
    replies = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    # The terminal sends its interrupt to the whole foreground group; it is the screen's to answer.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    avoided = dict(argument.split("\0", 1) for argument in read_frame(requests))
    try:
        serve([Path(path) for path in sys.argv[1:]], avoided, requests, replies)
    except (EOFError, BrokenPipeError):
        return


if __name__ == "__main__":
    main()
