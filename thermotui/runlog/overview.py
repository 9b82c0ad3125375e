"""Minimum, maximum and mean of fields over buckets of rows, from rollups, in time that grows with the buckets alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from thermotui.runlog.buckets import Buckets, Kind, Piece, in_buckets, kinds_of, merged

if TYPE_CHECKING:
    from thermotui.runlog.table import Table


RAW_BYTES = 24 * 1024 * 1024
"""Where all rows of a window take more and the finest rollup makes half of the buckets, it is read instead."""
FEW_BYTES = 64 * 1024
"""Rows of a window that take no more are read themselves, as fast as rollups, which need not be open for them."""
WHOLE_BYTES = 1024 * 1024
"""Rollup rows that take no more are read with all of their columns: taking out a few would take longer."""
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
) -> Iterator[Piece]:
    """Cover [start, stop) with the coarsest rollup rows that lie within, the ragged ends with finer ones, then rows."""
    if start >= stop:
        return
    if not levels:
        for at in range(start, stop, RAW_BLOCK_ROWS):
            yield _raw_piece(table, fields, at, min(stop, at + RAW_BLOCK_ROWS))
        return
    factor, rollup = levels[-1]
    first = -(-start // factor)
    last = min(stop // factor, len(rollup))
    if first >= last:
        yield from _pieces(table, levels[:-1], fields, start, stop)
        return
    yield from _pieces(table, levels[:-1], fields, start, first * factor)
    few = (last - first) * rollup.row_bytes <= WHOLE_BYTES
    rows = rollup.read(None if few else _statistic_columns(fields), first, last)
    yield Piece(np.arange(first, last, dtype=np.int64) * factor, rows, factor)
    yield from _pieces(table, levels[:-1], fields, last * factor, stop)


def _raw_piece(table: Table, fields: Sequence[str], start: int, stop: int) -> Piece:
    rows = table.read(("step", *fields), start, stop)
    return Piece(np.arange(start, stop, dtype=np.int64), rows, 1)


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
    kinds = kinds_of(table.dtype, fields)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        pieces = [in_buckets(piece, kinds, width) for piece in _pieces(table, usable, fields, start, stop)]
        return _overview(table, pieces, kinds, fields, width)


def _overview(
    table: Table, pieces: Sequence[Buckets], kinds: Sequence[Kind], fields: Sequence[str], width: int
) -> Overview:
    """Pieces of one bucket from neighbouring levels made one."""
    if not pieces:
        nothing = {field: np.empty((0, *table.dtype[field].shape), table.dtype[field].base) for field in fields}
        none = np.empty(0, np.int64)
        numbers = {field: np.empty(values.shape, np.int64) for field, values in nothing.items()}
        return Overview(width, none, none, none, dict(nothing), dict(nothing), dict(nothing), numbers)
    buckets = pieces[0] if len(pieces) == 1 else merged(pieces)
    tables: tuple[dict[str, NDArray[Any]], ...] = ({}, {}, {}, {})
    for kind, values in zip(kinds, buckets.values, strict=True):
        means = (values.total / values.measured).astype(kind.base)
        for made, matrix in zip(tables, (values.minimum, values.maximum, means, values.measured), strict=True):
            for name, lines in kind.columns:
                made[name] = matrix[lines].T.reshape(len(buckets.number), *table.dtype[name].shape)
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
