"""Which rows and columns to export, and the flat columns that tables of other formats have."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thermotui.errors import InputError
from thermotui.runlog.buffer import Rows
from thermotui.runlog.paths import is_there
from thermotui.runlog.reader import RunLogReader
from thermotui.runlog.schema import CHOSEN_PARAMETERS, STREAMS, Axis

BLOCK_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class Selection:
    """Rows of some fields of one stream. `steps`: first and last step, both included; None for all."""

    reader: RunLogReader
    stream: str
    fields: tuple[str, ...]
    steps: tuple[int, int] | None

    def blocks(self) -> Iterator[Rows]:
        """The rows in blocks of a few megabytes, as structured arrays of `fields`."""
        start, stop = 0, self.reader.length(self.stream)
        if self.steps is not None and STREAMS[self.stream].ordered:
            start, stop = self.reader.row_range(self.stream, *self.steps)
        rows = max(1, BLOCK_BYTES // self.reader.dtype(self.stream).itemsize)
        for at in range(start, stop, rows):
            end = min(stop, at + rows)
            block = self.reader.read(self.stream, self.fields, at, end)
            if self.steps is not None and not STREAMS[self.stream].ordered:
                step = self.reader.read(self.stream, ["step"], at, end)["step"]
                block = block[(step >= self.steps[0]) & (step <= self.steps[1])]
            yield block

    def columns(self) -> list[Column]:
        """The fields as columns of scalars: one a layer, member or lag where the field has such axes."""
        return [column for field in self.fields for column in self._columns_of(field)]

    def _columns_of(self, field: str) -> Iterator[Column]:
        labels = [_labels(self.reader, axis) for axis in STREAMS[self.stream].field(field).axes]
        for at in product(*(range(len(names)) for names in labels)):
            inside = ",".join(names[index] for names, index in zip(labels, at, strict=True))
            yield Column(f"{field}[{inside}]" if labels else field, field, at)


@dataclass(frozen=True)
class Column:
    """One scalar column: its name in other formats, its field, its place along the field's axes."""

    name: str
    field: str
    index: tuple[int, ...]

    def values(self, block: Rows) -> NDArray[np.generic]:
        """The column [n] of a block of rows."""
        values: Any = block[self.field]
        column: NDArray[np.generic] = values[(slice(None), *self.index)]
        return column


def _labels(reader: RunLogReader, axis: Axis) -> list[str]:
    header = reader.header
    if axis == "layer":
        names = [layer.name for layer in header.layers]
        return names if len(set(names)) == len(names) else [str(index) for index in range(len(names))]
    sizes = {"member": header.ensemble, "lag": header.lags}
    return [str(index) for index in range(sizes.get(axis, CHOSEN_PARAMETERS))]


def select(
    reader: RunLogReader, streams: Sequence[str], fields: Sequence[str], steps: tuple[int, int] | None
) -> list[Selection]:
    """Selections of `streams` (all that hold rows where empty), of `fields` with the step (all where empty).

    InputError for a stream or field that there is not.
    """
    chosen = []
    for stream in streams or [name for name in STREAMS if reader.length(name)]:
        known = reader.dtype(stream).names or ()
        # As the schema lists them: an error beside its figure.
        listed = [field.name for field in STREAMS[stream].fields if field.name in known]
        names = [name for name in listed if not fields or name in fields]
        if names:
            chosen.append(Selection(reader, stream, tuple(dict.fromkeys(["step", *names])), steps))
    found = {name for selection in chosen for name in selection.fields}
    for field in fields:
        if field not in found:
            raise InputError(f"{reader.path}: none of the chosen streams has a field {field!r}; see docs/run-log.md")
    if not chosen:
        raise InputError(f"{reader.path}: there are no rows to export")
    return chosen


@contextlib.contextmanager
def new_output(path: Path, force: bool) -> Iterator[Path]:
    """A path to write to, file or directory, that becomes `path` when the block ends well and goes away otherwise.

    InputError where `path` exists and `force` is not set, or where it cannot be written.
    """
    if is_there(path, "written") and not force:
        raise InputError(f"{path} exists already; choose another --output, or replace it with --force")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        temporary.replace(path)
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror or error})") from error
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        temporary.unlink(missing_ok=True)
