"""Minimum, maximum and mean of fields over buckets of rows, from rollups, in time that grows with the buckets alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from thermotui.runlog.buffer import Rows
    from thermotui.runlog.table import Table


RAW_BYTES = 24 * 1024 * 1024
"""Where all rows of a window take more and the finest rollup makes half of the buckets, it is read instead."""
FEW_BYTES = 64 * 1024
"""Rows of a window that take no more are read themselves, as fast as rollups, which need not be open for them."""
WHOLE_BYTES = 1024 * 1024
"""Rollup rows that take no more are read with all of their columns: taking out a few would take longer."""
RAW_BLOCK_ROWS = 65_536
"""Rows read at a time where a log has no rollups: memory stays bounded whatever the file's length."""

CACHED = 2**16
"""Numbers that are reduced at once."""


@dataclass(frozen=True)
class Overview:
    """Buckets [B] of consecutive rows. Fields map to [B, …] with the field's own axes behind; NaN where nothing was
    measured. Each bucket is `width` rows (a power of two, at multiples of it), cut to the window at both ends.
    """

    width: int
    step_first: NDArray[np.int64]
    step_last: NDArray[np.int64]
    count: NDArray[np.int64]
    minimum: dict[str, NDArray[np.floating]]
    maximum: dict[str, NDArray[np.floating]]
    mean: dict[str, NDArray[np.floating]]
    measured: dict[str, NDArray[np.int64]]
    """In how many of a bucket's rows the field is not NaN."""


@dataclass(frozen=True)
class _Piece:
    """Consecutive rows, or rollup rows standing for `factor` rows each."""

    first_row: NDArray[np.int64]
    rows: Rows
    factor: int


class _Kind(NamedTuple):
    """Fields of one type, all of whose values of a row make a column of one matrix: a call each costs, not a number."""

    base: np.dtype[Any]
    columns: tuple[tuple[str, slice], ...]
    """Each field with its lines in the matrix."""

    def parts(self, rows: int) -> Iterator[_Kind]:
        """The kind, or field by field where all of so many rows would not stay in the processor's cache."""
        if self.columns[-1][1].stop * rows <= CACHED:
            yield self
        else:
            for name, lines in self.columns:
                yield _Kind(self.base, ((name, slice(0, lines.stop - lines.start)),))

    def matrix(self, rows: Rows, statistic: str = "") -> NDArray[Any]:
        """The fields, or their statistic in rollup rows: [values of a row, rows]."""
        first = rows[f"{self.columns[0][0]}{statistic}"]
        matrix = np.empty((self.columns[-1][1].stop, len(rows)), first.dtype)
        for name, lines in self.columns:
            matrix[lines] = rows[f"{name}{statistic}"].reshape(len(rows), -1).T
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
                part = operation.reduce(part.reshape(len(values), -1, length), axis=2, dtype=dtype)
            parts.append(part)
        return np.concatenate(parts, axis=1, dtype=dtype)


class _Values(NamedTuple):
    """Of the fields of one kind, [values of a row, buckets]; totals are those of what is not NaN."""

    minimum: NDArray[Any]
    maximum: NDArray[Any]
    total: NDArray[np.float64]
    measured: NDArray[np.int64]

    def reduced(self, runs: _Runs) -> _Values:
        """Each of the runs made one."""
        if runs.none:
            return self
        return _Values(
            runs.reduce(np.fmin, self.minimum),
            runs.reduce(np.fmax, self.maximum),
            runs.reduce(np.add, self.total),
            runs.reduce(np.add, self.measured),
        )


class _Buckets(NamedTuple):
    """Buckets by their numbers [B], with what is in each by kind."""

    number: NDArray[np.int64]
    step_first: NDArray[np.int64]
    step_last: NDArray[np.int64]
    rows: NDArray[np.int64]
    values: tuple[_Values, ...]


