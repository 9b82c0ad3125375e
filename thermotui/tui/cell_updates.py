"""What a terminal already shows need not be sent again: updates of the screen reduced to the cells that differ.

Textual sends whole strips from the left edge of a widget, with both colours spelled out for every one. Over a thin
line that is most of the traffic. Here an update is read cell by cell, compared with what was last sent, and only the
cells that differ are written, grouped by their style, with the shortest moves between them.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.cells import get_character_cell_size

from thermotui.tui.cursor_moves import move, nearest_first

UNKNOWN = 0xFFFFFFFF
"""Stands for a cell of which it is not known what it shows."""
CONTINUATION = 0
"""Stands for the right half of a wide character."""

_TEXT = r"[^\x00-\x1f\x7f]+"
_TOKEN = re.compile(rf"\x1b\[([\d;]+)m({_TEXT})\x1b\[0m|\x1b\[([\d;]*)([Hm])|({_TEXT})|(\n)")
"""Text in a style, as Textual writes it; a move or a style; text; the end of a row, which a move follows."""
_COLOUR = re.compile(r"(?:[34]8;(?:5;\d+|2;\d+;\d+;\d+))|\d+")
_BLANK = ord(" ")
_FEW = 256
"""Stretches of cells up to which it pays to look for an order with short moves."""
_JOIN = 4
"""Bytes of unchanged cells that are sent again sooner than moved over, which takes as many."""


class _Wanted(NamedTuple):
    """What an update asks for: the cells after it, how many it writes, and where it leaves the cursor if moved."""

    characters: NDArray[np.uint32]
    styles: NDArray[np.uint32]
    written: int
    cursor: tuple[int, int] | None


class CellUpdates:
    """The cells of a terminal as last sent. Feed it every update in order; one object for one terminal."""

    def __init__(self) -> None:
        self._styles: dict[str, int] = {"": 0}
        self._style_texts = [""]
        self._blank_styles = [0]
        self._cursor: tuple[int, int] | None = None
        self._style: str | None = None
        self._shown = self._shown_styles = np.empty((0, 0), np.uint32)
        self._put: tuple[NDArray[np.uint32], NDArray[np.uint32]] | None = None
        """Characters and styles wanted by `put` and not yet sent."""
        self._rest: tuple[int, int] | None = None

    def forget(self, width: int | None = None, height: int | None = None) -> None:
        """Take every cell as unknown, after a resize or after someone else has written to the terminal."""
        shape = self._shown.shape if width is None or height is None else (height, width)
        self._shown = np.full(shape, UNKNOWN, np.uint32)
        self._shown_styles = np.zeros(shape, np.uint32)
        self._cursor = self._style = self._put = None

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows."""
        return self._shown.shape[1], self._shown.shape[0]

    def reset(self) -> str:
        """What takes the terminal back to its plain style, before anything is sent that is not an update."""
        plain, self._style, self._cursor = self._style == "", "", None
        return "" if plain else "\x1b[0m"

    def style_number(self, style: str) -> int:
        """The number of a style, given as the parameters of its escape sequence."""
        return self._style_of(style)

    def put(self, x: int, y: int, characters: NDArray[np.uint32], styles: NDArray[np.uint32]) -> None:
        """Have the next `flush` or `reduce` show these cells [height, width], each one wide; cut at the edges."""
        if self._put is None:
            self._put = self._shown.copy(), self._shown_styles.copy()
        height, width = (max(room, 0) for room in (self._shown.shape[0] - y, self._shown.shape[1] - x))
        characters, styles = characters[:height, :width], styles[:height, :width]
        there = slice(y, y + characters.shape[0]), slice(x, x + characters.shape[1])
        blank = characters == _BLANK
        self._put[0][there] = characters
        self._put[1][there] = np.where(blank, np.array(self._blank_styles, np.uint32)[styles], styles)

    def flush(self) -> str:
        """What shows the cells that were put."""
        if self._put is None:
            return ""
        (characters, styles), self._put = self._put, None
        changed = (characters != self._shown) | (styles != self._shown_styles)
        if not changed.any():
            return ""
        self._shown, self._shown_styles = characters, styles
        return self._write(changed) + self._rest_at(self._rest)

    def reduce(self, update: str) -> str | None:
        """The shortest text found that does what `update` does; None where that is more than moves, styles and text.

        An update that writes every cell is taken as a wish to paint anew: nothing is left out of it.
        """
        wanted = self._read(update)
        if wanted is None:
            return None
        if wanted.written >= self._shown.size > 0 and not (wanted.characters == UNKNOWN).any():
            changed = np.ones(self._shown.shape, np.bool_)
        else:
            changed = (wanted.characters != self._shown) | (wanted.styles != self._shown_styles)
            if not changed.any():
                self._put = None
                return ""
        # Half of a wide character cannot be written.
        changed[:, :-1] |= changed[:, 1:] & (wanted.characters[:, 1:] == CONTINUATION)
        self._shown, self._shown_styles = wanted.characters, wanted.styles
        self._put, self._rest = None, wanted.cursor
        return self._write(changed) + self._rest_at(wanted.cursor)

    def _read(self, update: str) -> _Wanted | None:
        before, styles_before = self._put or (self._shown, self._shown_styles)
        characters, styles = before.copy(), styles_before.copy()
        height, width = characters.shape
        x = y = written = length = style = 0
        moved = False
        # One token at a time: those of a large terminal painted anew are many megabytes.
        for token in _TOKEN.finditer(update):
            styled, styled_text, parameters, final, text, _ = token.groups("")
            if styled_text or text:
                codes = _cells(styled_text or text)
                if codes is None:
                    return None
                length += len(styled_text) + len(styled) + 7 if styled_text else len(text)
                if 0 <= y < height and x < width:
                    stop = min(x + codes.size, width)
                    characters[y, x:stop] = codes[: stop - x]
                    styles[y, x:stop] = self._style_of(styled) if styled_text else style
                    written += stop - x
                    x = stop
                if styled_text:
                    style = 0
                moved = False
            elif final == "H":
                length += len(parameters) + 3
                row, _, column = parameters.partition(";")
                x, y, moved = int(column or 1) - 1, int(row or 1) - 1, True
            elif final:
                length += len(parameters) + 3
                style = self._style_of("" if parameters == "0" else parameters)
            else:
                length += 1
        if length != len(update):
            return None
        # A blank shows its background alone: one of another foreground is the same blank.
        blank = characters == _BLANK
        styles[blank] = np.array(self._blank_styles, np.uint32)[styles[blank]]
        return _Wanted(characters, styles, written, (y, x) if moved else None)

    def _style_of(self, text: str) -> int:
        number = self._styles.get(text)
        if number is None:
            number = self._styles[text] = len(self._style_texts)
            self._style_texts.append(text)
            self._blank_styles.append(number)
            self._blank_styles[number] = self._style_of(_of_a_blank(text))
        return number

    def _write(self, changed: NDArray[np.bool_]) -> str:
        """Send the changed cells, style by style: setting colours costs more than moving."""
        width = changed.shape[1]
        flat_styles, flat = self._shown_styles.ravel(), self._shown.ravel()
        backgrounds = np.array(self._blank_styles, np.uint32)
        cells = _joined(np.flatnonzero(changed), flat, flat_styles, backgrounds, width)
        style_of_cell = _carried(cells, flat[cells] == _BLANK, flat_styles[cells], backgrounds, width)
        current = self._styles.get(self._style or "", 0)
        # The style that is set already comes first.
        order = np.lexsort((cells, style_of_cell, style_of_cell != current))
        cells, style_of_cell = cells[order], style_of_cell[order]
        breaks = np.flatnonzero(
            (np.diff(cells) != 1) | (np.diff(style_of_cell.astype(np.int64)) != 0) | (cells[1:] % width == 0)
        )
        firsts = np.concatenate(([0], breaks + 1))
        lasts = np.concatenate((breaks + 1, [cells.size]))
        if firsts.size <= _FEW:
            order = self._nearest_first(cells[firsts], lasts - firsts, style_of_cell[firsts], width)
            firsts, lasts = firsts[order], lasts[order]
        # Right halves of wide characters are zeros, which are taken out again below.
        text = flat[cells].tobytes().decode("utf-32")
        wide = chr(CONTINUATION) in text
        rows, columns = np.divmod(cells[firsts], width)
        parts: list[str] = []
        cursor, set_style = self._cursor, self._style
        for first, last, y, x, number in zip(
            *(each.tolist() for each in (firsts, lasts, rows, columns, style_of_cell[firsts])), strict=True
        ):
            style = self._style_texts[number]
            if style != set_style:
                parts.append(_style_change(set_style, style))
                set_style = style
            parts.append(move(cursor, (y, x), width))
            parts.append(text[first:last].replace(chr(CONTINUATION), "") if wide else text[first:last])
            cursor = y, x + (last - first)
        self._cursor, self._style = cursor, set_style
        return "".join(parts)

    def _nearest_first(
        self, cells: NDArray[np.intp], lengths: NDArray[np.intp], styles: NDArray[np.uint32], width: int
    ) -> NDArray[np.intp]:
        """An order of stretches that begin at these cells, [m] each and one style after the other, with short moves."""
        rows, columns = np.divmod(cells, width)
        ends, cursor = columns + lengths, self._cursor
        parts = []
        for stretches in np.split(np.arange(cells.size), np.flatnonzero(np.diff(styles.astype(np.int64))) + 1):
            order = stretches[nearest_first(cursor, rows[stretches], columns[stretches], ends[stretches])]
            cursor = int(rows[order[-1]]), int(ends[order[-1]])
            parts.append(order)
        return np.concatenate(parts)

    def _rest_at(self, place: tuple[int, int] | None) -> str:
        """Leave the cursor where an input field wants it; home is what Textual says where nothing does."""
        if place is None or place in ((0, 0), self._cursor):
            return ""
        before, self._cursor = self._cursor, place
        return move(before, place, self._shown.shape[1])


