"""A picture in cells, and what differs between two of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len

from thermotui.tui.charts.raster import Codes
from thermotui.tui.charts.roles import ROLE

Roles = NDArray[np.uint8]
_MOVE = 5
"""Bytes of a move to a stretch of changed cells, about."""


@dataclass(frozen=True, eq=False)
class Frame:
    """Characters (code points), foreground and background roles (indices into ROLES; 0 is plain), each [height, width].

    Every character is one cell wide.
    """

    characters: Codes
    foreground: Roles
    background: Roles

    @property
    def height(self) -> int:
        """Rows of cells."""
        return int(self.characters.shape[0])

    @property
    def width(self) -> int:
        """Cells in a row."""
        return int(self.characters.shape[1])

    def rows(self, first: int, stop: int) -> Frame:
        """The rows [first, stop) of the picture."""
        there = slice(first, stop)
        return Frame(self.characters[there], self.foreground[there], self.background[there])

    def same(self, other: Frame) -> bool:
        """Whether both are the same picture."""
        return (
            np.array_equal(self.characters, other.characters)
            and np.array_equal(self.foreground, other.foreground)
            and np.array_equal(self.background, other.background)
        )

    def text(self) -> list[str]:
        """The rows as strings, without colours and trailing blanks."""
        return ["".join(map(chr, row)).rstrip() for row in self.characters.tolist()]

    def write(self, y: int, x: int, text: str, role: str = "plain") -> int:
        """Put text at a cell, cut at the right edge, and return the x after it. Outside of the frame it does nothing.

        Control characters and characters that are not one cell wide, which only untrusted names hold, become "?".
        """
        height, width = self.characters.shape
        if not 0 <= y < height or x >= width:
            return x
        codes = _codes(text)[max(0, -x) : width - x]
        x = max(x, 0)
        end = x + codes.size
        self.characters[y, x:end] = codes
        self.foreground[y, x:end] = ROLE[role]
        return end


@lru_cache(512)
def _codes(text: str) -> Codes:
    if not (text.isascii() and text.isprintable()):
        others = {c for c in set(text) if not c.isprintable() or cell_len(c) != 1}
        text = "".join("?" if c in others else c for c in text) if others else text
    return np.frombuffer(text.encode("utf-32-le"), np.uint32)


def blank(height: int, width: int) -> Frame:
    """An empty frame of that size."""
    shape = (height, width)
    return Frame(np.full(shape, ord(" "), np.uint32), np.zeros(shape, np.uint8), np.zeros(shape, np.uint8))


def changed_cells(old: Frame, new: Frame) -> NDArray[np.bool_]:
    """Where two pictures of one size differ, [height, width]."""
    changed: NDArray[np.bool_] = (
        (old.characters != new.characters)
        | (old.foreground != new.foreground)
        | (old.background != new.background)
    )  # fmt: skip
    return changed


def bytes_between(old: Frame, new: Frame) -> int:
    """About how many bytes take a terminal from one picture to another of its size: characters and moves."""
    changed = changed_cells(old, new)
    codes = new.characters[changed]
    stretches = int(changed[:, 0].sum()) + int((changed[:, 1:] & ~changed[:, :-1]).sum())
    return int(codes.size + (codes > 0x7F).sum() + (codes > 0x7FF).sum()) + _MOVE * stretches


def changed_spans(old: Frame | None, new: Frame) -> list[tuple[int, int, int]]:
    """For each row that changed: (y, first changed x, x after the last); every row where the size differs."""
    if old is None or old.characters.shape != new.characters.shape:
        return [(y, 0, new.width) for y in range(new.height)]
    changed = changed_cells(old, new)
    rows = np.flatnonzero(changed.any(axis=1))
    firsts = changed[rows].argmax(axis=1)
    lasts = new.width - changed[rows, ::-1].argmax(axis=1)
    return list(zip(rows.tolist(), firsts.tolist(), lasts.tolist(), strict=True))


def runs(frame: Frame) -> list[list[tuple[str, int, int]]]:
    """For each row the runs of one style: text, foreground and background role.

    A blank shows its background alone, so it takes the foreground of what is left of it and starts no run.
    """
    inked = np.where(frame.characters != ord(" "), np.arange(frame.width), 0)
    np.maximum.accumulate(inked, axis=1, out=inked)
    foreground, background = np.take_along_axis(frame.foreground, inked, axis=1), frame.background
    breaks = (foreground[:, 1:] != foreground[:, :-1]) | (background[:, 1:] != background[:, :-1])
    rows, columns = np.nonzero(breaks)
    bounds: list[list[int]] = [[0] for _ in range(frame.height)]
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
        bounds[row].append(column + 1)
    text = frame.characters.tobytes().decode("utf-32")
    result = []
    for y, (firsts, fore, back) in enumerate(zip(bounds, foreground.tolist(), background.tolist(), strict=True)):
        line = text[y * frame.width : (y + 1) * frame.width]
        ends = [*firsts[1:], frame.width]
        result.append([(line[i:j], fore[i], back[i]) for i, j in zip(firsts, ends, strict=True)])
    return result
