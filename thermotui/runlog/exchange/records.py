"""Rows of other tools' files as records {name: value}, one at a time: CSV, JSON lines, W&B offline runs."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from thermotui.errors import InputError
from thermotui.runlog.exchange.tensorboard_events import read_events
from thermotui.runlog.exchange.wandb_run import read_wandb
from thermotui.runlog.paths import is_directory, is_there, unreadable

Record = dict[str, Any]


def read_records(path: Path) -> tuple[str, Iterator[Record]]:
    """The tool or format that wrote `path`, by its name, and its records in order. InputError for any other."""
    if not is_there(path):
        raise InputError(f"{path}: no such file or directory")
    name, read = _reader_for(path)
    return name, _told(path, read(path))


def _told(path: Path, records: Iterator[Record]) -> Iterator[Record]:
    """The records; InputError where the system refuses to read them."""
    try:
        yield from records
    except OSError as error:
        raise unreadable(path, error) from error


def _reader_for(path: Path) -> tuple[str, Callable[[Path], Iterator[Record]]]:
    if is_directory(path):
        runs = sorted(path.rglob("*.wandb"))
        if runs:
            return "W&B", lambda _: read_wandb(runs[0])
        return "TensorBoard", read_events
    if "tfevents" in path.name:
        return "TensorBoard", read_events
    readers = {
        ".csv": ("CSV", _read_csv),
        ".jsonl": ("JSON lines", _read_json_lines),
        ".ndjson": ("JSON lines", _read_json_lines),
        ".wandb": ("W&B", read_wandb),
    }
    if path.suffix not in readers:
        raise InputError(f"{path}: not a CSV, JSONL, TensorBoard (*tfevents*) or W&B (*.wandb) file, by its name")
    return readers[path.suffix]


def _read_csv(path: Path) -> Iterator[Record]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            for row in csv.DictReader(file):
                yield {name: cell for name, cell in row.items() if name is not None}
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(f"{path}: is not a CSV table ({error})") from error


def _read_json_lines(path: Path) -> Iterator[Record]:
    with path.open(encoding="utf-8", errors="replace") as file:
        for count, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise InputError(f"{path}: line {count} is not JSON ({error})") from error
            if not isinstance(record, dict):
                raise InputError(f"{path}: line {count} is not a JSON object")
            yield flatten(record)


def flatten(record: Record, prefix: str = "") -> Record:
    """Nested objects as names joined with slashes: {"train": {"loss": 1}} is {"train/loss": 1}."""
    flat: Record = {}
    for name, value in record.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{name}/")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def stated(value: object) -> float | None:
    """The number in a cell, which NaN is one of; None for empty cells and for text."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


EMPTIED = "leave it empty where nothing was measured"


def number_in(path: Path, record: Record, name: str, entry: int, mend: str = EMPTIED) -> float | None:
    """The number in a cell, which NaN is one of; None for an empty one. InputError, with how to mend it, for others."""
    cell = record.get(name)
    if cell is None or (isinstance(cell, str) and not cell.strip()):
        return None
    found = stated(cell)
    if found is None:
        raise InputError(f"{path}: {cell!r:.40} in column {name!r}, entry {entry}, is not a number; {mend}")
    return found


def step_in(path: Path, record: Record, name: str, entry: int) -> float:
    """The step of a record; InputError where it says none."""
    found = stated(record.get(name))
    if found is None or math.isnan(found):
        raise InputError(f"{path}: entry {entry} has no number in the step column {name!r}")
    return found
