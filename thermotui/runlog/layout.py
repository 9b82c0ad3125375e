"""Where things are in the file, and the one place that creates them. See docs/run-log.md."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from thermotui.runlog.disk import divert
from thermotui.runlog.rollup import rollup_dtype
from thermotui.runlog.schema import ROLLUP_FACTORS, STREAMS, Header, Stream

CHUNK_BYTES = 32 * 1024
"""Size of a table's chunk: what one flush rewrites at least, and what a window read reads at least."""
ROLLUP_CHUNK_BYTES = 16 * 1024
MAX_CHUNK_ROWS = 4096
MIN_CHUNK_ROWS = 8
WIDE_CHUNK_BYTES = 1024 * 1024
"""Where rows are so wide that the fewest rows take more than this, a chunk holds fewer still."""

HEADER_LIMIT = 16 * 1024 * 1024
"""Largest header attribute in bytes that is written or read."""


def rollup_path(stream: str, factor: int) -> str:
    """Path of the rollup table of `stream` whose rows stand for `factor` rows each."""
    return f"rollups/{stream}/{factor}"


def _chunk_rows(dtype: np.dtype[Any], target: int) -> int:
    fewest = max(1, min(MIN_CHUNK_ROWS, WIDE_CHUNK_BYTES // dtype.itemsize))
    return int(np.clip(target // dtype.itemsize, fewest, MAX_CHUNK_ROWS))


def _create_table(group: h5py.Group, path: str, dtype: np.dtype[Any], target: int) -> h5py.Dataset:
    """An empty, extensible, unfiltered table. The access is by chunk, so its cache holds one chunk and the next."""
    return group.create_dataset(path, shape=(0,), maxshape=(None,), dtype=dtype, chunks=(_chunk_rows(dtype, target),))


def _write_attribute(file: h5py.File, name: str, value: Any, unit: str = "") -> None:
    """Text of fixed length: variable-length text sits in a heap that a live reader may find torn."""
    if isinstance(value, str):
        data = value.encode("utf-8")
        if len(data) > HEADER_LIMIT:
            raise ValueError(f"header field {name!r} is larger than {HEADER_LIMIT} bytes")
        file.attrs.create(name, np.bytes_(data or b"\0"), dtype=h5py.string_dtype("utf-8", max(1, len(data))))
    else:
        file.attrs.create(name, value)


def create_file(path: Path, header: Header, dtypes: Mapping[str, np.dtype[np.void]]) -> h5py.File:
    """A new file at `path` with the header and a table of rows of `dtypes` a stream, not yet in SWMR mode.

    OSError where that fails.

    The format bounds are those of HDF5 1.10: files written with "latest" have compound tables that HDF5 1.14 and older
    cannot read. HDF5's own lock is off: it would keep the trainer from reopening its log while a viewer has it open.
    """
    file = h5py.File(path, "x", libver=("v110", "v110"), locking=False)
    try:
        for name, value in header.to_attributes().items():
            _write_attribute(file, name, value)
        for stream in STREAMS.values():
            create_stream(file, stream, dtypes[stream.name])
    except BaseException:
        divert(file.id.get_vfd_handle())
        file.close()
        raise
    return file


def create_stream(file: h5py.File, stream: Stream, dtype: np.dtype[np.void]) -> None:
    """The table of one stream and its rollup tables."""
    table = _create_table(file, stream.name, dtype, CHUNK_BYTES)
    table.attrs["description"] = stream.description
    table.attrs["units"] = [f"{name}: {stream.field(name).unit or '1'}" for name in dtype.names or ()]
    if stream.rollups:
        for factor in ROLLUP_FACTORS:
            _create_table(file, rollup_path(stream.name, factor), rollup_dtype(dtype), ROLLUP_CHUNK_BYTES)


@lru_cache(maxsize=256)
def stored_type(dtype: np.dtype[np.void]) -> h5py.h5t.TypeID:
    """The HDF5 type of rows of `dtype`. Making one costs a millisecond for a wide table, more than a write does."""
    return h5py.h5t.py_create(dtype, logical=True)
