"""The screen's end of the reading process: asks, waits, and restarts what hangs or crashes.

Imports nothing heavy, so that the child can be started first of all: its own imports then go on beside ours.
"""

from __future__ import annotations

import select
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING

from thermotui.analysis.reading_process import DEADLINE, read_frame, write_frame
from thermotui.errors import InputError
from thermotui.runlog.disk import nameless_file

if TYPE_CHECKING:
    from thermotui.analysis.snapshot import Query, Tick

PATIENCE = DEADLINE + 2.0
"""Seconds without a frame after which the process is killed; where the kernel has an alarm, that comes first."""
AT_ONCE = 1 << 20
"""Bytes to take from the pipe at a time, and that it has room for: a whole answer, mostly.

After each piece the interpreter's lock must be waited for, which a busy screen has.
"""
MAXIMUM_DEATHS = 3
"""Deaths in a row, not while reading any file, after which there is no use in another start."""


class ReadingProcess:
    """A child that reads logs.

    `ask` blocks, and so belongs in a thread. After a hang or a crash the next `ask` starts a new child that leaves the
    guilty file alone.
    """

    def __init__(self, paths: Sequence[Path], patience: float = PATIENCE) -> None:
        self._paths = [str(path) for path in paths]
        self._patience = patience
        self._avoided: dict[str, str] = {}
        self._reading = ""
        self._deaths = 0
        self._closed = False
        self._errors = nameless_file()
        self._child = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "thermotui.analysis.reading_process", *self._paths]
        try:
            child = _piped(command, self._errors, AT_ONCE)
        except OSError:
            # Not every system gives larger pipes, nor to who has many open: answers then come in pieces.
            child = _piped(command, self._errors)
        write_frame(_pipe(child.stdin), [f"{path}\0{reason}" for path, reason in self._avoided.items()])
        self._answers = _Answers(child, self._patience)
        return child

    @property
    def pid(self) -> int:
        """The number of the child process."""
        return self._child.pid

    def ask(self, query: Query) -> Tick | None:
        """The answer to `query`; None where the child died, which the next answer shows as a card on the guilty file.

        Raises InputError where there is nothing to read under the paths.
        """
        if self._child.poll() is not None:
            self._child = self._start()
        self._reading = ""
        try:
            write_frame(_pipe(self._child.stdin), query)
            while True:
                message = read_frame(self._answers)
                if isinstance(message, InputError):
                    raise message
                if isinstance(message, str):
                    self._reading = message
                    continue
                self._deaths = 0
                answer: Tick = message
                return answer
        except (EOFError, BrokenPipeError):
            self._bury()
            return None

    def _bury(self) -> None:
        """Put the file that was being read aside, with what is known about the death."""
        self._child.kill()
        status = self._child.wait()
        if self._closed:
            return
        self._errors.seek(0)
        last_words = self._errors.read().decode("utf-8", "replace").strip().splitlines()
        self._deaths += 1
        words = f" ({last_words[-1]})" if last_words else ""
        if not self._reading and self._deaths >= MAXIMUM_DEATHS:
            raise InputError(f"the process that reads the logs ends with status {status} again and again{words}")
        if self._reading:
            reason = "reading it took too long" if status in (-9, -14) else f"reading it ended with status {status}"
            self._avoided[self._reading] = f"{self._reading}: {reason}{words}; see `thermotui repair`"
        self._errors.seek(0)
        self._errors.truncate()

    def close(self) -> None:
        """End the child."""
        self._closed = True
        self._child.kill()
        self._child.wait()
        for pipe in (self._child.stdin, self._child.stdout, self._errors):
            if pipe:
                pipe.close()

    def __enter__(self) -> ReadingProcess:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _piped(command: list[str], errors: IO[bytes], pipesize: int = -1) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, bufsize=0, pipesize=pipesize
    )


class _Answers:
    """What a child writes. One that writes nothing for `patience` seconds while it is waited for is killed."""

    def __init__(self, child: subprocess.Popen[bytes], patience: float) -> None:
        self._child, self._patience = child, patience
        self._come = memoryview(b"")

    def read(self, size: int, /) -> bytes:
        """Up to so many bytes; none at the end of the pipe, as after a kill."""
        if not self._come:
            pipe = _pipe(self._child.stdout)
            if not select.select([pipe], [], [], self._patience)[0]:
                self._child.kill()
            self._come = memoryview(pipe.read(AT_ONCE))
        taken, self._come = self._come[:size], self._come[size:]
        return bytes(taken)


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None
    return pipe
