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


class _Numbers(NamedTuple):
    """Numbers that lie side by side from `offset` on."""

    pack_into: Callable[..., None]
    offset: int
    get: Getter


class _Arrays(NamedTuple):
    """Arrays of one dtype and shape that lie side by side in bytes [start, stop)."""

    get: Getter
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    start: int
    stop: int


class _Plan(NamedTuple):
    """How a row of a step and so many other `fields` is packed. `head`: the numbers behind the step. `whole`: nothing
    in the row is left to be "not measured".
    """

    fields: int
    whole: bool
    head: _Numbers
    numbers: tuple[_Numbers, ...]
    arrays: tuple[_Arrays, ...]


class Packing:
    """Packs rows of one compound dtype without padding."""

    def __init__(self, blank: NDArray[np.void]) -> None:
        """`blank`: one row [1] of nothing measured."""
        self._dtype = blank.dtype
        self._blank = blank.tobytes()
        self._size = len(self._blank)
        self._plans: dict[frozenset[str], _Plan | None] = {}
        self._latest: _Plan | None = None

    def pack(self, memory: memoryview, at: int, step: Any, values: Values) -> bool:
        """Write the values of row `at` into the bytes of a block of rows, as numpy would its columns.

        False, and the row made blank, where that has to be left to numpy.
        """
        row = at * self._size
        plan = self._latest
        if plan is None or len(values) != plan.fields:
            plan = self._plan_for(values)
        while plan is not None:
            _, whole, (pack_into, offset, get), numbers, stretches = plan
            if not whole:
                memory[row : row + self._size] = self._blank
            try:
                pack_into(memory, row + offset, step, *get(values))
                for pack_into, offset, get in numbers:
                    pack_into(memory, row + offset, *get(values))
                for get, dtype, shape, start, stop in stretches:
                    arrays = get(values)
                    for array in arrays:
                        if array.dtype is not dtype or array.shape != shape:
                            raise TypeError
                    memory[row + start : row + stop] = b"".join(arrays)
            except KeyError:
                # As many fields as in the last row, but others.
                plan = self._plan_for(values)
            except (struct.error, TypeError, ValueError, AttributeError, OverflowError, BufferError):
                # Numbers of another type than the column's, values that are no such arrays, arrays with gaps.
                plan = None
            else:
                self._latest = plan
                return True
        memory[row : row + self._size] = self._blank
        return False

    def _plan_for(self, values: Values) -> _Plan | None:
        names = frozenset(values)
        if names not in self._plans:
            if len(self._plans) >= MAX_PLANS:
                self._plans.clear()
            self._plans[names] = self._plan(names)
        return self._plans[names]

    def _plan(self, names: frozenset[str]) -> _Plan | None:
        """How a row of a step and these fields is packed; None for unknown fields and text, which are numpy's."""
        known = self._dtype.names or ()
        fields = [name for name in known if name == "step" or name in names]
        if (
            known[0] != "step"
            or len(fields) != 1 + len(names)
            or any(self._dtype[name].base.str[1:] not in CODES for name in names)
        ):
            return None
        numbers: list[_Numbers] = []
        arrays: list[_Arrays] = []
        for run in self._runs(fields):
            kind, start = self._dtype[run[0]], self._offset(run[0])
            codes = "".join(CODES[self._dtype[name].base.str[1:]] for name in run)
            if kind.shape:
                arrays.append(
                    _Arrays(_getter(tuple(run)), kind.base, kind.shape, start, start + len(run) * kind.itemsize)
                )
            else:
                behind = tuple(name for name in run if name != "step")
                numbers.append(_Numbers(struct.Struct(f"={codes}").pack_into, start, _getter(behind)))
        whole = len(fields) == len(known)
        return _Plan(len(names), whole, numbers[0], tuple(numbers[1:]), tuple(arrays))

    def _runs(self, fields: Sequence[str]) -> list[Sequence[str]]:
        """The fields cut into stretches, of numbers or of arrays of one kind, that lie side by side."""
        cuts = [
            index
            for index, (before, name) in enumerate(pairwise(fields), 1)
            if self._offset(name) != self._offset(before) + self._dtype[before].itemsize
            or self._dtype[name].shape != self._dtype[before].shape
            or (self._dtype[name].shape and self._dtype[name].base != self._dtype[before].base)
        ]
        return [fields[start:stop] for start, stop in pairwise([0, *cuts, len(fields)])]

    def _offset(self, name: str) -> int:
        assert self._dtype.fields is not None
        return self._dtype.fields[name][1]


def _getter(names: tuple[str, ...]) -> Getter:
    """The values of these names as a tuple; KeyError where one is missing."""
    match names:
        case ():
            return lambda values: ()
        case (name,):
            return lambda values: (values[name],)
    return operator.itemgetter(*names)
