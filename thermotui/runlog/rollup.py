"""Rollups: minimum, maximum, mean and count of every 64, 512, … rows of each floating-point field.

Row i of the level with factor F covers the rows [i·F, (i+1)·F) of its stream; only full buckets are written. NaN is
"not measured": it is left out, and where nothing was measured minimum, maximum and mean are NaN and the count is 0.
Infinities count. One-step spikes survive in minimum and maximum at every level.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thermotui.runlog.buffer import Rows, join, raw
from thermotui.runlog.schema import ROLLUP_FACTORS

STATISTICS = ("min", "max", "mean")


def rolled_fields(dtype: np.dtype[np.void]) -> tuple[str, ...]:
    """Names of the fields of a stream's row that have rollups: all floating-point ones."""
    return tuple(name for name in dtype.names or () if dtype[name].base.kind == "f")


@lru_cache(maxsize=256)
def rollup_dtype(dtype: np.dtype[np.void]) -> np.dtype[np.void]:
    """Row of a rollup table: step_first, step_last, then `<field>_min`s, `_max`s, `_mean`s and `_count`s.

    The fields of one statistic lie side by side in the order of the stream, so that a block of rows is one matrix.
    """
    columns: list[Any] = [("step_first", "i8"), ("step_last", "i8")]
    fields = rolled_fields(dtype)
    for statistic in STATISTICS:
        columns += [(f"{name}_{statistic}", dtype[name].base, dtype[name].shape) for name in fields]
    columns += [(f"{name}_count", "u4", dtype[name].shape) for name in fields]
    return np.dtype(columns)


@dataclass(frozen=True)
class _Group:
    """Neighbouring fields of one floating-point type, seen as the columns of a matrix."""

    dtype: np.dtype[Any]
    width: int
    rows: int
    """Byte offset in a row of the stream."""
    statistics: tuple[int, int, int]
    """Byte offsets of minimum, maximum and mean in a rollup row."""
    count: int


def _offset(dtype: np.dtype[np.void], name: str) -> int:
    fields = dtype.fields
    if fields is None:
        raise TypeError(f"{dtype} has no fields")
    return fields[name][1]


def _groups(dtype: np.dtype[np.void], target: np.dtype[np.void]) -> tuple[_Group, ...]:
    groups: list[_Group] = []
    for name in rolled_fields(dtype):
        base, offset = dtype[name].base, _offset(dtype, name)
        width = dtype[name].itemsize // base.itemsize
        minimum, maximum, mean = (_offset(target, f"{name}_{statistic}") for statistic in STATISTICS)
        last = groups[-1] if groups else None
        if last and last.dtype == base and last.rows + last.width * base.itemsize == offset:
            groups[-1] = _Group(base, last.width + width, last.rows, last.statistics, last.count)
        else:
            groups.append(_Group(base, width, offset, (minimum, maximum, mean), _offset(target, f"{name}_count")))
    return tuple(groups)


def _matrix(rows: Rows, offset: int, width: int, dtype: np.dtype[Any] | str) -> NDArray[Any]:
    """The bytes at `offset` of every row as a [rows, width] matrix; a view."""
    kind = np.dtype(dtype)
    raw = rows.view("u1").reshape(len(rows), rows.dtype.itemsize)
    matrix: NDArray[Any] = raw[:, offset : offset + width * kind.itemsize].view(kind)
    return matrix


def _reduce_values(values: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Minimum, maximum, mean, count over axis 1 of [buckets, rows, width], NaN left out."""
    total = values.sum(axis=1, dtype=np.float64)
    if not np.isnan(total).any():
        # Nothing is missing, nearly always: half the passes, and faster ones.
        counts = np.full(total.shape, values.shape[1])
        return np.minimum.reduce(values, axis=1), np.maximum.reduce(values, axis=1), total / values.shape[1], counts
    missing = np.isnan(values)
    count = values.shape[1] - np.count_nonzero(missing, axis=1)
    total = np.where(missing, 0, values).sum(axis=1, dtype=np.float64)
    return np.fmin.reduce(values, axis=1), np.fmax.reduce(values, axis=1), total / count, count


def _combine(
    minimum: NDArray[Any], maximum: NDArray[Any], mean: NDArray[Any], count: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """The same from rollup rows, each [buckets, children, width]."""
    total = np.where(count > 0, mean.astype(np.float64) * count, 0).sum(axis=1)
    counts = count.sum(axis=1)
    return np.fmin.reduce(minimum, axis=1), np.fmax.reduce(maximum, axis=1), total / counts, counts


class Rollups:
    """Follows one stream row by row and hands out each rollup row when its bucket is full."""

    def __init__(self, dtype: np.dtype[np.void], factors: tuple[int, ...] = ROLLUP_FACTORS) -> None:
        self.dtype = rollup_dtype(dtype)
        self.factors = factors
        self._groups = _groups(dtype, self.dtype)
        self._pending: list[Rows] = [np.empty(0, dtype), *(np.empty(0, self.dtype) for _ in factors[1:])]

    def add(self, rows: Rows) -> list[Rows]:
        """The rows that a block of the stream completes, one array of dtype `self.dtype` a level."""
        complete: list[Rows] = []
        for level, factor in enumerate(self.factors):
            children = factor if level == 0 else factor // self.factors[level - 1]
            rows = join([self._pending[level], rows]) if len(self._pending[level]) else rows
            buckets = len(rows) // children
            self._pending[level] = raw(rows[buckets * children :]).copy().view(rows.dtype)
            rows = self._reduce(rows[: buckets * children], buckets, from_rollups=level > 0)
            complete.append(rows)
        return complete

    def _reduce(self, rows: Rows, buckets: int, *, from_rollups: bool) -> Rows:
        result = np.empty(buckets, self.dtype)
        if buckets == 0:
            return result
        rows = np.ascontiguousarray(rows)
        children = len(rows) // buckets
        first, last = ("step_first", "step_last") if from_rollups else ("step", "step")
        result["step_first"] = rows[first][::children]
        result["step_last"] = rows[last][children - 1 :: children]
        # Infinity minus infinity and the mean of nothing are NaN on purpose.
        with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
            for group in self._groups:
                shape = (buckets, children, group.width)
                if from_rollups:
                    low, high, mean = (
                        _matrix(rows, at, group.width, group.dtype).reshape(shape) for at in group.statistics
                    )
                    figures = _combine(low, high, mean, _matrix(rows, group.count, group.width, "u4").reshape(shape))
                else:
                    figures = _reduce_values(_matrix(rows, group.rows, group.width, group.dtype).reshape(shape))
                for offset, values in zip(group.statistics, figures[:3], strict=True):
                    _matrix(result, offset, group.width, group.dtype)[...] = values
                _matrix(result, group.count, group.width, "u4")[...] = figures[3]
        return result
