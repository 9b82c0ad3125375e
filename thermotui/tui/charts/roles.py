"""Names of the colours of a chart. A theme says what each looks like; the drawing only knows the names."""

from __future__ import annotations

SERIES_COLOURS = 8
HEAT_LEVELS = 10

ROLES: tuple[str, ...] = (
    "plain",
    "muted",
    "axis",
    "title",
    "cursor",
    "minor",
    "warning",
    "critical",
    "valid",
    *(f"series_{index}" for index in range(1, SERIES_COLOURS + 1)),
    *(f"band_{index}" for index in range(1, SERIES_COLOURS + 1)),
    *(f"heat_{index}" for index in range(HEAT_LEVELS)),
)
"""series_i is a curve, band_i the error band or the range of values around it, heat_i a level of a heatmap."""

ROLE: dict[str, int] = {name: index for index, name in enumerate(ROLES)}


def band_role(colour_role: str) -> str:
    """The role of the band around a curve of that role; muted where the curve has no colour of its own."""
    name = colour_role.replace("series_", "band_")
    return name if name in ROLE and name != colour_role else "muted"
