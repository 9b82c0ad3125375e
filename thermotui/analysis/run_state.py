"""One line about a run: how it is, how far, how fast, and the worst that happened to it."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from thermotui.detect.alert import SEVERITIES, Alert, Severity

if TYPE_CHECKING:
    from thermotui.runlog.reader import RunLogReader

RATE_ROWS = 256
"""Rows over which the rate is taken: long enough to be steady, short enough to show a slow-down."""
SPARK_COLUMNS = 32


@dataclass(frozen=True)
class RunSummary:
    """A run in the list. `problem` says in one sentence why a log cannot be read; empty where it can.

    age: seconds since the last row, or since the last sign of life where there is no row. rate: optimizer steps a
    second over the last rows, NaN where unknown.
    loss, heat: small overviews of the whole run, up to SPARK_COLUMNS values, float64.
    """

    path: str
    name: str
    state: str = "empty"
    step: int = 0
    steps: int = 0
    age: float = math.nan
    rate: float = math.nan
    message: str = ""
    problem: str = ""
    family: str = ""
    created: float = math.nan
    worst: Severity | None = None
    open_alerts: int = 0
    alerts: int = 0
    last_loss: float = math.nan
    loss: NDArray[np.float64] = field(default_factory=lambda: np.empty(0), compare=False)
    heat: NDArray[np.float64] = field(default_factory=lambda: np.empty(0), compare=False)
    config: dict[str, object] = field(default_factory=dict, compare=False)

    @property
    def live(self) -> bool:
        """Whether rows may still come."""
        return self.state in ("empty", "starting", "running", "stalled")

    @property
    def progress(self) -> float:
        """Part of the planned steps done, in [0, 1]; NaN where the plan is unknown."""
        return min(1.0, self.step / self.steps) if self.steps else math.nan


def summarise(log: RunLogReader, path: str, name: str, alerts: tuple[Alert, ...], now: float | None) -> RunSummary:
    """The summary of an open, freshly refreshed log. Raises RunLogError where the file cannot be read."""
    state = log.state(now)
    header = log.header
    rows = log.length("steps")
    recent = log.read("steps", ["step", "time", "loss"], max(0, rows - RATE_ROWS), rows)
    now = time.time() if now is None else now
    age = now - float(recent["time"][-1]) if rows else state.age
    worst = max((alert.severity for alert in alerts), key=SEVERITIES.index, default=None)
    return RunSummary(
        path=path,
        name=name,
        state=state.state,
        step=max(state.step, int(recent["step"][-1])) if rows else state.step,
        steps=header.steps,
        age=max(0.0, age),
        rate=_rate(recent),
        message=state.message,
        family=header.family,
        created=header.created,
        worst=worst,
        open_alerts=sum(alert.end is None for alert in alerts),
        alerts=len(alerts),
        last_loss=float(recent["loss"][-1]) if len(recent) else math.nan,
        loss=_spark(log, "steps", "loss"),
        heat=_spark(log, "thermo", "heat"),
        config=header.config,
    )


def _rate(recent: NDArray[np.void]) -> float:
    if len(recent) < 2:
        return math.nan
    seconds = float(recent["time"][-1] - recent["time"][0])
    return float(recent["step"][-1] - recent["step"][0]) / seconds if seconds > 0 else math.nan


def _spark(log: RunLogReader, stream: str, name: str) -> NDArray[np.float64]:
    rows = log.length(stream)
    if rows == 0:
        return np.empty(0)
    return np.asarray(log.overview(stream, [name], 0, rows, SPARK_COLUMNS).mean[name], dtype=np.float64)
