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
Dots = NDArray[np.bool_]
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


def fill_between(top: Floats, bottom: Floats, rows: int) -> Dots:
    """Dots [rows, columns] set from `top` to `bottom`, heights in [0, 1] from the bottom up; none where NaN.

    A height outside is clipped to the edge only if its span crosses the picture.
    """
    upper = (1.0 - top) * rows
    lower = (1.0 - bottom) * rows
    visible = (lower >= 0) & (upper <= rows)
    first = np.where(visible, np.clip(upper, 0, rows - 1), rows).astype(np.int16)
    last = np.where(visible, np.clip(lower, 0, rows - 1), -1).astype(np.int16)
    index = _row_numbers(rows)
    return (index >= first) & (index <= last)


@lru_cache(64)
def _row_numbers(rows: int) -> NDArray[np.int16]:
    return np.arange(rows, dtype=np.int16)[:, None]


def line(heights: Floats, rows: int) -> Dots:
    """Dots [rows, columns] of a curve, each column joined to the one before it where both are finite."""
    before = np.concatenate(([np.nan], heights[:-1]))
    joined = np.isfinite(before)
    # The join starts one dot beyond the neighbour's, so that a slope is as thin as a flat.
    dot = 1.0 / rows
    towards = before + np.where(before < heights, dot, np.where(before > heights, -dot, 0.0))
    crossing = joined & (np.abs(heights - before) > dot)
    top = np.where(crossing, np.maximum(heights, towards), heights)
    bottom = np.where(crossing, np.minimum(heights, towards), heights)
    return fill_between(top, bottom, rows)


def pack(dots: Dots, mode: Mode) -> NDArray[np.uint8]:
    """Bit patterns [rows/down, columns/across] of the dots [rows, columns]."""
    glyphs = GLYPHS[mode]
    height, width = dots.shape[0] // glyphs.down, dots.shape[1] // glyphs.across
    cells = dots.reshape(height, glyphs.down, width, glyphs.across)
    bits: NDArray[np.uint8] = np.einsum("hdwa,da->hw", cells.view(np.uint8), glyphs.weights)
    return bits
