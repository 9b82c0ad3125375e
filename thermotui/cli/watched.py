"""Training in a child process, the screen on its log in the foreground: `train --watch`, `demo`. Free of torch."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

PROGRAM = (sys.executable, "-m", "thermotui")
FRAME_SECONDS = 3.0
"""Time between plain frames where there is no terminal."""


@dataclass
class Training:
    """A `thermotui train` in a child process of its own session, its words kept in a file."""

    process: subprocess.Popen[str]
    log: Path
    words: IO[str]
    interrupted: bool = False
    """Whether it was ended from here: its exit status then says no more than that."""

    def wait_for_log(self) -> bool:
        """Wait until the log is in place; False when the training ended before that."""
        while not self.log.exists():
            if self.process.poll() is not None:
                return self.log.exists()
            time.sleep(0.02)
        return True

    def interrupt(self) -> None:
        """End the training as Ctrl-C would, log closed; wait for it."""
        if self.process.poll() is None:
            self.interrupted = True
            self.process.send_signal(signal.SIGINT)
        self.process.wait()

    def said(self) -> str:
        """What the training has printed so far."""
        self.words.seek(0)
        return self.words.read()


@contextmanager
def training(arguments: Sequence[str], log: Path) -> Iterator[Training]:
    """Run `thermotui train ARGUMENTS`, which must write `log`. The child outlives this process unless interrupted."""
    with tempfile.TemporaryFile("w+") as words:
        process = subprocess.Popen(
            [*PROGRAM, "train", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=words,
            stderr=words,
            text=True,
            # Keys pressed on the screen, Ctrl-C among them, are the screen's alone.
            start_new_session=True,
        )
        yield Training(process, log, words)


def on_a_terminal() -> bool:
    """Whether a screen can be shown here."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def watch_in_foreground(log: Path) -> None:
    """The screen on one log, in a process of its own, until it is closed."""
    subprocess.run([*PROGRAM, "watch", str(log)], check=False)


def train_watched(arguments: Sequence[str], log: Path) -> int:
    """`train --watch`: closing the screen leaves the run going; the exit status."""
    with training(arguments, log) as run:
        if run.wait_for_log():
            watch_in_foreground(log)
        if run.process.poll() is None:
            print(  # noqa: T201
                f"the run goes on (process {run.process.pid}): watch it with `thermotui watch {log}`, "
                f"stop it with `kill -INT {run.process.pid}`",
                file=sys.stderr,
            )
            return 0
        sys.stderr.write(run.said())
        return run.process.returncode
