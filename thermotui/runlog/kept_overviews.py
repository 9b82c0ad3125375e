"""Overviews of a log that grows, or of windows that overlap: whole buckets are not read again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from thermotui.runlog.overview import Overview

KEPT = 6
"""Windows: those of three streams, of the two curves in a list of runs, and one that was left."""

Key = tuple[str, ...]
"""A stream and its fields."""


class _Window(NamedTuple):
    start: int
    stop: int
    overview: Overview
    mark: bytes
    """Of its last row."""


class KeptOverviews:
    """The last windows of one log that were asked for. Rows never change once they are there."""

    def __init__(self) -> None:
        self._kept: dict[tuple[Key, int], _Window] = {}
        """By what is shown and the width of its buckets, the newest last."""

    def overview(
        self,
        key: Key,
        width: int,
        start: int,
        stop: int,
        read: Callable[[int, int], Overview],
        mark: Callable[[int], bytes | None],
        *,
        keep: bool,
    ) -> Overview:
        """Buckets of `width` over rows [start, stop), without `measured`. read: makes those of rows [start, stop).

        mark: what tells a row from that of any other log, None beyond the end; where that of the last row kept is
        another one, the file was overwritten, and nothing that was kept holds any more.
        keep: whether the window takes the place of the last one of that width.
        """
        kept = self._kept.get((key, width))
        if kept is not None and mark(kept.stop - 1) != kept.mark:
            self._kept.clear()
            kept = None
        new = _made(start, stop, width, kept, read)
        last = mark(stop - 1) if keep else None
        if last is not None:
            self._kept.pop((key, width), None)
            self._kept[key, width] = _Window(start, stop, new, last)
            while len(self._kept) > KEPT:
                del self._kept[next(iter(self._kept))]
        return new


def _made(
    start: int,
    stop: int,
    width: int,
    kept: _Window | None,
    read: Callable[[int, int], Overview],
) -> Overview:
    if kept is not None:
        before, after, known = kept.start, kept.stop, kept.overview
        if (before, after) == (start, stop):
            return known
        # Buckets that lie in both windows whole.
        first, last = -(-max(before, start) // width), min(after, stop) // width
        if last > first:
            begin = before // width
            parts = [_cut(known, first - begin, last - begin)]
            if start < first * width:
                parts.insert(0, read(start, first * width))
            if last * width < stop:
                parts.append(read(last * width, stop))
            return _joined(parts)
    return replace(read(start, stop), measured={})


def _cut(overview: Overview, first: int, last: int) -> Overview:
    """The buckets [first, last)."""
    return _made_of([overview], lambda arrays: arrays[0][first:last])


def _joined(parts: list[Overview]) -> Overview:
    return _made_of(parts, np.concatenate) if len(parts) > 1 else parts[0]


def _made_of(parts: list[Overview], make: Callable[[list[NDArray[Any]]], NDArray[Any]]) -> Overview:
    """An overview each of whose arrays is made of those of the parts."""

    def each(tables: list[dict[str, NDArray[np.floating]]]) -> dict[str, NDArray[np.floating]]:
        return {field: make([table[field] for table in tables]) for field in tables[0]}

    return Overview(
        parts[0].width,
        make([part.step_first for part in parts]),
        make([part.step_last for part in parts]),
        make([part.count for part in parts]),
        each([part.minimum for part in parts]),
        each([part.maximum for part in parts]),
        each([part.mean for part in parts]),
        {},
    )
