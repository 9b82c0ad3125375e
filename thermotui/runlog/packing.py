"""A row's values into its bytes by one call for all numbers and one for all arrays.

Assigning to one numpy column after another costs five times as much, most of it in finding out each time what the last
row's values already showed. What this does not know how to pack it leaves to numpy.
"""

from __future__ import annotations

import operator
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

MAX_PLANS = 64
"""Sets of fields that are remembered: a caller logs few."""
CODES = {"f4": "f", "f8": "d", "i4": "i", "i8": "q"}

_kind = operator.attrgetter("dtype", "shape")


@dataclass(frozen=True)
class _Numbers:
    """Values [first, last) of a row are numbers that lie side by side in its bytes, at `offset`."""

    first: int
    last: int
    offset: int
    pack_into: Callable[..., None]


@dataclass(frozen=True)
class _Arrays:
    """Values [first, last) are arrays of these dtypes and shapes that lie side by side, in bytes [start, stop)."""

    first: int
    last: int
    start: int
    stop: int
    kinds: list[tuple[np.dtype[Any], tuple[int, ...]]]


@dataclass(frozen=True)
class _Plan:
    numbers: tuple[_Numbers, ...]
    arrays: tuple[_Arrays, ...]


class Packing:
    """Packs rows of one compound dtype without padding."""

    def __init__(self, dtype: np.dtype[np.void]) -> None:
        self._dtype = dtype
        self._row = dtype.itemsize
        self._plans: dict[tuple[str, ...], _Plan | None] = {}

    def pack(self, memory: memoryview, at: int, values: Mapping[str, Any]) -> bool:
        """Write the values of row `at` into the bytes of a block of rows, as an assignment to its columns would.

        False where that has to be left to numpy; the row may then be half written.
        """
        names = tuple(values)
        try:
            plan = self._plans[names]
        except KeyError:
            plan = self._remember(names)
        if plan is None:
            return False
        base = at * self._row
        parts = tuple(values.values())
        try:
            for run in plan.numbers:
                run.pack_into(memory, base + run.offset, *parts[run.first : run.last])
            for group in plan.arrays:
                arrays = parts[group.first : group.last]
                if list(map(_kind, arrays)) != group.kinds:
                    return False
                memory[base + group.start : base + group.stop] = b"".join(arrays)
        except (struct.error, TypeError, ValueError, AttributeError, OverflowError, BufferError):
            # Numbers of another type than the column's, values that are no arrays, arrays with gaps.
            return False
        return True

    def _remember(self, names: tuple[str, ...]) -> _Plan | None:
        if len(self._plans) >= MAX_PLANS:
            self._plans.clear()
        plan = self._plans[names] = self._plan(names)
        return plan

    def _plan(self, names: tuple[str, ...]) -> _Plan | None:
        """How values in this order are packed; None for unknown fields and text, which numpy takes care of."""
        fields = self._dtype.fields or {}
        if any(name not in fields or fields[name][0].base.str[1:] not in CODES for name in names):
            return None
        numbers: list[_Numbers] = []
        arrays: list[_Arrays] = []
        for first, last in self._runs(names):
            kinds = [self._dtype[name] for name in names[first:last]]
            offset = fields[names[first]][1]
            if kinds[0].shape:
                stop = offset + sum(kind.itemsize for kind in kinds)
                arrays.append(_Arrays(first, last, offset, stop, [(kind.base, kind.shape) for kind in kinds]))
            else:
                codes = "".join(CODES[kind.str[1:]] for kind in kinds)
                numbers.append(_Numbers(first, last, offset, struct.Struct(f"={codes}").pack_into))
        return _Plan(tuple(numbers), tuple(arrays))

    def _runs(self, names: tuple[str, ...]) -> list[tuple[int, int]]:
        """Stretches of names, all numbers or all arrays, whose fields lie side by side in this order."""
        fields = self._dtype.fields or {}
        starts = [
            index
            for index, name in enumerate(names)
            if index == 0
            or fields[name][1] != fields[names[index - 1]][1] + fields[names[index - 1]][0].itemsize
            or bool(fields[name][0].shape) != bool(fields[names[index - 1]][0].shape)
        ]
        return list(pairwise([*starts, len(names)]))