def bucket_width(start: int, stop: int, buckets: int) -> int:
    """The smallest power of two that cuts rows [start, stop), at its multiples, into at most `buckets` pieces."""
    width = 1
    while -(-stop // width) - start // width > buckets:
        width *= 2
    return width


def _statistic_columns(fields: Sequence[str]) -> tuple[str, ...]:
    names = [f"{field}_{statistic}" for statistic in ("min", "max", "mean", "count") for field in fields]
    return ("step_first", "step_last", *names)


def _pieces(
    table: Table, levels: Sequence[tuple[int, Table]], fields: Sequence[str], start: int, stop: int
) -> list[_Piece]:
    """Cover [start, stop) with the coarsest rollup rows that lie within, the ragged ends with finer ones, then rows."""
    if start >= stop:
        return []
    if not levels:
        return [
            _raw_piece(table, fields, at, min(stop, at + RAW_BLOCK_ROWS)) for at in range(start, stop, RAW_BLOCK_ROWS)
        ]
    factor, rollup = levels[-1]
    first = -(-start // factor)
    last = min(stop // factor, len(rollup))
    if first >= last:
        return _pieces(table, levels[:-1], fields, start, stop)
    few = (last - first) * rollup.row_bytes <= WHOLE_BYTES
    rows = rollup.read(None if few else _statistic_columns(fields), first, last)
    return [
        *_pieces(table, levels[:-1], fields, start, first * factor),
        _Piece(np.arange(first, last, dtype=np.int64) * factor, rows, factor),
        *_pieces(table, levels[:-1], fields, last * factor, stop),
    ]


def _raw_piece(table: Table, fields: Sequence[str], start: int, stop: int) -> _Piece:
    rows = table.read(("step", *fields), start, stop)
    return _Piece(np.arange(start, stop, dtype=np.int64), rows, 1)


def _kinds(dtype: np.dtype[np.void], fields: Sequence[str]) -> tuple[_Kind, ...]:
    by_base: dict[np.dtype[Any], list[str]] = {}
    for field in dict.fromkeys(fields):
        by_base.setdefault(dtype[field].base, []).append(field)
    kinds = []
    for base, names in by_base.items():
        stops = np.cumsum([math.prod(dtype[name].shape) for name in names]).tolist()
        lines = [slice(first, stop) for first, stop in zip([0, *stops], stops, strict=False)]
        kinds.append(_Kind(base, tuple(zip(names, lines, strict=True))))
    return tuple(kinds)


def _buckets(piece: _Piece, kinds: Sequence[_Kind], width: int) -> _Buckets:
    """The piece in buckets of `width` rows."""
    rows, factor = piece.rows, piece.factor
    number = piece.first_row // width
    runs = _Runs(number)
    first, last = ("step", "step") if factor == 1 else ("step_first", "step_last")
    return _Buckets(
        number[runs.starts],
        rows[first][runs.starts],
        rows[last][runs.ends],
        (runs.ends + 1 - runs.starts) * factor,
        tuple(_joined([_reduced(rows, part, factor, runs) for part in kind.parts(len(rows))]) for kind in kinds),
    )


def _reduced(rows: Rows, kind: _Kind, factor: int, runs: _Runs) -> _Values:
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
        return _Values(runs.reduce(np.fmin, values), runs.reduce(np.fmax, values), total, measured)
    count = kind.matrix(rows, "_count").astype(np.int64)
    total = np.where(count > 0, kind.matrix(rows, "_mean") * count, 0)
    return _Values(kind.matrix(rows, "_min"), kind.matrix(rows, "_max"), total, count).reduced(runs)


def width_for(table: Table, factors: Sequence[int], start: int, stop: int, buckets: int) -> int:
    """Rows a bucket where rows [start, stop) are shown in at most `buckets`."""
    width = bucket_width(start, stop, max(2, buckets))
    dear = 2 * width in factors[:1] and (stop - start) * table.row_bytes > RAW_BYTES
    return factors[0] if dear else width


def overview(
    table: Table,
    factors: Sequence[int],
    level: Callable[[int], Table | None],
    fields: Sequence[str],
    start: int,
    stop: int,
    width: int,
) -> Overview:
    """Buckets of `width` rows over rows [start, stop); `level` gives the rollup table of one of `factors`, if any."""
    few = (stop - start) * table.row_bytes <= FEW_BYTES
    within = [factor for factor in factors if factor <= width and -(-start // factor) < stop // factor]
    rollups = [] if few else [(factor, level(factor)) for factor in within]
    usable = [(factor, rollup) for factor, rollup in rollups if rollup is not None]
    kinds = _kinds(table.dtype, fields)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        pieces = [_buckets(piece, kinds, width) for piece in _pieces(table, usable, fields, start, stop)]
        return _overview(table, pieces, kinds, fields, width)


def _overview(
    table: Table, pieces: Sequence[_Buckets], kinds: Sequence[_Kind], fields: Sequence[str], width: int
) -> Overview:
    """Pieces of one bucket from neighbouring levels made one."""
    if not pieces:
        nothing = {field: np.empty((0, *table.dtype[field].shape), table.dtype[field].base) for field in fields}
        none = np.empty(0, np.int64)
        numbers = {field: np.empty(values.shape, np.int64) for field, values in nothing.items()}
        return Overview(width, none, none, none, dict(nothing), dict(nothing), dict(nothing), numbers)
    buckets = pieces[0] if len(pieces) == 1 else _merged(pieces)
    tables: tuple[dict[str, NDArray[Any]], ...] = ({}, {}, {}, {})
    for kind, values in zip(kinds, buckets.values, strict=True):
        means = (values.total / values.measured).astype(kind.base)
        for made, matrix in zip(tables, (values.minimum, values.maximum, means, values.measured), strict=True):
            for name, lines in kind.columns:
                made[name] = matrix[lines].T.reshape(-1, *table.dtype[name].shape)
    minimum, maximum, mean, measured = ({field: made[field] for field in fields} for made in tables)
    return Overview(
        width,
        buckets.step_first.astype(np.int64),
        buckets.step_last.astype(np.int64),
        buckets.rows,
        minimum,
        maximum,
        mean,
        measured,
    )


def _merged(pieces: Sequence[_Buckets]) -> _Buckets:
    number, step_first, step_last, rows = (
        np.concatenate(parts) for parts in zip(*(piece[:4] for piece in pieces), strict=True)
    )
    runs = _Runs(number)
    kinds = zip(*(piece.values for piece in pieces), strict=True)
    return _Buckets(
        number[runs.starts],
        step_first[runs.starts],
        step_last[runs.ends],
        np.add.reduceat(rows, runs.starts),
        tuple(_joined(parts, axis=1).reduced(runs) for parts in kinds),
    )


def _joined(parts: Sequence[_Values], axis: int = 0) -> _Values:
    if len(parts) == 1:
        return parts[0]
    return _Values(*(np.concatenate(tables, axis=axis) for tables in zip(*parts, strict=True)))
