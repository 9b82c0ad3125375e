"""The screen ended from outside leaves the terminal as it was found."""

import os
import signal
from pathlib import Path

import pytest

from tests.tui.terminal import watching


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_the_terminal_is_restored(finished: Path, number: signal.Signals) -> None:
    with watching(str(finished), "--fresh") as terminal:
        terminal.wait_for("loss spike")
        os.kill(terminal.pid, number)
        assert terminal.wait_for_end() == 0
        assert b"\x1b[?1049l" in terminal.raw
