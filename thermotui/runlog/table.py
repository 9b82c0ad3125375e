"""One table of an open log: rows by window, only the fields asked for, never more than the file can hold."""

from __future__ import annotations

import contextlib

import h5py
import numpy as np
from numpy.typing import NDArray

from thermotui.runlog.buffer import Rows, default_row
from thermotui.runlog.errors import RunLogError
from thermotui.runlog.handle import LogFile
from thermotui.runlog.layout import stored_type
from thermotui.runlog.opening import HDF5_ERRORS, refresh_table

BLOCK_BYTES = 1024 * 1024
"""Rows read at a time where not all of their fields are wanted."""


class Table:
    """A stream or a rollup level in an open file, read through HDF5's low-level interface."""

    def __init__(
        self, log: LogFile, name: str, table: h5py.h5d.DatasetID, dtype: np.dtype[np.void], damaged: bool = False
    ) -> None:
        """`dtype` is what the schema says; fields that the file lacks, all but those `held`, read as NaN, 0 or empty.

        Where the file is known to be damaged, a length beyond what it can hold is cut instead of refused.
        """
        self.path = log.path
        self.name = name
        self.dtype = dtype
        self._log = log
        self._table = table
        self._default = default_row(dtype)
        self.held = self._check_fields()
        self._whole = np.dtype([(name, dtype[name]) for name in self.held])
        self.row_bytes = int(table.get_type().get_size())
        self.chunk_rows = int(table.get_create_plist().get_chunk()[0])
        self._damaged = damaged
        self._length = self._declared_length()
        if not (damaged or log.closed):
            self._check_end()

    @classmethod
    def open(cls, log: LogFile, name: str, dtype: np.dtype[np.void], damaged: bool = False) -> Table | None:
        """The table `name`, or None where the file has none. RunLogError where it is damaged."""
        table = log.table(name)
        return None if table is None else cls(log, name, table, dtype, damaged)

    def _check_fields(self) -> tuple[str, ...]:
        """Names of the schema's fields that the file has; RunLogError where one has another type."""
        try:
            if self._table.get_type() == stored_type(self.dtype):
                return self.dtype.names or ()
            found = self._table.dtype
        except HDF5_ERRORS as error:
            raise RunLogError(self.path, f"table {self.name} has unreadable columns; try: thermotui repair") from error
        known, names = self.dtype.names or (), found.names or ()
        for name in names:
            if name in known and not _convertible(found[name], self.dtype[name]):
                reason = f"table {self.name}: field {name!r} is {found[name]}, not {self.dtype[name]}"
                raise RunLogError(self.path, reason)
        if known[0] not in names:
            raise RunLogError(self.path, f"table {self.name} has no field {known[0]!r}")
        return tuple(name for name in known if name in names)

    def _check_end(self) -> None:
        """HDF5 reads what is beyond the end of a file as zeros, and no row but the first is all zeros."""
        if self._length > 1 and not any(self.read(None, self._length - 1, self._length).tobytes()):
            reason = f"table {self.name} is cut short; thermotui repair saves the rows that are whole"
            raise RunLogError(self.path, reason)

    def __len__(self) -> int:
        """Rows that can be read, as of the last refresh."""
        return self._length

    def refresh(self) -> None:
        """See what the writer has flushed since. RunLogError where the table has become unreadable."""
        refresh_table(self.path, self.name, self._table)
        self._length = self._declared_length()

    def _declared_length(self) -> int:
        try:
            declared = int(self._table.shape[0])
        except HDF5_ERRORS as error:
            raise RunLogError(self.path, f"table {self.name} is damaged; try: thermotui repair") from error
        # Rows are stored in whole chunks without compression, so the file's size bounds how many there can be.
        if (declared - self.chunk_rows) * self.row_bytes > self._log.size:
            if self._damaged:
                return self._log.size // self.row_bytes
            reason = f"table {self.name} claims {declared} rows, more than the file can hold; try: thermotui repair"
            raise RunLogError(self.path, reason)
        return declared

    def whole_chunks(self) -> NDArray[np.bool_]:
        """Which chunks of `chunk_rows` rows lie within the file, as far as the table's index can be read."""
        whole = np.zeros(-(-self._length // self.chunk_rows), np.bool_)
        size = self._log.size

        def note(chunk: h5py.h5d.StoreInfo) -> None:
            number = int(chunk.chunk_offset[0]) // self.chunk_rows
            if number < len(whole):
                whole[number] = int(chunk.byte_offset) + int(chunk.size) <= size

        with contextlib.suppress(*HDF5_ERRORS):
            self._table.chunk_iter(note)
        return whole

    def read(self, fields: tuple[str, ...] | None, start: int, stop: int) -> Rows:
        """Rows [start, stop), cut to what there is, as a structured array of `fields` in that order (None: all)."""
        names = fields if fields is not None else self.dtype.names or ()
        for name in names:
            if name not in (self.dtype.names or ()):
                raise KeyError(name)
        start, stop = max(0, start), min(stop, self._length)
        count = max(0, stop - start)
        dtype = np.dtype([(name, self.dtype[name]) for name in names])
        wanted = [name for name in names if name in self.held]
        if count == 0:
            return np.empty(0, dtype)
        if len(wanted) == len(names):
            return self._read(dtype, start, count)
        result: Rows = np.empty(count, dtype)
        for name in names:
            result[name] = self._default[name]
        if wanted:
            found = self._read(np.dtype([(name, self.dtype[name]) for name in wanted]), start, count)
            for name in wanted:
                result[name] = found[name]
        return result

    def _read(self, dtype: np.dtype[np.void], start: int, count: int) -> Rows:
        """Rows of some of the fields `held`.

        HDF5 is asked for all of them: for every choice of fields it would keep, until the process ends, a conversion of
        up to 0.2 MB, and what lies beside them in the file is read in any case.
        """
        rows: Rows = np.empty(count, dtype)
        if dtype == self._whole:
            self._read_whole(rows, start)
            return rows
        block_rows = min(count, max(1, BLOCK_BYTES // self._whole.itemsize))
        block: Rows = np.empty(block_rows, self._whole)
        for at in range(0, count, block_rows):
            part = block[: count - at]
            self._read_whole(part, start + at)
            for name in dtype.names or ():
                rows[name][at : at + block_rows] = part[name]
        return rows

    def _read_whole(self, rows: Rows, start: int) -> None:
        """Fill `rows`, which have all fields `held`, with those from `start` on."""
        count = len(rows)
        try:
            space = self._table.get_space()
            space.select_hyperslab((start,), (count,))
            self._table.read(h5py.h5s.create_simple((count,)), space, rows, stored_type(self._whole))
        except HDF5_ERRORS as error:
            raise RunLogError(
                self.path, f"table {self.name}: rows {start} to {start + count} cannot be read; try: thermotui repair"
            ) from error

    def first_at_least(self, field: str, value: int) -> int:
        """Index of the first row whose non-decreasing integer `field` is at least `value`.

        Steps are mostly evenly spaced, so that the row is looked for where it then lies, and next to it; every third
        look halves what is left, whatever the spacing.
        """
        # A window mostly reaches to one end or both: then a read or two will do.
        below, above = 0, self._length - 1
        if above < 0 or (lowest := self._number(field, 0)) >= value:
            return 0
        if (highest := self._number(field, above)) < value:
            return above + 1
        looks = 0
        while above - below > 1:
            looks += 1
            if looks % 3:
                guess = below - (lowest - value) * (above - below) // (highest - lowest)
                middle = min(max(guess, below + 1), above - 1)
            else:
                middle = (below + above) // 2
            found = self._number(field, middle)
            if found < value:
                below, lowest = middle, found
            else:
                above, highest = middle, found
        return above

    def _number(self, field: str, row: int) -> int:
        return int(self.read((field,), row, row + 1)[field][0])


def _convertible(found: np.dtype[np.generic], known: np.dtype[np.generic]) -> bool:
    """Whether HDF5 gives one for the other: floating-point numbers of any width, and what is equal."""
    floats = found.base.kind == known.base.kind == "f"
    return found == known or (floats and found.shape == known.shape)
