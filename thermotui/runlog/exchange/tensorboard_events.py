"""TensorBoard event files, out and in. Needs the extra `tensorboard`; never imports torch or TensorFlow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from thermotui.errors import InputError
from thermotui.runlog.exchange.selection import Selection
from thermotui.runlog.paths import is_directory

MISSING = "TensorBoard events need tensorboard; install it with: pip install tensorboard"


def write_events(selections: Sequence[Selection], directory: Path) -> None:
    """One scalar a column under `stream/field` or `stream/field/layer`; what was not measured is left out."""
    try:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.event_file_writer import EventFileWriter
    except ImportError as error:
        raise InputError(MISSING) from error
    writer = EventFileWriter(str(directory))
    try:
        for selection in selections:
            names = selection.reader.dtype(selection.stream).names or ()
            times = Selection(selection.reader, selection.stream, ("time",) if "time" in names else (), selection.steps)
            columns = [
                (column, _tag(selection.stream, column.name))
                for column in selection.columns()
                if column.field not in ("step", "time")
                and selection.reader.dtype(selection.stream)[column.field].base.kind in "fi"
            ]
            created = selection.reader.header.created
            wall_blocks = times.blocks() if times.fields else None
            for block in selection.blocks():
                walls = next(wall_blocks)["time"] if wall_blocks else np.full(len(block), created)
                cells = [column.values(block).astype(np.float64).tolist() for column, _ in columns]
                for row, (step, wall) in enumerate(zip(block["step"].tolist(), walls.tolist(), strict=True)):
                    values = [
                        Summary.Value(tag=tag, simple_value=cell[row])
                        for (_, tag), cell in zip(columns, cells, strict=True)
                        if cell[row] == cell[row]
                    ]
                    writer.add_event(Event(step=step, wall_time=wall, summary=Summary(value=values)))
    finally:
        writer.close()


def _tag(stream: str, name: str) -> str:
    field, _, inside = name.partition("[")
    return f"{stream}/{field}/{inside.rstrip(']')}" if inside else f"{stream}/{field}"


def read_events(path: Path) -> Iterator[dict[str, Any]]:
    """Records {"step", "time", tag: value} of an event file, or of all event files below a directory, one an event."""
    # Before the extra is asked for: nobody is to install it for a directory without events.
    files = sorted(path.rglob("*tfevents*")) if is_directory(path) else [path]
    if not files:
        raise InputError(f"{path}: neither TensorBoard events (*tfevents*) nor a W&B run (*.wandb) is in it")
    try:
        from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
        from tensorboard.util import tensor_util
    except ImportError as error:
        raise InputError(MISSING) from error
    for file in files:
        for event in EventFileLoader(str(file)).Load():
            record: dict[str, Any] = {"step": event.step, "time": event.wall_time}
            for value in event.summary.value:
                if value.HasField("simple_value"):
                    record[value.tag] = value.simple_value
                elif value.HasField("tensor") and not value.tensor.tensor_shape.dim:
                    number = tensor_util.make_ndarray(value.tensor)
                    if number.dtype.kind in "fiu":
                        record[value.tag] = float(number)
            if len(record) > 2:
                yield record
