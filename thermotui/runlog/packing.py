"""A row's values into its bytes: one call for all numbers that lie side by side, one for all such arrays.

Assigning to one numpy column after another takes twice as long, most of it spent on finding out each time what the last
row's values already showed. What this does not know how to pack it leaves to numpy.
"""

from __future__ import annotations

import operator
import struct
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

MAX_PLANS = 64
"""Sets of fields that are remembered: a caller logs few."""
CODES = {"f4": "f", "f8": "d", "i4": "i", "i8": "q"}

Values = Mapping[str, Any]
Getter = Callable[[Values], tuple[Any, ...]]

_kind = operator.attrgetter("dtype", "shape")


class _Numbers(NamedTuple):
    """Numbers that lie side by side from `offset` on."""

    pack_into: Callable[..., None]
    offset: int
    get: Getter


class _Arrays(NamedTuple):
    """Arrays of these dtypes and shapes that lie side by side in bytes [start, stop)."""

    get: Getter
    kinds: list[tuple[np.dtype[Any], tuple[int, ...]]]
    start: int
    stop: int


class _Plan(NamedTuple):
    """How a row with values of so many `fields` is packed."""

    fields: int
    numbers: tuple[_Numbers, ...]
    arrays: tuple[_Arrays, ...]


class Packing:
    """Packs rows of one compound dtype without padding."""

    def __init__(self, blank: NDArray[np.void]) -> None:
        """`blank`: one row [1] of nothing measured."""
        self._dtype = blank.dtype
        self._blank = blank.tobytes()
        self._plans: dict[frozenset[str], _Plan | None] = {}
        self._latest = _Plan(0, (), ())

    def pack(self, memory: memoryview, at: int, values: Values) -> bool:
        """Write the values of row `at`, a blank one, into the bytes of a block of rows, as numpy would its columns.

        False, and the row left blank, where that has to be left to numpy.
        """
        row = at * len(self._blank)
        plan: _Plan | None = self._latest
        if len(values) != self._latest.fields:
            plan = self._plan_for(values)
        while plan is not None:
            self._latest = plan
            try:
                if _pack(plan, memory, row, values):
                    return True
                plan = None
            except KeyError:
                # As many fields as in the last row, but others.
                plan = self._plan_for(values)
            self.clear(memory, at)
        return False

    def clear(self, memory: memoryview, start: int, stop: int | None = None) -> None:
        """Make rows [start, stop) of a block blank; row `start` alone where `stop` is None."""
        stop = start + 1 if stop is None else stop
        size = len(self._blank)
        memory[start * size : stop * size] = self._blank * (stop - start)

    def _plan_for(self, values: Values) -> _Plan | None:
        names = frozenset(values)
        if names not in self._plans:
            if len(self._plans) >= MAX_PLANS:
                self._plans.clear()
            self._plans[names] = self._plan(names)
        return self._plans[names]

    def _plan(self, names: frozenset[str]) -> _Plan | None:
        """How a row of these fields is packed; None for unknown fields and text, which numpy takes care of."""
        fields = [name for name in self._dtype.names or () if name in names]
        if len(fields) < len(names) or any(self._dtype[name].base.str[1:] not in CODES for name in names):
            return None
        numbers: list[_Numbers] = []
        arrays: list[_Arrays] = []
        for run in self._runs(fields):
            kinds = [self._dtype[name] for name in run]
            start = self._offset(run[0])
            if kinds[0].shape:
                stop = start + sum(kind.itemsize for kind in kinds)
                arrays.append(_Arrays(_getter(run), [(kind.base, kind.shape) for kind in kinds], start, stop))
            else:
                codes = "".join(CODES[kind.str[1:]] for kind in kinds)
                numbers.append(_Numbers(struct.Struct(f"={codes}").pack_into, start, _getter(run)))
        return _Plan(len(names), tuple(numbers), tuple(arrays))

    def _runs(self, fields: Sequence[str]) -> list[Sequence[str]]:
        """The fields cut into stretches, all numbers or all arrays, that lie side by side."""
        cuts = [
            index
            for index, (before, name) in enumerate(pairwise(fields), 1)
            if self._offset(name) != self._offset(before) + self._dtype[before].itemsize
            or bool(self._dtype[name].shape) != bool(self._dtype[before].shape)
        ]
        return [fields[start:stop] for start, stop in pairwise([0, *cuts, len(fields)]) if start < stop]

    def _offset(self, name: str) -> int:
        assert self._dtype.fields is not None
        return self._dtype.fields[name][1]


def _getter(names: Sequence[str]) -> Getter:
    """The values of these names as a tuple; KeyError where one is missing."""
    if len(names) == 1:
        (name,) = names
        return lambda values: (values[name],)
    return operator.itemgetter(*names)


def _pack(plan: _Plan, memory: memoryview, row: int, values: Values) -> bool:
    """Whether the row was packed; it may be half written where not. KeyError where a field of the plan has no value."""
    try:
        for pack_into, offset, get in plan.numbers:
            pack_into(memory, row + offset, *get(values))
        for get, kinds, start, stop in plan.arrays:
            arrays = get(values)
            if list(map(_kind, arrays)) != kinds:
                return False
            memory[row + start : row + stop] = b"".join(arrays)
    except (struct.error, TypeError, ValueError, AttributeError, OverflowError, BufferError):
        # Numbers of another type than the column's, values that are no arrays, arrays with gaps.
        return False
    return True
