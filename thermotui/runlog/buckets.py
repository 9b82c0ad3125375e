"""Rows and rollup rows in buckets: minimum, maximum and sum of many fields at once, in a few of numpy's operations."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from thermotui.runlog.buffer import Rows

CACHED = 2**16
"""Numbers that are reduced at once."""


@dataclass(frozen=True)
class Piece:
    """Consecutive rows, or rollup rows standing for `factor` rows each."""

    first_row: NDArray[np.int64]
    rows: Rows
    factor: int


class Kind(NamedTuple):
    """Fields of one type, all of whose values of a row make a column of one matrix: a call each costs, not a number."""

    base: np.dtype[Any]
    columns: tuple[tuple[str, slice], ...]
    """Each field with its lines in the matrix."""

    def parts(self, rows: int) -> Iterator[Kind]:
        """The kind, or field by field where all of so many rows would not stay in the processor's cache."""
        if self.columns[-1][1].stop * rows <= CACHED:
            yield self
        else:
            for name, lines in self.columns:
                yield Kind(self.base, ((name, slice(0, lines.stop - lines.start)),))

    def matrix(self, rows: Rows, statistic: str = "") -> NDArray[Any]:
        """The fields, or their statistic in rollup rows: [values of a row, rows]."""
        first = rows[f"{self.columns[0][0]}{statistic}"]
        matrix = np.empty((self.columns[-1][1].stop, len(rows)), first.dtype)
        for name, lines in self.columns:
            matrix[lines] = rows[f"{name}{statistic}"].reshape(len(rows), lines.stop - lines.start).T
        return matrix


class _Runs:
    """Runs of equal numbers, one after the other; most are as long as their neighbours."""

    def __init__(self, numbers: NDArray[np.int64]) -> None:
        self.starts = np.flatnonzero(np.diff(numbers, prepend=-1))
        lengths = np.diff(self.starts, append=numbers.size)
        self.ends = self.starts + lengths - 1
        changes = [0, *(np.flatnonzero(np.diff(lengths)) + 1).tolist()]
        self._alike = [
            (int(self.starts[first]), int(lengths[first]), stop - first)
            for first, stop in zip(changes, [*changes[1:], lengths.size], strict=True)
        ]
        """Stretches of runs of one length: where they start, that length, and how many there are."""

    @property
    def none(self) -> bool:
        """Whether each number is there once."""
        return self._alike[0][1] == 1 and len(self._alike) == 1

    def reduce(self, operation: np.ufunc, values: NDArray[Any], dtype: type[np.generic] | None = None) -> NDArray[Any]:
        """Values [n, numbers] with each run made one, as `reduceat` does, but for long stretches many times faster.

        dtype: what to compute in; None for that of the values.
        """
        parts = []
        for start, length, count in self._alike:
            part = values[:, start : start + length * count]
            while length % 2 == 0:
                part = operation(part[:, ::2], part[:, 1::2], dtype=dtype)
                length //= 2
            if length > 1:
                part = operation.reduce(part.reshape(len(values), count, length), axis=2, dtype=dtype)
            parts.append(part)
        return np.concatenate(parts, axis=1, dtype=dtype)


class Values(NamedTuple):
    """Of the fields of one kind, [values of a row, buckets]; totals are those of what is not NaN."""

    minimum: NDArray[Any]
    maximum: NDArray[Any]
    total: NDArray[np.float64]
    measured: NDArray[np.int64]

    def reduced(self, runs: _Runs) -> Values:
        """Each of the runs made one."""
        if runs.none:
            return self
        return Values(
            runs.reduce(np.fmin, self.minimum),
            runs.reduce(np.fmax, self.maximum),
            runs.reduce(np.add, self.total),
            runs.reduce(np.add, self.measured),
        )


class Buckets(NamedTuple):
    """Buckets by their numbers [B], with what is in each by kind."""

    number: NDArray[np.int64]
    step_first: NDArray[np.int64]
    step_last: NDArray[np.int64]
    rows: NDArray[np.int64]
    values: tuple[Values, ...]


def kinds_of(dtype: np.dtype[np.void], fields: Sequence[str]) -> tuple[Kind, ...]:
    """Fields of rows of that type by their own types."""
    by_base: dict[np.dtype[Any], list[str]] = {}
    for field in dict.fromkeys(fields):
        by_base.setdefault(dtype[field].base, []).append(field)
    kinds = []
    for base, names in by_base.items():
        stops = np.cumsum([math.prod(dtype[name].shape) for name in names]).tolist()
        lines = [slice(first, stop) for first, stop in zip([0, *stops], stops, strict=False)]
        kinds.append(Kind(base, tuple(zip(names, lines, strict=True))))
    return tuple(kinds)


def in_buckets(piece: Piece, kinds: Sequence[Kind], width: int) -> Buckets:
    """The piece in buckets of `width` rows."""
    rows, factor = piece.rows, piece.factor
    number = piece.first_row // width
    runs = _Runs(number)
    first, last = ("step", "step") if factor == 1 else ("step_first", "step_last")
    return Buckets(
        number[runs.starts],
        rows[first][runs.starts],
        rows[last][runs.ends],
        (runs.ends + 1 - runs.starts) * factor,
        tuple(_joined([_reduced(rows, part, factor, runs) for part in kind.parts(len(rows))]) for kind in kinds),
    )


def _reduced(rows: Rows, kind: Kind, factor: int, runs: _Runs) -> Values:
    """What is in each of the runs of rows."""
    if factor == 1:
        values = kind.matrix(rows)
        missing = np.isnan(values)
        if missing.any():
            total = runs.reduce(np.add, np.where(missing, 0, values), np.float64)
            measured = runs.reduce(np.add, ~missing, np.int64)
        else:
            total = runs.reduce(np.add, values, np.float64)
            measured = np.broadcast_to(runs.ends + 1 - runs.starts, total.shape)
        return Values(runs.reduce(np.fmin, values), runs.reduce(np.fmax, values), total, measured)
    count = kind.matrix(rows, "_count").astype(np.int64)
    total = np.where(count > 0, kind.matrix(rows, "_mean") * count, 0)
    return Values(kind.matrix(rows, "_min"), kind.matrix(rows, "_max"), total, count).reduced(runs)


def merged(pieces: Sequence[Buckets]) -> Buckets:
    """Pieces that follow one another as one, a bucket that several have a part of once."""
    number, step_first, step_last, rows = (
        np.concatenate(parts) for parts in zip(*(piece[:4] for piece in pieces), strict=True)
    )
    runs = _Runs(number)
    kinds = zip(*(piece.values for piece in pieces), strict=True)
    return Buckets(
        number[runs.starts],
        step_first[runs.starts],
        step_last[runs.ends],
        np.add.reduceat(rows, runs.starts),
        tuple(_joined(parts, axis=1).reduced(runs) for parts in kinds),
    )


def _joined(parts: Sequence[Values], axis: int = 0) -> Values:
    if len(parts) == 1:
        return parts[0]
    return Values(*(np.concatenate(tables, axis=axis) for tables in zip(*parts, strict=True)))
