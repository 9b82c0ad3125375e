"""Rows on their way from the training thread to the flush thread; the training thread only copies values."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thermotui.runlog.packing import Packing

Rows = NDArray[np.void]
BLOCK_BYTES = 256 * 1024
SPARE_BLOCKS = 8
FLUSH_ROWS = 256
"""Rows after which the flush thread is to look, if not before."""


def default_row(dtype: np.dtype[np.void]) -> Rows:
    """One row [1] of "not measured": NaN for floats, 0 for integers, empty text."""
    row = np.zeros(1, dtype)
    for name in dtype.names or ():
        if dtype[name].base.kind == "f":
            row[name] = np.nan
    return row


def raw(rows: Rows) -> Rows:
    """The same rows without their fields: numpy copies compound rows field by field, which takes twice as long."""
    return rows.view(f"V{rows.dtype.itemsize}")


def join(parts: Sequence[Rows]) -> Rows:
    """The parts, of one dtype, as one array. numpy.concatenate compares compound dtypes in Python, field by field."""
    if len(parts) == 1:
        return parts[0]
    joined: Rows = np.empty(sum(map(len, parts)), parts[0].dtype)
    at = 0
    for part in parts:
        raw(joined)[at : at + len(part)] = raw(part)
        at += len(part)
    return joined


def cut_text(text: str | bytes, size: int) -> bytes:
    """UTF-8 bytes of at most `size`, never ending within a character."""
    data = text.encode("utf-8", "replace") if isinstance(text, str) else bytes(text)
    return data if len(data) <= size else data[:size].decode("utf-8", "ignore").encode("utf-8")


class Block:
    """A preallocated stretch of rows, a view of each of its columns, and its bytes."""

    __slots__ = ("columns", "count", "memory", "rows")

    def __init__(self, dtype: np.dtype[np.void], capacity: int) -> None:
        self.rows = np.empty(capacity, dtype)
        self.columns = {name: self.rows[name] for name in self.rows.dtype.names or ()}
        self.memory = memoryview(self.rows.view(np.uint8).data)
        self.count = 0


class RowBuffer:
    """The unwritten rows of one stream. `append` and `extend` on one thread, `take` and `recycle` on another."""

    def __init__(self, stream: str, dtype: np.dtype[np.void], whole: np.dtype[np.void] | None = None) -> None:
        """`whole`: the dtype of rows that `extend` takes too; those of its fields that `dtype` lacks are dropped."""
        self.stream = stream
        self.dtype = dtype
        self._whole = whole
        self._capacity = max(16, min(1024, BLOCK_BYTES // dtype.itemsize))
        self._text = {name: dtype[name].itemsize for name in dtype.names or () if dtype[name].kind == "S"}
        self._packing = Packing(default_row(dtype))
        self._lock = threading.Lock()
        self._block = Block(dtype, self._capacity)
        self._full: list[Block] = []
        self._spare: list[Block] = [Block(dtype, self._capacity)]

    @property
    def waiting_bytes(self) -> int:
        """Memory held by rows that are not yet written."""
        return (len(self._full) * self._capacity + self._block.count) * self.dtype.itemsize

    def append(self, step: Any, values: Mapping[str, Any]) -> bool:
        """Copy one row in, the values beside its step; returns whether many rows wait now.

        Raises ValueError for an unknown field or a value that does not fit it; the row is then not logged.
        """
        with self._lock:
            block = self._block if self._block.count < self._capacity else self._turn()
            at = block.count
            try:
                if not self._packing.pack(block.memory, at, step, values):
                    self._assign(block, at, step, values)
            except (KeyError, ValueError, TypeError, OverflowError) as error:
                raise self._refusal(values, error) from error
            block.count = at = at + 1
            return at == self._capacity or not at % FLUSH_ROWS

    def _assign(self, block: Block, at: int, step: Any, values: Mapping[str, Any]) -> None:
        """Whatever numpy takes for a value of each field: lists, tensors, numbers of other types, text."""
        if "step" in values:
            raise ValueError("the step is given twice")
        block.columns["step"][at] = step
        for name, value in values.items():
            block.columns[name][at] = cut_text(value, self._text[name]) if name in self._text else value

    def _refusal(self, values: Mapping[str, Any], error: Exception) -> ValueError:
        unknown = [name for name in values if name not in (self.dtype.names or ())]
        if unknown:
            return ValueError(
                f"stream {self.stream} has no field {unknown[0]!r}; it has {', '.join(self.dtype.names or ())}"
            )
        return ValueError(f"stream {self.stream}: a value does not fit its field ({error})")

    def extend(self, rows: Rows) -> bool:
        """Copy a block of rows in; returns whether many rows wait now. ValueError for another dtype."""
        if rows.dtype == self._whole != self.dtype and rows.ndim == 1:
            held: Rows = np.empty(len(rows), self.dtype)
            for name in self.dtype.names or ():
                held[name] = rows[name]
            rows = held
        if rows.dtype != self.dtype or rows.ndim != 1:
            raise ValueError(f"stream {self.stream} takes rows of dtype {self.dtype}, not {rows.dtype} {rows.shape}")
        with self._lock:
            done = 0
            while done < len(rows):
                block = self._block if self._block.count < self._capacity else self._turn()
                part = rows[done : done + self._capacity - block.count]
                raw(block.rows)[block.count : block.count + len(part)] = raw(part)
                block.count += len(part)
                done += len(part)
            return len(self._full) > 0 or self._block.count >= FLUSH_ROWS

    def _turn(self) -> Block:
        """Begin another block."""
        block = self._spare.pop() if self._spare else Block(self.dtype, self._capacity)
        self._full.append(self._block)
        self._block = block
        return block

    def take(self) -> list[Block]:
        """The blocks that hold rows, oldest first; hand them back with `recycle` once written."""
        with self._lock:
            if self._block.count:
                self._turn()
            blocks, self._full = self._full, []
        return blocks

    def put_back(self, blocks: list[Block]) -> None:
        """Have blocks that were taken, and not written, taken again first."""
        with self._lock:
            self._full[:0] = blocks

    def recycle(self, blocks: list[Block]) -> None:
        """Make written blocks available to the training thread again."""
        for block in blocks:
            block.count = 0
        with self._lock:
            self._spare = [*self._spare, *blocks][:SPARE_BLOCKS]
