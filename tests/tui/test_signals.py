"""The screen ended from outside leaves the terminal as it was found."""

import os
import signal
import subprocess
import sys
import termios
import threading
from pathlib import Path

import pytest
from textual.app import App
from textual.driver import Driver
from textual.geometry import Size

from tests.tui.terminal import watching
from thermotui.tui.thin_driver import thin_driver


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_the_terminal_is_restored(finished: Path, number: signal.Signals) -> None:
    with watching(str(finished), "--fresh") as terminal:
        terminal.wait_for("loss spike")
        os.kill(terminal.pid, number)
        assert terminal.wait_for_end() == 0
        assert b"\x1b[?1049l" in terminal.raw


def test_it_ends_with_its_terminal(finished: Path) -> None:
    with watching(str(finished), "--fresh") as terminal:
        terminal.wait_for("loss spike")
        terminal.hang_up()
        assert terminal.wait_for_end() in (0, -signal.SIGHUP)


def ended(finished: Path, program: list[str]) -> None:
    """See a screen end with a terminal that does not control its session, so that no signal tells of it."""
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    command = [*program, "watch", str(finished), "--fresh"]
    screen = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
    try:
        os.close(theirs)
        seen = b""
        while b"loss spike" not in seen:
            seen += os.read(ours, 65536)
        os.close(ours)
        assert screen.wait(15) == 0
    finally:
        screen.kill()
        screen.wait()


ENDING = """
import errno, os, sys
from thermotui.cli.main import main

reading = os.read

def read(descriptor, size):
    data = reading(descriptor, size)
    if descriptor == 0 and not data:
        raise OSError(errno.EIO, "Input/output error")
    return data

os.read = read
main()
"""


def test_it_ends_with_a_terminal_whose_end_no_signal_tells(finished: Path) -> None:
    """Where it is not the one that controls the session, as in some containers."""
    ended(finished, [sys.executable, "-m", "thermotui"])


def test_a_terminal_that_goes_while_it_is_read_from_is_no_fault(finished: Path) -> None:
    """A read gets one of two answers then, by the moment: nothing, or this."""
    ended(finished, [sys.executable, "-c", ENDING])


def test_a_terminal_without_a_size_is_refused(finished: Path) -> None:
    with watching(str(finished), "--fresh", columns=0, lines=0) as terminal:
        assert terminal.wait_for_end() == 2
        assert b"stty rows 24 cols 80" in terminal.raw


class Mortal(Driver):
    """A driver whose writer may have died."""

    written: str
    _writer_thread: threading.Thread

    def write(self, data: str) -> None:
        self.written += data

    def start_application_mode(self) -> None: ...

    def disable_input(self) -> None: ...

    def stop_application_mode(self) -> None: ...


@pytest.mark.parametrize("alive", [True, False])
async def test_nobody_waits_for_a_writer_that_died(alive: bool) -> None:
    driver = thin_driver(Mortal, lambda: Size(10, 2))(App())
    assert isinstance(driver, Mortal)
    driver.written = ""
    waiting = threading.Event()
    driver._writer_thread = threading.Thread(target=waiting.wait)
    driver._writer_thread.start()
    if not alive:
        waiting.set()
        driver._writer_thread.join()
    driver.write("\x1b[?25l")
    waiting.set()
    assert bool(driver.written) == alive
