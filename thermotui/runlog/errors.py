"""What goes wrong with a run log, each with a sentence for the person at the terminal."""

from __future__ import annotations

from pathlib import Path

from thermotui.errors import InputError


class RunLogError(InputError):
    """The file at `path` is not a run log that can be read or written; the text says why and what to do."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class EmptyRunLogError(RunLogError):
    """The writer died before the log was complete enough to hold a row: nothing is in it to be saved."""
