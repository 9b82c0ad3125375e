"""Whether a run is alive, from its last heartbeat and, on the same machine, its process."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from thermotui.runlog.schema import Header

Liveness = Literal["empty", "starting", "running", "finished", "failed", "interrupted", "stalled", "crashed", "deleted"]
STALLED_AFTER = 30.0
"""Seconds without a heartbeat after which a run that may still live is called stalled."""

CLOCK_SLACK = 2.0
"""Seconds by which the kernel's boot time may be off."""


@dataclass(frozen=True)
class RunState:
    """What a run is doing. `age`: seconds since its last sign of life; `message`: why, where there is a why."""

    state: Liveness
    step: int
    age: float
    message: str = ""

    @property
    def live(self) -> bool:
        """Whether more rows may come."""
        return self.state in ("starting", "running", "stalled")


def heartbeat_interval(elapsed: float) -> float:
    """Seconds between two heartbeats of a run `elapsed` seconds old: 1, growing to 10, so that a week stays small."""
    return float(np.clip(elapsed / 1000, 1.0, 10.0))


ENDED: dict[str, Liveness] = {"finished": "finished", "failed": "failed", "interrupted": "interrupted"}


def this_host() -> str:
    """The name under which this machine stands in headers."""
    return socket.gethostname()


def process_lives(header: Header, last_sign: float) -> bool | None:
    """Whether the writer's process lives; None where that cannot be known: on another host, or without its number.

    A process of that number that started after the log's last sign of life is another one.
    """
    if os.name != "posix" or not header.pid or header.host != this_host():
        return None
    try:
        os.kill(header.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    started = _process_start(header.pid)
    return started is None or started <= last_sign + CLOCK_SLACK


def _process_start(pid: int) -> float | None:
    """When the process started, in seconds since the epoch, where the system says so under /proc."""
    try:
        ticks = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
        boot = next(line for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime "))
    except (OSError, ValueError, IndexError, StopIteration):
        return None
    return int(boot.split()[1]) + ticks / os.sysconf("SC_CLK_TCK")


def judge(header: Header, beat: np.void | None, *, closed: bool, now: float) -> RunState:
    """The state of a run from its last row of `heartbeat` (None where there is none) and whether its file is closed."""
    if beat is None:
        if closed:
            return RunState("empty", 0, now - header.created, "no row was ever written")
        sign, step, said, message = header.created, 0, "starting", ""
    else:
        sign, step = float(beat["time"]), int(beat["step"])
        said, message = _text(beat["state"]), _text(beat["message"])
    age = now - sign
    if said in ENDED:
        return RunState(ENDED[said], step, age, message)
    if closed:
        return RunState("interrupted", step, age, "the log was closed without saying why")
    if process_lives(header, sign) is False and age > 3 * heartbeat_interval(sign - header.created):
        return RunState("crashed", step, age, f"process {header.pid} is gone")
    if age > STALLED_AFTER:
        return RunState("stalled", step, age, f"no sign of life for {age:.0f} s")
    return RunState("starting" if said == "starting" else "running", step, age, message)


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
