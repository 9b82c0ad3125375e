"""`thermotui watch` in a pseudo-terminal, seen through a terminal emulator."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import sys
import termios
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pyte


@dataclass
class Terminal:
    """A process in a terminal of `columns` × `lines`. raw: every byte it sent."""

    pid: int
    descriptor: int
    columns: int
    lines: int
    raw: bytearray = field(default_factory=bytearray)
    status: int | None = None

    def __post_init__(self) -> None:
        self.emulator = pyte.Screen(max(self.columns, 1), max(self.lines, 1))
        self._stream = pyte.ByteStream(self.emulator)

    def read(self, seconds: float) -> int:
        """Take what comes within so many seconds; the number of bytes."""
        until, before = time.monotonic() + seconds, len(self.raw)
        while (left := until - time.monotonic()) > 0:
            ready, _, _ = select.select([self.descriptor], [], [], left)
            if not ready:
                break
            try:
                data = os.read(self.descriptor, 65536)
            except OSError:  # Linux says so where the other end is closed
                break
            if not data:
                break
            self.feed(data)
        return len(self.raw) - before

    def feed(self, data: bytes) -> None:
        """Show what came from the process."""
        self.raw += data
        self._stream.feed(data)

    def wait_for(self, words: str, seconds: float = 20) -> None:
        """Read until the words stand on the screen."""
        until = time.monotonic() + seconds
        while words not in self.text:
            assert time.monotonic() < until, f"never saw {words!r}:\n{self.text}\n{bytes(self.raw[-2000:])!r}"
            self.read(0.1)

    def wait_for_silence(self, silence: float, seconds: float) -> None:
        """Read until nothing has come for `silence` seconds."""
        until = time.monotonic() + seconds
        while self.read(silence):
            assert time.monotonic() < until, f"never silent:\n{self.text}\n{bytes(self.raw[-2000:])!r}"

    def press(self, keys: str) -> None:
        """Type."""
        os.write(self.descriptor, keys.encode())

    def hang_up(self) -> None:
        """Close the terminal under the process, as a dropped connection does."""
        with Path(os.devnull).open("rb") as nothing:
            os.dup2(nothing.fileno(), self.descriptor)

    @property
    def text(self) -> str:
        """What stands on the screen."""
        return "\n".join(line.rstrip() for line in self.emulator.display)

    def wait_for_end(self, seconds: float = 30) -> int:
        """The exit status."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.read(0.05)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
                # What it wrote between the last look and its end.
                while self.read(0.05):
                    pass
                return self.status
        raise AssertionError(f"still running:\n{self.text}")


def buffered(environment: Mapping[str, str]) -> dict[str, str]:
    """Without what has Python write at once, as nobody's is: what is left in a buffer is written at the end."""
    return {name: value for name, value in environment.items() if name != "PYTHONUNBUFFERED"}


@contextmanager
def running(command: Sequence[str], *, columns: int = 80, lines: int = 24, **environment: str) -> Iterator[Terminal]:
    """A command in a terminal of that size; killed at the end if it still runs."""
    pid, descriptor = pty.fork()
    if pid == 0:
        dropped = ("COLORTERM", "NO_COLOR", "COLUMNS", "LINES")
        kept = {name: value for name, value in buffered(os.environ).items() if name not in dropped}
        termios.tcsetwinsize(0, (lines, columns))
        os.execve(command[0], command, kept | {"TERM": "xterm-256color", "LC_ALL": "C.UTF-8"} | environment)
    terminal = Terminal(pid, descriptor, columns, lines)
    try:
        yield terminal
    finally:
        if terminal.status is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        os.close(descriptor)


@contextmanager
def watching(*arguments: str, columns: int = 80, lines: int = 24, **environment: str) -> Iterator[Terminal]:
    """`thermotui watch ARGUMENTS` in a terminal of that size; killed at the end if it still runs."""
    command = [sys.executable, "-m", "thermotui", "watch", *arguments]
    with running(command, columns=columns, lines=lines, **environment) as terminal:
        yield terminal
