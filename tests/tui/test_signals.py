"""The screen ended from outside leaves the terminal as it was found."""

import errno
import io
import os
import signal
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path
from unittest.mock import Mock

import pytest
from textual.app import App
from textual.driver import Driver
from textual.geometry import Size

from tests.tui.terminal import buffered, watching
from thermotui.tui.terminal_output import TerminalOutput
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


def ended(finished: Path, program: list[str], keys: str = "") -> None:
    """See a screen end with a terminal that does not control its session, so that no signal tells of it.

    keys: pressed before, without reading what they show.
    """
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    command = [*program, "watch", str(finished), "--fresh"]
    screen = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True, env=buffered(os.environ)
    )
    try:
        os.close(theirs)
        seen = b""
        while b"loss spike" not in seen:
            seen += os.read(ours, 65536)
        for key in keys:
            os.write(ours, key.encode())
            time.sleep(0.05)
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


def test_a_terminal_that_goes_before_it_has_taken_everything_is_not_waited_for(finished: Path) -> None:
    ended(finished, [sys.executable, "-m", "thermotui"], "1234567" * 8)


def test_a_terminal_without_a_size_is_refused(finished: Path) -> None:
    with watching(str(finished), "--fresh", columns=0, lines=0) as terminal:
        assert terminal.wait_for_end() == 2
        assert b"stty rows 24 cols 80" in terminal.raw


def test_what_cannot_be_written_goes_nowhere_and_is_told_of_once(tmp_path: Path) -> None:
    gap, loss = Mock(), Mock()
    with Path("/dev/full").open("w") as file:
        output = TerminalOutput(file, gap, loss)
        for _ in range(3):
            output.write("x")
            output.flush()
    (lost,) = loss.call_args_list
    assert lost.args[0].errno == errno.ENOSPC
    gap.assert_not_called()


@pytest.mark.parametrize("unbuffered", [False, True])
def test_a_terminal_that_was_asked_not_to_be_waited_for_is_waited_for(unbuffered: bool) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    gap, loss, seen = Mock(), Mock(), bytearray()

    def read() -> None:
        time.sleep(0.2)
        while data := os.read(reading, 65536):
            seen.extend(data)

    reader = threading.Thread(target=read)
    reader.start()
    with io.TextIOWrapper(open(writing, "wb", 0 if unbuffered else -1), write_through=unbuffered) as file:  # noqa: PTH123
        output = TerminalOutput(file, gap, loss)
        for _ in range(100):
            output.write("x" * 4096)
            output.flush()
    reader.join()
    os.close(reading)
    assert len(seen) == 409600
    gap.assert_not_called()
    loss.assert_not_called()


def test_what_was_lost_when_it_was_asked_meanwhile_is_painted_anew() -> None:
    reading, writing = os.pipe()
    gap, loss = Mock(), Mock()
    file = Mock(fileno=lambda: writing, write=Mock(side_effect=BlockingIOError))
    TerminalOutput(file, gap, loss).write("x")
    os.close(reading)
    os.close(writing)
    gap.assert_called_once()
    loss.assert_not_called()


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
