"""Moves of a terminal's cursor in as few bytes as there are, and an order of places that needs few of them."""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray

Places = NDArray[np.intp]

_DOWN = "\v" if os.name != "nt" else "\x1b[B"
"""A vertical tab is a line feed that no line discipline takes for a new line; Windows's console does."""
_UP = "\x1bM"
_LONGEST = 1024
"""Distances from which on all moves are taken to cost the same when places are put in order."""


def move(cursor: tuple[int, int] | None, target: tuple[int, int], width: int) -> str:
    """The shortest move from the cursor, None where it is not known, to the target, both (row, column)."""
    if cursor is not None and cursor[0] == target[0] and cursor[1] < target[1] and cursor[1] < width:
        # Most are of this kind.
        right = target[1] - cursor[1]
        return f"\x1b[{right}C" if right > 1 else "\x1b[C"
    absolute = f"\x1b[{target[0] + 1};{target[1] + 1}H"
    # After the last column some terminals have the cursor in it and some beyond.
    if cursor is None or cursor[1] >= width:
        return absolute
    down, right = target[0] - cursor[0], target[1] - cursor[1]
    if down > 0:
        vertical = _DOWN if down == 1 else min(_DOWN * down, f"\x1b[{down}B", key=len)
    else:
        vertical = min(_UP * -down, f"\x1b[{-down}A", key=len) if down else ""
    if right > 0:
        across = f"\x1b[{right}C" if right > 1 else "\x1b[C"
    else:
        across = min("\b" * -right, f"\x1b[{target[1] + 1}G", f"\x1b[{-right}D", key=len) if right else ""
    relative = vertical + across
    return relative if len(relative) < len(absolute) else absolute


def _lengths(one: int, each: int) -> NDArray[np.int64]:
    """Bytes of moves over 0 … _LONGEST cells: `one` for one cell, for more `each` a cell or else their number."""
    cells = np.arange(_LONGEST + 1)
    lengths: NDArray[np.int64] = np.minimum(cells * each, 4 + (cells > 9) + (cells > 99) + (cells > 999))
    lengths[:2] = 0, one
    return lengths


_NEVER = 1 << 20
"""More bytes than any move takes."""
_NUMBER = 1 + (np.arange(_LONGEST + 1) > 8) + (np.arange(_LONGEST + 1) > 98) + (np.arange(_LONGEST + 1) > 998)


def _both_ways(before: NDArray[np.int64], after: NDArray[np.int64]) -> NDArray[np.int64]:
    """Bytes of moves over −_LONGEST … _LONGEST cells, and at the end of what lies farther."""
    return np.concatenate((before[:0:-1], after, [_NEVER]))


_ACROSS = _both_ways(_lengths(1, 1), _lengths(3, 9))
_ALONG = _both_ways(_lengths(2, 2), _lengths(len(_DOWN), len(_DOWN)))


def nearest_first(cursor: tuple[int, int] | None, rows: Places, columns: Places, ends: Places) -> Places:
    """An order of stretches [m] of cells, each from a column to before `ends`: always the one that is soonest reached.

    In O(m²), so for few of them.
    """
    order = np.empty(rows.size, np.intp)
    row, column = (int(rows[0]), int(columns[0])) if cursor is None else cursor
    absolute = 4 + _NUMBER[np.minimum(rows, _LONGEST)] + _NUMBER[np.minimum(columns, _LONGEST)]
    # Places in the tables of moves from the upper left corner.
    along, across = rows + _LONGEST, columns + _LONGEST
    for index in range(rows.size):
        costs = _ALONG.take(along - row, mode="clip")
        costs += _ACROSS.take(across - column, mode="clip")
        np.minimum(costs, absolute, out=costs)
        chosen = int(costs.argmin())
        order[index] = chosen
        row, column = int(rows[chosen]), int(ends[chosen])
        absolute[chosen] = along[chosen] = _NEVER
    return order
