"""Rows and columns of a table: what stands in a cell, how wide each column is, and where a text is cut."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from rich.cells import cell_len, set_cell_size

Role = Literal["plain", "muted", "good", "minor", "warning", "critical", "accent"]


class Column(NamedTuple):
    """A column: its title, its width in cells (0: what the others leave), and where its text stands.

    cut: where a text that is too long is cut. fit: no wider than its widest cell; `width` is then the most it takes.
    last: above 0, left out, whole, where there is no room for all: a number that is cut is another number. The columns
    with the highest `last` go first.
    """

    title: str
    width: int = 0
    align: Literal["left", "right"] = "left"
    cut: Literal["middle", "right"] = "right"
    fit: bool = False
    last: int = 0


class Cell(NamedTuple):
    """Text with a role, which the theme colours."""

    text: str
    role: Role = "plain"


class Row(NamedTuple):
    """A row. The key keeps the cursor on the row when rows are added or ordered anew."""

    key: str
    cells: tuple[Cell, ...]
    heading: bool = False
    """Whether it only names the rows below; the cursor passes it by."""


SMALLEST = 14
"""Cells below which a column that takes what the others leave tells nothing; it is left out where it has a `last`."""


SMALLEST_NAME = 6
"""Cells below which a name that is cut tells nothing."""


def cut_text(text: str, size: int, place: Literal["middle", "right"] = "right", mark: str = "…") -> str:
    """The text in at most `size` cells, with a mark where it was cut; of a middle cut the end keeps the larger part.

    Names of runs begin with what they are, and differ at their end.
    """
    if cell_len(text) <= size:
        return text
    room = size - cell_len(mark)
    if room < 0:
        return " " * size
    head = room if place == "right" else 2 * room // 5
    tail = text
    while cell_len(tail) > room - head:
        tail = tail[1:]
    return set_cell_size(text, head) + mark + tail


def widths_of(columns: Sequence[Column], natural: Sequence[int], room: int) -> list[int]:
    """Cells for each column in a line of `room`, one blank between two; 0 for a column that is left out.

    natural: width of the widest cell of each column, its title among them.
    """
    widths = [
        min(widest, column.width or widest) if column.fit else column.width
        for column, widest in zip(columns, natural, strict=True)
    ]
    shown = [column.width > 0 or column.fit for column in columns]

    def taken() -> int:
        return sum(width + 1 for width, there in zip(widths, shown, strict=True) if there) - 1

    for index in sorted(range(len(columns)), key=lambda index: -columns[index].last):
        if columns[index].last and taken() > room:
            shown[index] = False
    # A name may be cut, numbers may not.
    name = next((index for index, column in enumerate(columns) if column.cut == "middle" and column.fit), None)
    if name is not None and taken() > room:
        widths[name] = max(widths[name] - (taken() - room), min(widths[name], SMALLEST_NAME))
    free = [index for index, column in enumerate(columns) if column.width == 0 and not column.fit]
    share = (room - taken() - len(free)) // len(free) if free else 0
    for index in free:
        widths[index], shown[index] = max(share, 0), share >= SMALLEST or not columns[index].last
    return [width if there else 0 for width, there in zip(widths, shown, strict=True)]
