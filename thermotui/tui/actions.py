"""The one registry of what keys do: bindings, help, command palette and docs/screen.md are made from it.

No key here is taken by tmux or screen (ctrl+b, ctrl+a), by a shell or by the terminal driver (ctrl+c, d, s, q, z, v).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

Group = Literal["Views", "Runs", "Charts", "Panels", "Alerts", "Take away", "Screen"]


class Action(NamedTuple):
    """Something that a key does. `name` is the method `action_<name>` of the main screen, and the key file's word."""

    name: str
    keys: tuple[str, ...]
    title: str
    group: Group
    call: str = ""
    """The action string where one method serves several actions; the name where empty."""

    @property
    def action(self) -> str:
        """The action string."""
        return self.call or self.name


VIEWS = ("overview", "dashboard", "layers", "balance", "alerts", "compare", "log")

ACTIONS: tuple[Action, ...] = (
    *(
        Action(f"view_{view}", (str(number),), f"Show the {view} view", "Views", f"view('{view}')")
        for number, view in enumerate(VIEWS, start=1)
    ),
    Action("next_run", ("j", "down"), "Next run", "Runs", "move_run(1)"),
    Action("previous_run", ("k", "up"), "Previous run", "Runs", "move_run(-1)"),
    Action("toggle_runs", ("r",), "Show or hide the list of runs", "Runs"),
    Action("filter_runs", ("slash",), "Filter runs by text or configuration", "Runs"),
    Action("sort_runs", ("o",), "Order runs by state, name, age, loss or alerts", "Runs"),
    Action("group_runs", ("G",), "Group runs by family or state", "Runs"),
    Action("mark_run", ("m",), "Mark the run for the compare view", "Runs"),
    Action("pan_left", ("h", "left"), "Pan to earlier steps", "Charts", "pan(-1)"),
    Action("pan_right", ("l", "right"), "Pan to later steps", "Charts", "pan(1)"),
    Action("zoom_in", ("plus", "equals_sign"), "Zoom in on the steps", "Charts", "zoom(1)"),
    Action("zoom_out", ("minus",), "Zoom out", "Charts", "zoom(-1)"),
    Action("zoom_all", ("0",), "Show the whole run", "Charts"),
    Action("zoom_values_in", ("i",), "Zoom in on the values of one chart", "Charts", "zoom_values(1)"),
    Action("zoom_values_out", ("u",), "Zoom out of them", "Charts", "zoom_values(-1)"),
    Action("pan_values_up", ("K",), "Pan to larger values", "Charts", "pan_values(1)"),
    Action("pan_values_down", ("J",), "Pan to smaller values", "Charts", "pan_values(-1)"),
    Action("follow_latest", ("F",), "Keep the latest eighth of the run in sight", "Charts"),
    Action("cursor_left", ("comma",), "Move the cursor to earlier steps", "Charts", "cursor(-1)"),
    Action("cursor_right", ("full_stop",), "Move the cursor to later steps", "Charts", "cursor(1)"),
    Action("cursor_off", ("c",), "Switch the cursor on or off", "Charts"),
    Action("scale", ("L",), "Scale: each quantity's own, linear, log or symmetric log", "Charts"),
    Action("glyphs", ("g",), "Braille, blocks or ASCII", "Charts"),
    Action("smooth", ("w",), "Smoothing: none, or over 16, 128 or 1,024 rows", "Charts"),
    Action("align", ("x",), "Align runs by step or by time", "Charts"),
    Action("pause", ("space",), "Pause, or follow the run", "Charts"),
    Action("next_panel", ("tab",), "Next panel", "Panels", "app.focus_next"),
    Action("previous_panel", ("shift+tab",), "Previous panel", "Panels", "app.focus_previous"),
    Action("full_screen", ("f",), "Panel on the full screen and back", "Panels"),
    Action("choose_panels", ("p",), "Choose which panels are shown", "Panels"),
    Action("quantity", ("v",), "Next quantity of the layers view", "Panels"),
    Action("next_layer", ("right_square_bracket",), "Next layer of the layers view", "Panels", "move_layer(1)"),
    Action("previous_layer", ("left_square_bracket",), "Previous layer of the layers view", "Panels", "move_layer(-1)"),
    Action("earlier_rows", ("less_than_sign",), "Earlier rows of the log view", "Panels", "page_rows(-1)"),
    Action("later_rows", ("greater_than_sign",), "Later rows of the log view", "Panels", "page_rows(1)"),
    Action("next_alert", ("n",), "Jump to the next alert", "Alerts", "jump_alert(1)"),
    Action("previous_alert", ("N",), "Jump to the previous alert", "Alerts", "jump_alert(-1)"),
    Action("acknowledge", ("a",), "Acknowledge the alert", "Alerts"),
    Action("snooze", ("z",), "Snooze the alert for half an hour or until the next of its kind; wake it", "Alerts"),
    Action("filter_alerts", ("e",), "Filter alerts: open, critical, new, one kind, one layer, snoozed", "Alerts"),
    Action("save", ("s",), "Save the view as SVG, text and JSON", "Take away"),
    Action("copy", ("y",), "Copy the values under the cursor", "Take away"),
    Action("theme", ("t",), "Next theme", "Screen"),
    Action("redraw", ("R",), "Paint the screen anew, where the line has garbled it", "Screen"),
    Action("commands", ("colon",), "Command palette", "Screen"),
    Action("help", ("question_mark", "f1"), "Help", "Screen"),
    Action("back", ("escape",), "Back", "Screen"),
    Action("quit", ("q",), "Quit", "Screen"),
)

BY_NAME = {action.name: action for action in ACTIONS}

SYMBOLS = {
    "slash": "/",
    "plus": "+",
    "equals_sign": "=",
    "minus": "-",
    "comma": ",",
    "full_stop": ".",
    "colon": ":",
    "question_mark": "?",
    "less_than_sign": "<",
    "greater_than_sign": ">",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
}


def keys_of(name: str, own: Mapping[str, str]) -> tuple[str, ...]:
    """The keys of an action; `own` are those that one has chosen, by action, as Textual's keymaps have them."""
    return tuple(own[name].split(",")) if name in own else BY_NAME[name].keys


def key_text(keys: tuple[str, ...]) -> str:
    """The keys as a person reads them: `+ =`."""
    return " ".join(SYMBOLS.get(key, key) for key in keys)


def hints(own: Mapping[str, str]) -> tuple[str, ...]:
    """The keys that the screen names all the time; `own` as for `keys_of`."""
    first = {name: key_text(keys_of(name, own)[:1]) for name in ("view_overview", "view_log", "help", "quit")}
    return (
        f"{first['view_overview']}–{first['view_log']}: views",
        f"{first['help']}: help",
        f"{first['quit']}: quit",
    )


def key_table() -> str:
    """The keys as a Markdown table, for docs/screen.md."""
    lines = ["| key | what it does | name |", "|---|---|---|"]
    group = ""
    for action in ACTIONS:
        if action.group != group:
            group = action.group
            lines.append(f"| **{group}** | | |")
        keys = " ".join(f"`{SYMBOLS.get(key, key)}`" for key in action.keys)
        lines.append(f"| {keys} | {action.title} | {action.name} |")
    return "\n".join(lines)
