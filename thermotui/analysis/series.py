"""One column of another tool's file as a series: CSV, JSON lines, NPZ, TensorBoard events, W&B offline runs."""

from __future__ import annotations

import csv
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from thermotui.errors import InputError
from thermotui.runlog.exchange.records import number_in, read_records, step_in
from thermotui.runlog.paths import is_there, unreadable

COLUMN = "loss"
STEP_COLUMNS = ("step", "_step", "global_step", "iteration")
_INDEXED = re.compile(r"(?P<name>.+)\[(?P<column>\d+)\]")


@dataclass(frozen=True)
class Series:
    """n values of one column: steps int64 [n], increasing; values float64 [n], NaN and infinities as they were."""

    column: str
    steps: NDArray[np.int64]
    values: NDArray[np.float64]


def read_series(path: Path, column: str = COLUMN, step_column: str | None = None) -> Series:
    """Column `column` of `path`. Without `step_column` the first of "step", "_step", "global_step", "iteration" that
    is there, else the rows are counted from 0. Rows where the column is empty are left out.

    A column of a two-dimensional NPZ array is NAME[1]. InputError, naming the columns there are, for a file or column
    that cannot be read, steps that do not increase, or a column without numbers.
    """
    if not is_there(path):
        raise InputError(f"{path}: no such file")
    if path.suffix == ".npz":
        steps, values, chosen = _from_npz(path, column, step_column)
    else:
        steps, values, chosen = _from_rows(path, column, step_column)
    if not len(values):
        raise InputError(f"{path}: column {column!r} holds no numbers")
    # A float64 tells neighbouring whole numbers apart up to 2^53.
    unusable = np.flatnonzero((steps != np.floor(steps)) | (np.abs(steps) > 2.0**53))
    if unusable.size:
        row = int(unusable[0])
        raise InputError(
            f"{path}: {chosen} {steps[row]:g} at entry {row + 1} is no whole number of steps; name another column with "
            "--step-column"
        )
    whole = steps.astype(np.int64)
    backwards = np.flatnonzero(np.diff(whole) <= 0)
    if backwards.size:
        row = int(backwards[0]) + 1
        raise InputError(
            f"{path}: {chosen} {whole[row]} at entry {row + 1} does not exceed {whole[row - 1]} before it; name "
            "another column with --step-column, or sort the file"
        )
    return Series(column, whole, values)


def _from_rows(
    path: Path, column: str, step_column: str | None
) -> tuple[NDArray[np.float64], NDArray[np.float64], str]:
    steps: list[float] = []
    values: list[float] = []
    known: dict[str, None] = {}
    chosen: str | None = step_column
    rows = _csv_rows(path) if path.suffix in (".csv", ".tsv") else read_records(path)[1]
    for index, row in enumerate(rows):
        if len(known) < 1000:
            known.update(dict.fromkeys(row))
        if chosen is None:
            chosen = next((name for name in STEP_COLUMNS if name in row), "")
        value = number_in(path, row, column, index + 1)
        if value is None:
            continue
        values.append(value)
        steps.append(step_in(path, row, chosen, index + 1) if chosen else float(index))
    for name in (column, step_column):
        if name is not None and known and name not in known:
            raise InputError(f"{path}: has no column {name!r}; there are {', '.join(map(str, known))}")
    return np.array(steps, dtype=np.float64), np.array(values, dtype=np.float64), chosen or "row"


def _csv_rows(path: Path) -> Iterator[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            table = csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ",")
            names = table.fieldnames
            if not names:
                raise InputError(f"{path}: is empty")
            twice = next((name for name in names if name and names.count(name) > 1), None)
            if twice is not None:
                raise InputError(f"{path}: has two columns {twice!r}")
            for row in table:
                yield {name: cell for name, cell in row.items() if name is not None and cell is not None}
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(f"{path}: is not a CSV table ({error})") from error
    except OSError as error:
        raise unreadable(path, error) from error


def _from_npz(path: Path, column: str, step_column: str | None) -> tuple[NDArray[np.float64], NDArray[np.float64], str]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            values = _array(path, archive, column)
            chosen = step_column or next((name for name in STEP_COLUMNS if name in archive.files), None)
            steps = np.arange(len(values), dtype=np.float64) if chosen is None else _array(path, archive, chosen)
    except PermissionError as error:
        raise unreadable(path, error) from error
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: is not an NPZ archive of plain arrays ({error})") from error
    if len(steps) != len(values):
        raise InputError(f"{path}: {chosen!r} has {len(steps)} entries and {column!r} {len(values)}")
    if np.isnan(steps).any():
        raise InputError(f"{path}: the step column {chosen!r} has entries that are no numbers")
    return steps, values, chosen or "row"


def _array(path: Path, archive: np.lib.npyio.NpzFile, name: str) -> NDArray[np.float64]:
    indexed = _INDEXED.fullmatch(name) if name not in archive.files else None
    key = indexed["name"] if indexed else name
    if key not in archive.files:
        shown = ", ".join(archive.files[:20]) + (", …" if len(archive.files) > 20 else "")
        raise InputError(f"{path}: has no array {key!r}; there are {shown}")
    array = np.asarray(archive[key])
    if indexed:
        if array.ndim != 2 or int(indexed["column"]) >= array.shape[1]:
            raise InputError(f"{path}: array {key!r} of shape {array.shape} has no column {indexed['column']}")
        array = array[:, int(indexed["column"])]
    if array.ndim != 1 or array.dtype.kind not in "fiu":
        hint = f"; name one of its columns as {key}[0]" if array.ndim == 2 else ""
        raise InputError(f"{path}: array {key!r} of shape {array.shape} and type {array.dtype} is no series{hint}")
    return array.astype(np.float64)
