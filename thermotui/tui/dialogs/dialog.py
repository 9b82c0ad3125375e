"""What all dialogs have in common, and the one in which an action is chosen by its words."""

from __future__ import annotations

from typing import TypeVar

from textual.await_complete import AwaitComplete
from textual.command import CommandPalette
from textual.screen import ModalScreen

Result = TypeVar("Result")


class Dialog(ModalScreen[Result]):
    """A dialog that closes itself and nothing else.

    Textual closes whatever is in front, and so the second of two clicks beside its palette that come faster than they
    are answered would close the screen below, and end the program.
    """

    def dismiss(self, result: Result | None = None) -> AwaitComplete:
        """Close, unless it is closed already."""
        return super().dismiss(result) if self.app.screen is self else AwaitComplete()


# Textual takes styles from the first of several classes alone.
class Commands(CommandPalette, Dialog[None]):
    """Textual's palette."""