@lru_cache(512)
def _cells(text: str) -> NDArray[np.unsignedinteger[Any]] | None:
    """Code points cell by cell; None where a character joins with the one before it."""
    if text.isascii():
        return np.frombuffer(text.encode("ascii"), np.uint8)
    cells: list[int] = []
    for character in text:
        width = get_character_cell_size(character)
        if width < 1:
            return None
        cells.extend((ord(character), CONTINUATION)[:width])
    return np.array(cells, np.uint32)


def _joined(
    cells: NDArray[np.intp],
    shown: NDArray[np.uint32],
    styles: NDArray[np.uint32],
    backgrounds: NDArray[np.uint32],
    width: int,
) -> NDArray[np.intp]:
    """Add the few unchanged cells between changed ones of one row and one style, where they are known."""
    gaps = np.diff(cells) - 1
    candidates = np.flatnonzero((gaps > 0) & (gaps <= _JOIN) & (cells[1:] // width == cells[:-1] // width))
    if not candidates.size:
        return cells
    # A line for each gap: the changed cell before it, those between, the changed cell after it.
    place = np.arange(_JOIN + 2)
    count = gaps[candidates, None]
    within, between = place <= count + 1, (place > 0) & (place <= count)
    gap = cells[candidates, None] + np.minimum(place, count + 1)
    characters, look = shown[gap], styles[gap]
    size = (between * (1 + (characters > 0x7F) + (characters > 0x7FF))).sum(axis=1)
    short = size <= np.where(gaps[candidates] > 1, _JOIN, _JOIN - 1)
    known = ~(between & (characters == UNKNOWN)).any(axis=1)
    inked = within & (characters != _BLANK)
    ink = np.take_along_axis(look, inked.argmax(axis=1)[:, None], axis=1)
    plain = (backgrounds[look] == backgrounds[ink]).all(axis=1) & (~inked | (look == ink)).all(axis=1)
    alike = (look == look[:, :1]).all(axis=1) | (inked.any(axis=1) & plain)
    return np.sort(np.concatenate((cells, gap[between & (short & known & alike)[:, None]])))


def _carried(
    cells: NDArray[np.intp],
    blank: NDArray[np.bool_],
    styles: NDArray[np.uint32],
    backgrounds: NDArray[np.uint32],
    width: int,
) -> NDArray[np.uint32]:
    """The styles to write the cells in: a blank takes that of its neighbour on the same background, and needs no move.

    All of shape [m], in rising order of the cells; backgrounds: the style of a blank for each style.
    """
    if blank.all() or not blank.any():
        return styles
    at = np.arange(cells.size)
    begins = np.concatenate(([True], (np.diff(cells) != 1) | (cells[1:] % width == 0)))
    first = np.maximum.accumulate(np.where(begins, at, 0))
    before = np.maximum.accumulate(np.where(blank, -1, at))
    ends = np.append(begins[1:], True)
    last = np.minimum.accumulate(np.where(ends, at, cells.size)[::-1])[::-1]
    after = np.minimum.accumulate(np.where(blank, cells.size, at)[::-1])[::-1]
    result = styles.copy()
    for neighbour, within in ((after, after <= last), (before, before >= first)):
        fits = blank & within
        fits[fits] = backgrounds[styles[neighbour[fits]]] == styles[fits]
        result[fits] = styles[neighbour[fits]]
    return result


class _Attributes(NamedTuple):
    foreground: str
    background: str
    others: frozenset[str]


@lru_cache(256)
def _attributes(style: str) -> _Attributes:
    foreground = background = ""
    others: set[str] = set()
    for part in _COLOUR.findall(style):
        code = int(part.partition(";")[0])
        if 30 <= code <= 38 or 90 <= code <= 97:
            foreground = part
        elif 40 <= code <= 48 or 100 <= code <= 107:
            background = part
        elif code not in (0, 39, 49):
            others.add(part)
    return _Attributes(foreground, background, frozenset(others))


def _of_a_blank(style: str) -> str:
    """The part of a style that a blank shows: all of it where it is reversed or ruled, else the background."""
    attributes = _attributes(style)
    return style if attributes.others & {"4", "7", "9", "21", "51", "52", "53"} else attributes.background


@lru_cache(512)
def _style_change(before: str | None, after: str) -> str:
    """The shortest sequence from one style to another; `before` None where it is not known."""
    whole = f"\x1b[0;{after}m" if after else "\x1b[0m"
    if before is None:
        return whole
    old, new = _attributes(before), _attributes(after)
    if not old.others <= new.others:
        return whole
    parts = sorted(new.others - old.others)
    if old.foreground != new.foreground:
        parts.append(new.foreground or "39")
    if old.background != new.background:
        parts.append(new.background or "49")
    return min(f"\x1b[{';'.join(parts)}m", whole, key=len)
