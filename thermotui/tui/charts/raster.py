"""Dots in cells: braille (2×4), quadrant blocks (2×2) and ASCII (1×3), packed with numpy."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from thermotui.tui.charts.model import Floats

Mode = Literal["braille", "block", "ascii"]
MODES: tuple[Mode, ...] = ("braille", "block", "ascii")
Codes = NDArray[np.uint32]


@dataclass(frozen=True, eq=False)
class Glyphs:
    """The dots of one cell: how many across and down, their bits, and the character of each pattern."""

    across: int
    down: int
    weights: NDArray[np.uint8]
    """Shape [down, across]: the bit of each dot."""
    characters: Codes
    """Shape [2^(across·down)]: code point of each pattern of bits."""

    @property
    def full(self) -> int:
        """The pattern with every dot set."""
        return int(self.characters.size - 1)


def _codes(text: str) -> Codes:
    return np.array([ord(character) for character in text], dtype=np.uint32)


_BRAILLE = np.arange(256, dtype=np.uint32) + 0x2800
_BRAILLE[0] = ord(" ")

GLYPHS: dict[Mode, Glyphs] = {
    "braille": Glyphs(2, 4, np.array([[1, 8], [2, 16], [4, 32], [64, 128]], dtype=np.uint8), _BRAILLE),
    "block": Glyphs(2, 2, np.array([[1, 2], [4, 8]], dtype=np.uint8), _codes(" ▘▝▀▖▌▞▛▗▚▐▜▄▙▟█")),
    "ascii": Glyphs(1, 3, np.array([[1], [2], [4]], dtype=np.uint8), _codes(" '-!.:;|")),
}


def span_bits(top: Floats, bottom: Floats, rows: int, mode: Mode) -> NDArray[np.uint8]:
    """Bits [..., rows, cells] of the dots from `top` to `bottom`, heights [..., columns] in [0, 1] from the bottom up.

    rows: of cells. No dots where a height is NaN. One outside is clipped to the edge only if its span crosses the
    picture. Dots are never laid out: of each column the first and the last one set say which bits of which rows.
    """
    glyphs = GLYPHS[mode]
    dots = rows * glyphs.down
    upper, lower = (1.0 - top) * dots, (1.0 - bottom) * dots
    visible = (lower >= 0) & (upper <= dots)
    first = np.where(visible, np.minimum(np.maximum(upper, 0), dots - 1), dots).astype(np.intp)
    end = np.where(visible, np.minimum(np.maximum(lower, 0), dots - 1), -1.0).astype(np.intp) + 1
    parts = []
    for column in range(glyphs.across):
        from_dot, before_dot = _halves(mode, rows, column)
        part = from_dot.take(first[..., column :: glyphs.across], axis=0)
        part &= before_dot.take(end[..., column :: glyphs.across], axis=0)
        parts.append(part)
    bits = parts[0] if len(parts) == 1 else parts[0] | parts[1]
    return np.ascontiguousarray(bits.swapaxes(-1, -2))


@lru_cache(16)
def _halves(mode: Mode, rows: int, column: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Bits of one column of cells whose dots from each one on are set, and before each one: [dots + 1, rows] each."""
    glyphs = GLYPHS[mode]
    dots = rows * glyphs.down
    after = np.arange(dots) >= np.arange(dots + 1)[:, None]
    halves = (after, ~after)
    from_dot, before_dot = (
        (half.reshape(dots + 1, rows, glyphs.down) * glyphs.weights[:, column]).sum(axis=2, dtype=np.uint8)
        for half in halves
    )
    return from_dot, before_dot


def line_span(heights: Floats, dots: int) -> tuple[Floats, Floats]:
    """Top and bottom [..., columns] of a curve `dots` high, each column joined to the one before where both are finite.

    The join starts one dot beyond the neighbour's, so that a slope is as thin as a flat.
    """
    before = np.empty_like(heights)
    before[..., 0], before[..., 1:] = np.nan, heights[..., :-1]
    dot = 1.0 / dots
    with np.errstate(invalid="ignore"):  # infinities beside each other are not joined
        rise = heights - before
        towards = before + np.copysign(dot, rise)
    crossing = np.isfinite(before) & (np.abs(rise) > dot)
    return (
        np.where(crossing, np.maximum(heights, towards), heights),
        np.where(crossing, np.minimum(heights, towards), heights),
    )


@lru_cache(16)
def dither(rows: int, cells: int, mode: Mode) -> NDArray[np.uint8]:
    """Bits [rows, cells] of every second dot: a band drawn with them looks unlike a curve without colours too."""
    glyphs = GLYPHS[mode]
    dots = np.indices((rows * glyphs.down, cells * glyphs.across)).sum(axis=0) % 2 == 0
    parts = dots.reshape(rows, glyphs.down, cells, glyphs.across)
    bits: NDArray[np.uint8] = np.einsum("hdwa,da->hw", parts.view(np.uint8), glyphs.weights)
    return bits
