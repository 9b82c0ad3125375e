"""What the roles look like: palettes for dark and light backgrounds, for colour-blind eyes and for 16 colours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from thermotui.tui.charts.roles import HEAT_LEVELS, ROLES, SERIES_COLOURS

VARIABLE_PREFIX = "chart-"


class Palette(NamedTuple):
    """A colour for every role but plain, which is the theme's own text colour.

    Colours are `#rrggbb` or, for terminals of 16 colours, the names that Rich knows them by. "valid" and "cursor" are
    backgrounds too: `backgrounds` gives these.
    """

    name: str
    colours: Mapping[str, str]
    backgrounds: Mapping[str, str]

    def __post_init__(self) -> None:
        missing = [role for role in ROLES[1:] if role not in self.colours]
        if missing:
            raise ValueError(f"palette {self.name}: no colour for {', '.join(missing)}")

    def variables(self) -> dict[str, str]:
        """The palette as variables of a Textual theme, from which charts take their colours."""
        shown = {f"{VARIABLE_PREFIX}{role}": colour for role, colour in self.colours.items()}
        behind = {f"{VARIABLE_PREFIX}{role}-background": colour for role, colour in self.backgrounds.items()}
        return {name.replace("_", "-"): colour for name, colour in (shown | behind).items()}


def _palette(
    name: str, general: str, series: str, bands: str, heat: str, valid_background: str, cursor_background: str
) -> Palette:
    roles = ("muted", "axis", "title", "cursor", "minor", "warning", "critical", "valid")
    colours = dict(zip(roles, general.split(), strict=True))
    colours |= {f"series_{i}": colour for i, colour in enumerate(series.split(), 1)}
    colours |= {f"band_{i}": colour for i, colour in enumerate(bands.split(), 1)}
    colours |= {f"heat_{i}": colour for i, colour in enumerate(heat.split())}
    assert len(colours) == len(roles) + 2 * SERIES_COLOURS + HEAT_LEVELS
    return Palette(name, colours, {"valid": valid_background, "cursor": cursor_background})


# Ten steps of viridis: even steps of lightness, so that it reads in grey and to colour-blind eyes as well.
_VIRIDIS = "#440154 #482878 #3e4a89 #31688e #26828e #1f9e89 #35b779 #6dcd59 #b4de2c #fde725"

DARK = _palette(
    "dark",
    "#8a8f98 #5c6370 #d7dae0 #e5c07b #8ab4f8 #f0b429 #ff5f56 #5a9e6f",
    "#61afef #e5a04b #7fc97f #d988d9 #56c8c8 #e86c75 #c8c85a #b0b6c0",
    "#3d6f99 #8f6738 #548254 #8c588c #3a8080 #934a54 #808040 #70767e",
    _VIRIDIS,
    "#16261c",
    "#3a3f4b",
)
LIGHT = _palette(
    "light",
    "#6b7078 #a0a4ab #1f2328 #8a6100 #1f6feb #b26a00 #c62828 #2e7d4f",
    "#1f6fb4 #b35c00 #2e7d32 #8e24aa #00838f #c2185b #7a7a00 #555b63",
    "#a9cbe6 #e8c49c #abd3ad #d9b0e3 #a3d3d8 #edaec6 #d3d3a0 #c3c6cb",
    _VIRIDIS,
    "#e3f3e8",
    "#d5d9e0",
)
# The eight colours of Okabe and Ito, black made grey; severity differs in lightness too.
COLOUR_BLIND = _palette(
    "colour_blind",
    "#8a8f98 #5c6370 #e6e6e6 #f0e442 #56b4e9 #e69f00 #d55e00 #009e73",
    "#56b4e9 #e69f00 #009e73 #f0e442 #cc79a7 #d55e00 #0072b2 #b3b3b3",
    "#38749a #966800 #006b50 #9a9128 #855070 #8f4000 #004f7d #737373",
    _VIRIDIS,
    "#10262b",
    "#3a3f4b",
)
SIXTEEN = _palette(
    "sixteen",
    "bright_black bright_black bright_white bright_yellow bright_blue bright_yellow bright_red green",
    "bright_cyan bright_yellow bright_green bright_magenta bright_blue bright_red white bright_white",
    "cyan yellow green magenta blue red bright_black bright_black",
    "black blue blue cyan cyan green green yellow bright_yellow bright_white",
    "black",
    "bright_black",
)

PALETTES: dict[str, Palette] = {palette.name: palette for palette in (DARK, LIGHT, COLOUR_BLIND, SIXTEEN)}


def from_variables(variables: Mapping[str, str], *, dark: bool) -> Palette:
    """The palette that a theme's variables hold; roles it says nothing of are taken from DARK or LIGHT."""
    base = DARK if dark else LIGHT

    def pick(role: str, suffix: str, fallback: str) -> str:
        return variables.get(f"{VARIABLE_PREFIX}{role}{suffix}".replace("_", "-"), fallback)

    colours = {role: pick(role, "", colour) for role, colour in base.colours.items()}
    backgrounds = {role: pick(role, "-background", colour) for role, colour in base.backgrounds.items()}
    return Palette("theme", colours, backgrounds)
