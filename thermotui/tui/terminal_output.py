"""What Textual's driver writes to, so that it never waits for a terminal that is gone."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import IO


class TerminalOutput:
    """A terminal's file that leads nowhere once writing to it has failed.

    Textual's writer, a thread, would end with the error, and whoever writes more would then wait for ever for room in
    its queue: the program could not even be ended by a signal.
    """

    def __init__(self, file: IO[str], on_gap: Callable[[], object], on_loss: Callable[[OSError], None]) -> None:
        """Called by the thread that writes, on_gap: when something was not written; on_loss: when nothing can be."""
        self._file = file
        self._on_gap = on_gap
        self._on_loss = on_loss

    def write(self, text: str) -> None:
        """Write."""
        self._try(lambda: self._file.write(text))

    def flush(self) -> None:
        """Send what was written."""
        self._try(self._file.flush)

    def _try(self, act: Callable[[], object]) -> None:
        try:
            # Another program on the terminal may have asked not to wait for it, which goes for all that share it.
            if not os.get_blocking(self._file.fileno()):
                os.set_blocking(self._file.fileno(), True)
            act()
        except BlockingIOError:
            # It asked while this was waited for.
            self._on_gap()
        except OSError as error:
            # Python would try once more when it ends, and say that it failed.
            with Path(os.devnull).open("wb") as nowhere:
                os.dup2(nowhere.fileno(), self._file.fileno())
            self._on_loss(error)
