"""All keys by group, from the registry of actions: never out of date."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.widgets import Static

from thermotui.tui.actions import ACTIONS, key_text, keys_of
from thermotui.tui.dialogs.dialog import Dialog

LEGEND = """\
In a chart: the line is the mean, the shade its standard error, bars run from the smallest to the
largest value of a column, so that no spike is lost. ═ on the axis: a valid reservoir interval.
▲: an alert. Every figure of W, Q and Σ belongs to the stride in the header; other strides, other figures.
"""


def key_list(keys: Mapping[str, str]) -> Table:
    """The keys by group; `keys` are those of one's own, by action."""
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(min_width=16, no_wrap=True)
    table.add_column()
    group = ""
    for action in ACTIONS:
        if action.group != group:
            if group:
                table.add_row()
            table.add_row(action.group)
            group = action.group
        table.add_row(Text(f"  {key_text(keys_of(action.name, keys))}"), action.title)
    return table


class HelpScreen(Dialog[None]):
    """Help; any of its keys closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [("escape,q,question_mark,f1,enter", "leave", "Close")]
    DEFAULT_CSS = """
    HelpScreen {
        align: center middle;
        & > VerticalScroll { width: 90%; max-width: 78; height: 90%; border: round $primary; padding: 0 1;
                             background: $surface; }
    }
    """

    def __init__(self, keys: Mapping[str, str]) -> None:
        super().__init__()
        self._keys = keys

    def compose(self) -> ComposeResult:
        """Keys, then what the charts mean."""
        with VerticalScroll():
            yield Static(key_list(self._keys), id="keys")
            yield Static("\n" + LEGEND, markup=False)
