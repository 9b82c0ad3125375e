"""Rows onto the end of a table, a chunk at a time and byte for byte as they lie in memory.

Writing rows as HDF5 does looks at the type of every field in each call, of a hundred in a table of rollups, with the
interpreter's lock held: 0.3 ms, where the bytes of a chunk take 15 µs.
"""

from __future__ import annotations

import h5py
import numpy as np

from thermotui.runlog.buffer import Rows


class TableEnd:
    """The growing end of one table, to which nothing else writes."""

    def __init__(self, table: h5py.Dataset) -> None:
        """`table`: empty, one-dimensional, chunked, without filters, of a compound type."""
        self._table: h5py.h5d.DatasetID = table.id
        self._row_bytes = int(table.dtype.itemsize)
        self._chunk_rows = int(table.chunks[0])
        self._length = 0
        self._last = bytearray()
        """The last chunk where it is not full: its rows, then zeros."""

    def append(self, rows: Rows) -> None:
        """Add rows [n] of the table's dtype; they are in the file at once and seen by readers after `flush`."""
        bytes_of = rows.view(np.uint8).data
        size, chunk_rows, start = self._row_bytes, self._chunk_rows, self._length
        stop = start + len(rows)
        self._table.set_extent((stop,))
        at = start
        while at < stop:
            row = at % chunk_rows
            count = min(chunk_rows - row, stop - at)
            piece = bytes_of[(at - start) * size : (at - start + count) * size]
            if count < chunk_rows:
                if row == 0:
                    self._last = bytearray(chunk_rows * size)
                self._last[row * size : (row + count) * size] = piece
                piece = memoryview(self._last)
            self._table.write_direct_chunk((at - row,), piece)
            at += count
        self._length = stop

    def flush(self) -> None:
        """Make all rows visible to readers."""
        self._table.flush()
