"""A run log out of another tool's records: the columns of `steps` that can be found, and nothing invented."""

from __future__ import annotations

import itertools
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from thermotui.errors import InputError
from thermotui.runlog.buffer import Rows, default_row
from thermotui.runlog.exchange.records import EMPTIED, Record, number_in, read_records, stated, step_in
from thermotui.runlog.schema import STEPS, Header, row_dtype
from thermotui.runlog.storage import new_storage, own_header
from thermotui.runlog.writer import heartbeat_row

BLOCK_ROWS = 4096
LARGEST_STEP = 2**53
"""Beyond it a number of a table is no whole number any more."""

USUAL_NAMES: dict[str, tuple[str, ...]] = {
    "step": ("step", "_step", "global_step", "iteration", "iter", "trainer/global_step"),
    "time": ("time", "wall_time", "_timestamp", "timestamp"),
    "loss": ("loss", "train_loss", "train/loss", "loss/train", "training_loss", "train/train_loss", "steps/loss"),
    "accuracy": (
        "accuracy",
        "acc",
        "train_accuracy",
        "train/accuracy",
        "accuracy/train",
        "train_acc",
        "steps/accuracy",
    ),
    "learning_rate": ("learning_rate", "lr", "train/learning_rate", "train/lr", "steps/learning_rate"),
    "gradient_norm": ("gradient_norm", "grad_norm", "train/grad_norm", "steps/gradient_norm"),
    "loss_spread": ("loss_spread", "steps/loss_spread"),
    "accuracy_spread": ("accuracy_spread", "steps/accuracy_spread"),
}
"""Names under which other tools log the columns of `steps`, the likeliest first."""


Stated = tuple[int, dict[str, float]]
"""A step and the fields that a value is stated of."""


@dataclass(frozen=True)
class Imported:
    """What was made of a file: rows, the source name of each column, and the names that were left out."""

    path: Path
    tool: str
    rows: int
    columns: dict[str, str]
    left_out: tuple[str, ...]
    gaps: tuple[str, ...]
    """Fields that not every step has."""


def import_run(source: Path, log: Path, columns: Mapping[str, str], family: str = "imported") -> Imported:
    """Write the records of `source` to a new run log at `log`.

    `columns` maps fields of `steps` to names in the source, or to nothing where they are to be left out; fields not in
    it are looked for under their usual names. A
    source without a step column is numbered from 0. Memory does not grow with the source. InputError where there is
    nothing to import, for an unknown field or name, for what is not a number, and for steps that decrease.
    """
    for field in columns:
        if field not in USUAL_NAMES:
            raise InputError(f"--column {field}: `steps` has no such field; it has {', '.join(USUAL_NAMES)}")
    tool, records = read_records(source)
    names = _names_in(source, records)
    chosen = _choose(source, names, columns)
    gaps = _gaps(_steps(source, read_records(source)[1], chosen))
    header = own_header(
        Header(
            run_id=uuid.uuid4().hex[:12],
            created=time.time(),
            family=family,
            layers=(),
            config={"imported_from": str(source), "columns": chosen, "gaps": gaps},
            notes=(f"Imported from {tool}: no thermodynamic quantity was measured.",),
        )
    )
    rows = 0
    with new_storage(log, header, replace_existing=False) as storage:
        last_step = 0
        for block in _blocks(_steps(source, read_records(source)[1], chosen), header):
            storage.store("steps", [block])
            rows += len(block)
            last_step = int(block["step"][-1])
        if not rows:
            raise InputError(f"{source}: no row has a value of {', '.join(chosen.values())}")
        storage.store("heartbeat", [heartbeat_row(header, last_step, "finished", f"from {tool}")])
        storage.start()
        storage.close()
    return Imported(log, tool, rows, chosen, tuple(sorted(names - set(chosen.values()))), tuple(gaps))


def _names_in(source: Path, records: Iterator[Record]) -> set[str]:
    names: set[str] = set()
    for record in records:
        names.update(record)
    if not names:
        raise InputError(f"{source}: there are no rows in it")
    return names


def _choose(source: Path, names: set[str], columns: Mapping[str, str]) -> dict[str, str]:
    """The source name of each field of `steps` that is there."""
    for field, name in columns.items():
        if name and name not in names:
            raise InputError(f"{source}: has no column {name!r} for {field}; it has {', '.join(sorted(names)[:20])}")
    chosen = dict(columns)
    for field, usual in USUAL_NAMES.items():
        found = [name for name in usual if name in names]
        if field not in chosen and found:
            chosen[field] = found[0]
    chosen = {field: name for field, name in chosen.items() if name}
    if not set(chosen) - {"step", "time"}:
        raise InputError(
            f"{source}: none of its columns ({', '.join(sorted(names)[:20])}) has a usual name; "
            "say which is the loss with --column loss=NAME"
        )
    return chosen


def _steps(source: Path, records: Iterator[Record], chosen: Mapping[str, str]) -> Iterator[Stated]:
    """Steps with what is stated of them: one for all records of a step (an event a tag, say), none without a value."""
    measured = [field for field in chosen if field not in ("step", "time")]
    current: dict[str, float] = {}
    last = None
    for index, record in enumerate(records):
        cells = {
            field: number_in(
                source, record, chosen[field], index + 1, f"{EMPTIED}, or leave it out with --column {field}="
            )
            for field in measured
        }
        values = {field: value for field, value in cells.items() if value is not None}
        if not values:
            continue
        at = step_in(source, record, chosen["step"], index + 1) if "step" in chosen else float(index)
        if abs(at) >= LARGEST_STEP:
            raise InputError(f"{source}: {at:g} is too large for the number of a step")
        if last is not None and at < last:
            raise InputError(
                f"{source}: step {at:.0f} comes after step {last:.0f}; a run log's steps never decrease, "
                "so import the parts of a restarted run one by one"
            )
        if at != last:
            if last is not None:
                yield int(last), current
            last = at
            # Not refused where it is text: the usual names of a clock hold dates as often as seconds.
            time_there = stated(record.get(chosen["time"])) if "time" in chosen else None
            current = {} if time_there is None else {"time": time_there}
        current |= values
    if last is not None:
        yield int(last), current


def _gaps(steps: Iterator[Stated]) -> list[str]:
    """The fields that some of the steps say nothing of."""
    everywhere = set(USUAL_NAMES)
    for _, values in steps:
        everywhere &= values.keys()
    return [field for field in USUAL_NAMES if field not in everywhere | {"step", "time"}]


def _blocks(steps: Iterator[Stated], header: Header) -> Iterator[Rows]:
    """Rows of `steps`."""
    default = default_row(row_dtype(STEPS, header))
    default["time"] = np.nan
    while part := list(itertools.islice(steps, BLOCK_ROWS)):
        block = np.repeat(default, len(part))
        for row, (step, values) in zip(block, part, strict=True):
            row["step"] = step
            for field, value in values.items():
                row[field] = value
        yield block
