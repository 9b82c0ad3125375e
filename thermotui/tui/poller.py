"""The screen's end of the reading process: a thread that asks, waits, and restarts what hangs or crashes."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, BinaryIO, Protocol

from thermotui.analysis.reading_process import DEADLINE, read_frame, write_frame
from thermotui.analysis.snapshot import Query, Tick
from thermotui.errors import InputError
from thermotui.tui.mailbox import Mailbox

PATIENCE = DEADLINE + 2.0
"""Seconds without a frame after which the process is killed; where the kernel has an alarm, that comes first."""
RESTART_PAUSE = 0.5
MAXIMUM_DEATHS = 3
"""Deaths in a row, not while reading any file, after which there is no use in another start."""


class ReadingProcess:
    """A child that reads logs. Start it before anything heavy is imported: its own imports then cost nothing.

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
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  (lives as long as the process)
        self._child = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "thermotui.analysis.reading_process", *self._paths]
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, bufsize=0)
        write_frame(_pipe(child.stdin), [f"{path}\0{reason}" for path, reason in self._avoided.items()])
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
                watchdog = threading.Timer(self._patience, self._child.kill)
                watchdog.daemon = True
                watchdog.start()
                try:
                    message = read_frame(_pipe(self._child.stdout))
                finally:
                    watchdog.cancel()
                if isinstance(message, Tick):
                    self._deaths = 0
                    return message
                if isinstance(message, InputError):
                    raise message
                self._reading = message
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


def _pipe(pipe: IO[bytes] | None) -> BinaryIO:
    assert pipe is not None
    return pipe  # type: ignore[return-value]  # a raw pipe is what BinaryIO means here


class Reading(Protocol):
    """Whoever answers queries: the reading process, or a workspace in this process."""

    def ask(self, query: Query) -> Tick | None:
        """The answer; None where there is none this time."""


class Poller(threading.Thread):
    """Asks the reading process every `interval` seconds, and at once when the query changes.

    Ticks that bring anything new go into `mailbox`. While a reading takes its time, only the newest query is kept.
    `query` may be set from any thread.
    """

    def __init__(
        self,
        process: Reading,
        interval: float,
        mailbox: Mailbox,
    ) -> None:
        super().__init__(name="thermotui-poller", daemon=True)
        self._process, self._interval, self.mailbox = process, interval, mailbox
        self._query = Query()
        self._answered: Query | None = None
        self._changed = threading.Event()
        self._ended = threading.Event()

    @property
    def idle(self) -> bool:
        """Whether the newest query was answered."""
        return self._answered == self._query

    @property
    def query(self) -> Query:
        """The newest question."""
        return self._query

    @query.setter
    def query(self, query: Query) -> None:
        if query != self._query:
            self._query = query
            self._changed.set()

    def stop(self) -> None:
        """End the thread after the present tick; close the process to end it at once."""
        self._ended.set()
        self._changed.set()

    def run(self) -> None:
        """Poll until `stop`."""
        shown: tuple[object, ...] | None = None
        while not self._ended.is_set():
            self._changed.clear()
            try:
                tick = self._process.ask(self._query)
            except InputError as error:
                self.mailbox.fail(str(error))
                return
            except Exception as error:  # noqa: BLE001  # a dead thread would leave a frozen screen that looks alive
                # After `stop` the process and its pipes are closed under us: the screen is gone.
                if not self._ended.is_set():
                    self.mailbox.fail(f"reading stopped: {type(error).__name__}: {error}")
                return
            if self._ended.is_set():
                return
            if tick is None:
                self._changed.wait(RESTART_PAUSE)
                continue
            now_shown = tuple(replace(summary, age=_told_age(summary.age)) for summary in tick.summaries)
            if tick.snapshots or now_shown != shown:
                shown = now_shown
                self.mailbox.put(tick)
            self._answered = tick.query
            self._changed.wait(self._interval)


def _told_age(age: float) -> float:
    """The age as a list tells it: nothing below five seconds, so that a live run does not redraw its age."""
    return float(round(age)) if age >= 5 else 0.0
