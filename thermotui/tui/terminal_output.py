"""What Textual's driver writes to, so that it never waits for a terminal that is gone."""

from __future__ import annotations

from collections.abc import Callable
from typing import IO


class TerminalOutput:
    """A terminal's file that takes and forgets whatever it is given once writing to it has failed.

    Textual's writer, a thread, would end with the error, and whoever writes more would then wait for ever for room in
    its queue: the program could not even be ended by a signal.
    """

    def __init__(self, file: IO[str], on_loss: Callable[[OSError], None]) -> None:
        """on_loss: called with the first error, by the thread that writes."""
        self._file = file
        self._on_loss = on_loss
        self._lost = False

    def write(self, text: str) -> None:
        """Write, or forget it."""
        self._unless_lost(lambda: self._file.write(text))

    def flush(self) -> None:
        """Send what was written."""
        self._unless_lost(self._file.flush)

    def fileno(self) -> int:
        """The terminal's descriptor."""
        return self._file.fileno()

    def _unless_lost(self, act: Callable[[], object]) -> None:
        if self._lost:
            return
        try:
            act()
        except OSError as error:
            self._lost = True
            self._on_loss(error)
