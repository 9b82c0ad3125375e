"""The themes: dark, light, colour-blind, sixteen colours and mono, and those that the preferences add."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from textual.color import Color, ColorParseError
from textual.theme import BUILTIN_THEMES, Theme

from thermotui.errors import InputError
from thermotui.tui.charts.palette import COLOUR_BLIND, DARK, LIGHT, SIXTEEN, VARIABLE_PREFIX, Palette
from thermotui.tui.charts.roles import HEAT_LEVELS, ROLES

_GREYS = ("#ffffff", "#b4b4b4", "#dadada", "#8c8c8c")


def _mono() -> Palette:
    colours = dict.fromkeys(ROLES[1:], "#b4b4b4")
    colours |= {f"series_{index + 1}": _GREYS[index % len(_GREYS)] for index in range(8)}
    colours |= {f"band_{index + 1}": "#5a5a5a" for index in range(8)}
    colours |= {
        f"heat_{level}": f"#{20 + 25 * level:02x}" + f"{20 + 25 * level:02x}" * 2 for level in range(HEAT_LEVELS)
    }
    colours |= {"muted": "#8c8c8c", "axis": "#6e6e6e", "critical": "#ffffff", "cursor": "#ffffff"}
    return Palette("mono", colours, {"valid": "#1c1c1c", "cursor": "#3c3c3c"})


MONO = _mono()

THEMES: dict[str, Theme] = {
    theme.name: theme
    for theme in (
        replace(BUILTIN_THEMES["textual-dark"], name="dark", background="#111418", surface="#15191e", panel="#232a33",
            secondary="#8ab4f8",
        ),
        replace(
            BUILTIN_THEMES["textual-light"], name="light", warning="#9a5b00", error="#c62828", success="#2e7d32",
            secondary="#1f6feb", accent="#8a4b00",
        ),
        replace(
            BUILTIN_THEMES["textual-dark"], name="colour-blind", background="#111418", surface="#15191e",
            panel="#232a33", success="#009e73", warning="#e69f00", error="#d55e00", secondary="#56b4e9",
            accent="#f0e442",
        ),
        replace(BUILTIN_THEMES["ansi-dark"], name="sixteen"),
        Theme(
            "mono", primary="#b4b4b4", secondary="#b4b4b4", warning="#dadada", error="#ffffff", success="#b4b4b4",
            accent="#ffffff", foreground="#dadada", background="#101010", surface="#161616", panel="#2a2a2a",
        ),
    )
}  # fmt: skip
_PALETTES = {"dark": DARK, "light": LIGHT, "colour-blind": COLOUR_BLIND, "sixteen": SIXTEEN, "mono": MONO}
for _name, _palette in _PALETTES.items():
    THEMES[_name] = replace(THEMES[_name], variables=THEMES[_name].variables | _palette.variables())

_FIELDS = (
    "primary",
    "secondary",
    "warning",
    "error",
    "success",
    "accent",
    "foreground",
    "background",
    "surface",
    "panel",
)


def all_themes(own: Mapping[str, Mapping[str, str]]) -> dict[str, Theme]:
    """The themes above and one's own, each made from its `base`. InputError for an unknown entry or colour."""
    themes = dict(THEMES)
    for name, colours in own.items():
        base = colours.get("base", "dark")
        if base not in themes:
            raise InputError(f"theme {name}: there is no theme {base!r} to start from; there are {', '.join(themes)}")
        themes[name] = _own_theme(name, themes[base], {key: c for key, c in colours.items() if key != "base"})
    return themes


def check_theme(name: str, themes: Mapping[str, Theme]) -> str:
    """The name, where there is such a theme; InputError where there is none."""
    if name not in themes:
        raise InputError(f"there is no theme {name!r}; there are {', '.join(themes)}")
    return name


def _own_theme(name: str, base: Theme, colours: Mapping[str, str]) -> Theme:
    roles = {role.replace("_", "-"): f"{VARIABLE_PREFIX}{role.replace('_', '-')}" for role in ROLES}
    general: dict[str, Any] = {}
    variables = dict(base.variables)
    for key, colour in colours.items():
        try:
            Color.parse(colour)
        except ColorParseError as error:
            raise InputError(f"theme {name}: {key} = {colour!r} is not a colour") from error
        if key in _FIELDS:
            general[key] = colour
        elif key in roles:
            variables[roles[key]] = colour
        else:
            raise InputError(f"theme {name}: there is no colour {key!r}; there are {', '.join((*_FIELDS, *roles))}")
    return replace(base, name=name, variables=variables, **general)


def fitting_theme(environment: Mapping[str, str] = os.environ) -> str:
    """The theme for a terminal that says how many colours it has: sixteen where it promises no more."""
    term = environment.get("TERM", "")
    rich = environment.get("COLORTERM", "") in ("truecolor", "24bit") or "256" in term or "direct" in term
    known_rich = any(name in term for name in ("kitty", "alacritty", "foot", "wezterm", "ghostty"))
    return "dark" if rich or known_rich or os.name == "nt" else "sixteen"
