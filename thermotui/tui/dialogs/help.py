"""All keys by group, from the registry of actions: never out of date."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

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


def help_lines(keys: Mapping[str, str]) -> Iterator[str]:
    """The keys by group; `keys` are those of one's own, by action."""
    group = ""
    for action in ACTIONS:
        if action.group != group:
            yield from ("", action.group) if group else (action.group,)
            group = action.group
        shown = key_text(keys_of(action.name, keys))
        yield f"  {shown:14} {action.title}"


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
            yield Static("\n".join(help_lines(self._keys)) + "\n\n" + LEGEND, markup=False)
