"""A run log out of another tool's records: the columns of `steps` that can be found, and nothing invented."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from thermotui.errors import InputError
from thermotui.runlog.buffer import Rows, default_row
from thermotui.runlog.exchange.records import Record, number, read_records
from thermotui.runlog.schema import STEPS, Header, row_dtype
from thermotui.runlog.storage import new_storage, own_header
from thermotui.runlog.writer import heartbeat_row

BLOCK_ROWS = 4096

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


@dataclass(frozen=True)
class Imported:
    """What was made of a file: rows, the source name of each column, and the names that were left out."""

    path: Path
    tool: str
    rows: int
    columns: dict[str, str]
    left_out: tuple[str, ...]


def import_run(source: Path, log: Path, columns: Mapping[str, str], family: str = "imported") -> Imported:
    """Write the records of `source` to a new run log at `log`.

    `columns` maps fields of `steps` to names in the source; fields not in it are looked for under their usual names. A
    source without a step column is numbered from 0. Memory does not grow with the source. InputError where there is
    nothing to import, for an unknown field or name, and for steps that decrease.
    """
    for field in columns:
        if field not in USUAL_NAMES:
            raise InputError(f"--column {field}: `steps` has no such field; it has {', '.join(USUAL_NAMES)}")
    tool, records = read_records(source)
    names = _names_in(source, records)
    chosen = _choose(source, names, columns)
    header = own_header(
        Header(
            run_id=uuid.uuid4().hex[:12],
            created=time.time(),
            family=family,
            layers=(),
            config={"imported_from": str(source), "columns": chosen},
            notes=(f"Imported from {tool}: no thermodynamic quantity was measured.",),
        )
    )
    rows = 0
    with new_storage(log, header, replace_existing=False) as storage:
        last_step = 0
        for block in _blocks(source, read_records(source)[1], chosen, header):
            storage.store("steps", [block])
            rows += len(block)
            last_step = int(block["step"][-1])
        if not rows:
            raise InputError(f"{source}: no row has a value of {', '.join(chosen.values())}")
        storage.store("heartbeat", [heartbeat_row(header, last_step, "finished", f"from {tool}")])
        storage.start()
        storage.close()
    return Imported(log, tool, rows, chosen, tuple(sorted(names - set(chosen.values()))))


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
        if name not in names:
            raise InputError(f"{source}: has no column {name!r} for {field}; it has {', '.join(sorted(names)[:20])}")
    chosen = dict(columns)
    for field, usual in USUAL_NAMES.items():
        found = [name for name in usual if name in names]
        if field not in chosen and found:
            chosen[field] = found[0]
    if not set(chosen) - {"step", "time"}:
        raise InputError(
            f"{source}: none of its columns ({', '.join(sorted(names)[:20])}) has a usual name; "
            "say which is the loss with --column loss=NAME"
        )
    return chosen


def _blocks(source: Path, records: Iterator[Record], chosen: Mapping[str, str], header: Header) -> Iterator[Rows]:
    """Rows of `steps`; records of one step (an event a tag, say) are one row, and those without a value none."""
    measured = [field for field in chosen if field not in ("step", "time")]
    default = default_row(row_dtype(STEPS, header))
    block = np.repeat(default, BLOCK_ROWS)
    count, last = 0, None
    for index, record in enumerate(records):
        values = {field: number(record.get(chosen[field])) for field in measured}
        values = {field: value for field, value in values.items() if value == value}
        step = number(record.get(chosen["step"])) if "step" in chosen else float(index)
        if not values or step != step:
            continue
        if last is not None and step < last:
            raise InputError(
                f"{source}: step {step:.0f} comes after step {last:.0f}; a run log's steps never decrease, "
                "so import the parts of a restarted run one by one"
            )
        if step != last:
            if count == BLOCK_ROWS:
                yield block
                block, count = np.repeat(default, BLOCK_ROWS), 0
            count, last = count + 1, step
            block["step"][count - 1] = int(step)
            block["time"][count - 1] = number(record.get(chosen["time"])) if "time" in chosen else np.nan
        for field, value in values.items():
            block[field][count - 1] = value
    if count:
        yield block[:count]
