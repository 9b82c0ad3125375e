"""What all dialogs have in common, and the one in which an action is chosen by its words."""

from __future__ import annotations

from typing import TypeVar

from textual import on
from textual.await_complete import AwaitComplete
from textual.command import CommandPalette
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList

Result = TypeVar("Result")


class Dialog(ModalScreen[Result]):
    """A dialog that closes itself and nothing else.

    Textual closes whatever is in front, and so the second of two clicks beside its palette that come faster than they
    are answered would close the screen below, and end the program.
    """

    def dismiss(self, result: Result | None = None) -> AwaitComplete:
        """Close, unless it is closed already."""
        return super().dismiss(result) if self.app.screen is self else AwaitComplete()

    def action_leave(self) -> None:
        """Close as its own keys do."""
        self.dismiss()


# Textual takes styles from the first of several classes alone.
class Commands(CommandPalette, Dialog[None]):
    """Textual's palette, deaf once it is closed.

    A letter that was typed before, and a search that was under way, would have it look for its list, fail, and end the
    program.
    """

    @on(Input.Changed)
    @on(Input.Submitted)
    @on(OptionList.OptionSelected)
    def _hear(self, event: Message) -> None:
        if not self.is_current:
            event.stop()
            event.prevent_default()

    def _watch__list_visible(self) -> None:
        if self.is_current:
            super()._watch__list_visible()

    async def _watch__show_busy(self) -> None:
        if self.is_current:
            await super()._watch__show_busy()
