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

from thermotui.runlog.buffer import Rows
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


Bytes = NDArray[np.uint8]
"""Rows as bytes [rows, bytes of a row]: numpy handles compound types in Python, field by field."""


@dataclass(frozen=True)
class _Column:
    """Values of one type that lie side by side in a row, from byte `start` to byte `stop`."""

    dtype: np.dtype[Any]
    start: int
    stop: int

    def of(self, rows: Bytes) -> NDArray[Any]:
        """The values as a [rows, width] matrix; a view."""
        values: NDArray[Any] = rows[:, self.start : self.stop].view(self.dtype)
        return values


@dataclass(frozen=True)
class _Group:
    """Neighbouring fields of one floating-point type, seen as the columns of a matrix."""

    width: int
    values: _Column
    """In a row of the stream."""
    statistics: tuple[_Column, _Column, _Column]
    """Minimum, maximum and mean in a rollup row."""
    count: _Column


def _offset(dtype: np.dtype[np.void], name: str) -> int:
    fields = dtype.fields
    if fields is None:
        raise TypeError(f"{dtype} has no fields")
    return fields[name][1]


def _column(dtype: np.dtype[np.void], name: str, width: int = 1) -> _Column:
    """The field `name` and those behind it, `width` values in all."""
    base, start = dtype[name].base, _offset(dtype, name)
    return _Column(base, start, start + width * base.itemsize)


def _groups(dtype: np.dtype[np.void], target: np.dtype[np.void]) -> tuple[_Group, ...]:
    runs: list[tuple[str, int]] = []
    """The first field of a group, and how many values it has."""
    end = -1
    for name in rolled_fields(dtype):
        base, offset = dtype[name].base, _offset(dtype, name)
        width = dtype[name].itemsize // base.itemsize
        if runs and offset == end and dtype[runs[-1][0]].base == base:
            runs[-1] = (runs[-1][0], runs[-1][1] + width)
        else:
            runs.append((name, width))
        end = offset + dtype[name].itemsize
    groups = []
    for name, width in runs:
        low, high, mean = (_column(target, f"{name}_{statistic}", width) for statistic in STATISTICS)
        groups.append(
            _Group(width, _column(dtype, name, width), (low, high, mean), _column(target, f"{name}_count", width))
        )
    return tuple(groups)


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
        self._first, self._last = _column(self.dtype, "step_first"), _column(self.dtype, "step_last")
        self._step = _column(dtype, "step")
        sizes = (dtype.itemsize, *(self.dtype.itemsize for _ in factors[1:]))
        self._pending: list[Bytes] = [np.empty((0, size), np.uint8) for size in sizes]

    def add(self, rows: Rows) -> list[Rows]:
        """The rows that a block of the stream completes, an array of dtype `self.dtype` a level; none for levels above
        one that has none.
        """
        complete: list[Rows] = []
        block = np.ascontiguousarray(rows).view(np.uint8).reshape(len(rows), rows.dtype.itemsize)
        for level, factor in enumerate(self.factors):
            children = factor if level == 0 else factor // self.factors[level - 1]
            if len(self._pending[level]):
                block = np.concatenate([self._pending[level], block])
            buckets = len(block) // children
            self._pending[level] = block[buckets * children :].copy()
            if buckets == 0:
                break
            block = self._reduce(block[: buckets * children], children, from_rollups=level > 0)
            complete.append(block.view(self.dtype)[:, 0])
        return complete

    def _reduce(self, rows: Bytes, children: int, *, from_rollups: bool) -> Bytes:
        """The rollup rows of buckets of `children` rows each."""
        buckets = len(rows) // children
        result = np.empty((buckets, self.dtype.itemsize), np.uint8)
        first, last = (self._first, self._last) if from_rollups else (self._step, self._step)
        self._first.of(result)[...] = first.of(rows)[::children]
        self._last.of(result)[...] = last.of(rows)[children - 1 :: children]
        # Infinity minus infinity and the mean of nothing are NaN on purpose.
        with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
            for group in self._groups:
                shape = (buckets, children, group.width)
                if from_rollups:
                    low, high, mean = (column.of(rows).reshape(shape) for column in group.statistics)
                    figures = _combine(low, high, mean, group.count.of(rows).reshape(shape))
                else:
                    figures = _reduce_values(group.values.of(rows).reshape(shape))
                for column, values in zip((*group.statistics, group.count), figures, strict=True):
                    column.of(result)[...] = values
        return result
