"""Sends a finished run through the live path: the same rows, written again at the pace of the original."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from thermotui.runlog.buffer import Rows
from thermotui.runlog.errors import RunLogError
from thermotui.runlog.reader import RunLogReader
from thermotui.runlog.schema import STREAMS, State
from thermotui.runlog.writer import RunLogWriter

TICK_SECONDS = 0.05
BLOCK_ROWS = 4096
ENDS: dict[str, State] = {"finished": "finished", "failed": "failed"}


@dataclass(frozen=True)
class _Pace:
    """When a step is due. `start` is the first row's time in the original, None for an even pace of `rate` steps a
    second from `first_step`; `created` is when the replay began, by the clock of the log's times.
    """

    speed: float
    rate: float
    start: float | None
    first_step: int
    created: float

    def due(self, rows: Rows, elapsed: float) -> int:
        """How many of these rows of `steps` are due `elapsed` seconds after the replay began."""
        if self.start is None:
            late = rows["step"] > self.first_step + elapsed * self.rate
        else:
            late = rows["time"] > self.start + elapsed * self.speed
        return int(late.argmax()) if late.any() else len(rows)

    def retimed(self, rows: Rows) -> Rows:
        """The rows with their times on the replay's clock."""
        if "time" in (rows.dtype.names or ()):
            if self.start is None:
                rows["time"] = self.created + (rows["step"] - self.first_step) / self.rate
            else:
                rows["time"] = self.created + (rows["time"] - self.start) / self.speed
        return rows


def replay(
    source: Path,
    log: Path,
    speed: float,
    rate: float | None,
    report: Callable[[int], None] = lambda step: None,
    begun: Callable[[], None] = lambda: None,
) -> int:
    """Write the rows of `source` to a new log at `log` as they came, `speed` times as fast; returns the last step.

    `rate` in steps a second sets an even pace instead, also for logs whose rows have no times. `report` hears of each
    step reached, `begun` once the log is there to be watched. Other streams follow the steps; an alert comes when it
    was raised, and again when it had ended. RunLogError where `source` is no run log or holds no steps, where its rows
    have no times and `rate` is None, and where `log` exists.
    """
    with RunLogReader(source) as reader:
        pace = _pace(reader, speed, rate)
        header = replace(
            reader.header,
            run_id=uuid.uuid4().hex[:12],
            created=pace.created,
            host="",
            pid=0,
            notes=(*reader.header.notes, f"Replay of run {reader.header.run_id}."),
        )
        with RunLogWriter.create(log, header) as writer:
            begun()
            position, step = 0, 0
            positions = {name: 0 for name in STREAMS if name not in ("steps", "heartbeat")}
            begin = time.monotonic()
            while position < reader.length("steps"):
                rows = reader.read("steps", None, position, position + BLOCK_ROWS)
                rows = rows[: pace.due(rows, time.monotonic() - begin)]
                if len(rows) == 0:
                    time.sleep(TICK_SECONDS)
                    continue
                position, step = position + len(rows), int(rows["step"][-1])
                writer.append_rows("steps", pace.retimed(rows))
                for name in positions:
                    positions[name] = _follow(reader, writer, pace, name, positions[name], step)
                writer.heartbeat(step)
                report(step)
            for name in positions:
                _follow(reader, writer, pace, name, positions[name], np.iinfo(np.int64).max)
            writer.close(ENDS.get(reader.state().state, "interrupted"), f"replay of {source.name}")
    return step


def _pace(reader: RunLogReader, speed: float, rate: float | None) -> _Pace:
    first = reader.read("steps", ["step", "time"], 0, 1)
    if len(first) == 0:
        raise RunLogError(reader.path, "has no rows of steps to replay")
    start = float(first["time"][0]) if rate is None else None
    if start is not None and not np.isfinite(start):
        raise RunLogError(reader.path, "its rows have no times; say --rate, in steps a second")
    return _Pace(speed, rate or 1.0, start, int(first["step"][0]), time.time())


def _follow(reader: RunLogReader, writer: RunLogWriter, pace: _Pace, stream: str, position: int, step: int) -> int:
    """Write the rows of `stream` from `position` on that are due at `step`; returns the position after them."""
    while True:
        rows = reader.read(stream, None, position, position + BLOCK_ROWS)
        known_at = np.maximum(rows["step"], rows["end"]) if stream == "alerts" else rows["step"]
        late = known_at > step
        count = int(late.argmax()) if late.any() else len(rows)
        writer.append_rows(stream, pace.retimed(rows[:count]))
        position += count
        if count < BLOCK_ROWS:
            return position
