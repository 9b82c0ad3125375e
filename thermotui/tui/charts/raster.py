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
    picture. Dots are never laid out: of each column and row of cells the first and the last one set say which bits.
    """
    glyphs = GLYPHS[mode]
    dots = rows * glyphs.down
    upper, lower = (1.0 - top) * dots, (1.0 - bottom) * dots
    visible = (lower >= 0) & (upper <= dots)
    first = np.where(visible, np.clip(upper, 0, dots - 1), dots).astype(np.int16)
    end = np.where(visible, np.clip(lower, 0, dots - 1), -1.0).astype(np.int16) + np.int16(1)
    above = _dots_above(rows, glyphs.down)
    begins = np.clip(first[..., None, :] - above, 0, glyphs.down)
    ends = np.clip(end[..., None, :] - above, 0, glyphs.down)
    spans = begins * np.int16(glyphs.down + 1) + ends
    bits: NDArray[np.uint8] = _span_table(mode, 0)[spans[..., :: glyphs.across]]
    for column in range(1, glyphs.across):
        bits |= _span_table(mode, column)[spans[..., column :: glyphs.across]]
    return bits


@lru_cache(64)
def _dots_above(rows: int, down: int) -> NDArray[np.int16]:
    """Rows of dots above each row of cells, [rows, 1]."""
    return np.arange(0, rows * down, down, dtype=np.int16)[:, None]


@lru_cache(8)
def _span_table(mode: Mode, column: int) -> NDArray[np.uint8]:
    """Bits of a column of a cell whose dots from `begin` to before `end` are set, at begin · (down + 1) + end."""
    glyphs = GLYPHS[mode]
    weights = glyphs.weights[:, column]
    ends = range(glyphs.down + 1)
    return np.array([weights[begin:end].sum() for begin in ends for end in ends], np.uint8)


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


@lru_cache(64)
def dither(rows: int, cells: int, mode: Mode) -> NDArray[np.uint8]:
    """Bits [rows, cells] of every second dot: a band drawn with them looks unlike a curve without colours too."""
    glyphs = GLYPHS[mode]
    dots = np.indices((rows * glyphs.down, cells * glyphs.across)).sum(axis=0) % 2 == 0
    parts = dots.reshape(rows, glyphs.down, cells, glyphs.across)
    bits: NDArray[np.uint8] = np.einsum("hdwa,da->hw", parts.view(np.uint8), glyphs.weights)
    return bits
