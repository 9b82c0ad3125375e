"""Which panels the dashboard shows."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.widgets import SelectionList
from textual.widgets.selection_list import Selection

from thermotui.tui.dialogs.dialog import Dialog
from thermotui.tui.views.dashboard import BY_NAME, ORDER


class PanelChooser(Dialog[frozenset[str]]):
    """A list of panels with marks; closes with the names of those switched off."""

    BINDINGS: ClassVar[list[BindingType]] = [("escape,p,q", "leave", "Close")]
    DEFAULT_CSS = """
    PanelChooser { align: center middle; & > SelectionList { width: 44; height: auto; max-height: 90%; } }
    """

    def __init__(self, hidden: frozenset[str]) -> None:
        super().__init__()
        self._hidden = hidden

    def compose(self) -> ComposeResult:
        """One line a panel."""
        titles = {name: BY_NAME[name].title if name in BY_NAME else name.capitalize() for name in ORDER}
        choices = (Selection(titles[name], name, name not in self._hidden) for name in ORDER)
        yield SelectionList[str](*choices)

    def action_leave(self) -> None:
        """Close with what was chosen."""
        shown = set(self.query_one(SelectionList).selected)
        self.dismiss(frozenset(name for name in ORDER if name not in shown))
