"""Minimum, maximum and mean of fields over buckets of rows, from rollups, in time that grows with the buckets alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from thermotui.runlog.buffer import Rows
    from thermotui.runlog.table import Table


RAW_BYTES = 24 * 1024 * 1024
"""Where all rows of a window take more and the finest rollup makes half of the buckets, it is read instead."""
FEW_BYTES = 64 * 1024
"""Rows of a window that take no more are read themselves, as fast as rollups, which need not be open for them."""
RAW_BLOCK_ROWS = 65_536
"""Rows read at a time where a log has no rollups: memory stays bounded whatever the file's length."""


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
    count: NDArray[np.int64]
    rows: Rows
    factor: int


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
    rows = rollup.read(_statistic_columns(fields), first, last)
    first_rows = np.arange(first, last, dtype=np.int64) * factor
    return [
        *_pieces(table, levels[:-1], fields, start, first * factor),
        _Piece(first_rows, np.full(len(rows), factor, np.int64), rows, factor),
        *_pieces(table, levels[:-1], fields, last * factor, stop),
    ]


def _raw_piece(table: Table, fields: Sequence[str], start: int, stop: int) -> _Piece:
    rows = table.read(("step", *fields), start, stop)
    return _Piece(np.arange(start, stop, dtype=np.int64), np.ones(len(rows), np.int64), rows, 1)


def _reduce(piece: _Piece, fields: Sequence[str], width: int) -> tuple[NDArray[np.int64], _Piece]:
    """The piece with its rows of one bucket made one, as a rollup row; and the bucket of each."""
    bucket = piece.first_row // width
    starts = np.flatnonzero(np.diff(bucket, prepend=-1))
    if piece.factor > 1 and len(starts) == len(bucket):
        return bucket, piece
    ends = np.append(starts[1:], len(bucket)) - 1
    first, last = ("step", "step") if piece.factor == 1 else ("step_first", "step_last")
    columns: dict[str, NDArray[np.generic]] = {
        "step_first": piece.rows[first][starts],
        "step_last": piece.rows[last][ends],
    }
    counted = np.add.reduceat(piece.count, starts)
    for field in fields:
        if piece.factor == 1:
            low = high = _rows_last(piece.rows[field])
            if np.isnan(low).any():
                measured = ~np.isnan(low)
                total = np.add.reduceat(np.where(measured, low, 0), starts, axis=-1, dtype=np.float64)
                counts = np.add.reduceat(measured, starts, axis=-1, dtype=np.int64)
            else:
                total = np.add.reduceat(low, starts, axis=-1, dtype=np.float64)
                counts = np.broadcast_to(counted, total.shape)
        else:
            low, high, mean, count = (
                _rows_last(piece.rows[f"{field}_{statistic}"]) for statistic in ("min", "max", "mean", "count")
            )
            count = count.astype(np.int64)
            total = np.add.reduceat(np.where(count > 0, mean.astype(np.float64) * count, 0), starts, axis=-1)
            counts = np.add.reduceat(count, starts, axis=-1)
        for statistic, values in (
            ("min", np.fmin.reduceat(low, starts, axis=-1)),
            ("max", np.fmax.reduceat(high, starts, axis=-1)),
            ("mean", total / counts),
            ("count", counts),
        ):
            columns[f"{field}_{statistic}"] = values.T
    dtype = np.dtype([(name, values.dtype, values.shape[1:]) for name, values in columns.items()])
    rows: Rows = np.empty(len(starts), dtype)
    for name, values in columns.items():
        rows[name] = values
    return bucket[starts], _Piece(piece.first_row[starts], counted, rows, piece.factor)


def _rows_last(values: NDArray[np.generic]) -> NDArray[Any]:
    """A field of [rows, …] as […, rows], the rows of each column one after the other: many times faster to reduce."""
    return np.ascontiguousarray(values.T)


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
    reduced = []
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        for piece in _pieces(table, usable, fields, start, stop):
            bucket, rows = _reduce(piece, fields, width)
            reduced.append((bucket, rows))
        return _merge(table, reduced, fields, width)


def _merge(
    table: Table, reduced: list[tuple[NDArray[np.int64], _Piece]], fields: Sequence[str], width: int
) -> Overview:
    """Pieces of one bucket from neighbouring levels made one."""
    if not reduced:
        nothing = {field: np.empty((0, *table.dtype[field].shape), table.dtype[field].base) for field in fields}
        none = np.empty(0, np.int64)
        numbers = {field: np.empty(values.shape, np.int64) for field, values in nothing.items()}
        return Overview(width, none, none, none, dict(nothing), dict(nothing), dict(nothing), numbers)
    bucket = np.concatenate([bucket for bucket, _ in reduced])
    starts = np.flatnonzero(np.diff(bucket, prepend=-1))
    ends = np.append(starts[1:], len(bucket)) - 1

    def column(name: str) -> NDArray[np.generic]:
        return np.concatenate([piece.rows[name] for _, piece in reduced])

    minimum, maximum, mean, measured = {}, {}, {}, {}
    for field in fields:
        base = table.dtype[field].base
        count = column(f"{field}_count").astype(np.int64)
        total = np.where(count > 0, column(f"{field}_mean").astype(np.float64) * count, 0)
        minimum[field] = np.fmin.reduceat(column(f"{field}_min"), starts, axis=0)
        maximum[field] = np.fmax.reduceat(column(f"{field}_max"), starts, axis=0)
        measured[field] = np.add.reduceat(count, starts, axis=0)
        mean[field] = (np.add.reduceat(total, starts, axis=0) / measured[field]).astype(base)
    counts = np.add.reduceat(np.concatenate([piece.count for _, piece in reduced]), starts)
    return Overview(
        width,
        column("step_first")[starts].astype(np.int64),
        column("step_last")[ends].astype(np.int64),
        counts,
        minimum,
        maximum,
        mean,
        measured,
    )
