"""One line about a run: how it is, how far, how fast, and the worst that happened to it."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from thermotui.detect.alert import SEVERITIES, Alert, Severity

if TYPE_CHECKING:
    from thermotui.runlog.reader import RunLogReader

RATE_ROWS = 256
"""Rows over which the rate is taken: long enough to be steady, short enough to show a slow-down."""
SPARK_COLUMNS = 32
DETAILS = (
    "worst",
    "open_alerts",
    "alerts",
    "flagged",
    "alerts_searched_to",
    "curve_rows",
    "loss",
    "heat",
    "first_minute",
)
FIRST_SECONDS = 2.0
"""Time over which a run's first rate is taken."""


@dataclass(frozen=True)
class RunSummary:
    """A run in the list. `problem` says in one sentence why a log cannot be read; empty where it can.

    age: seconds since the last row, or since the last sign of life where there is no row. rate: optimizer steps a
    second over the last rows, NaN where unknown.
    worst, open_alerts, alerts, loss, heat: empty until the run was looked at closely, see `with_details`.
    flagged: the alerts that worst, open_alerts and alerts tell of. alerts_searched_to: see `AlertFollower.searched_to`.
    loss, heat: small overviews of the whole run, up to SPARK_COLUMNS values, float64, over its first `curve_rows` rows
    of `steps`.
    first_minute: steps that a minute takes at its mean rate until it was first looked at; 0 before FIRST_SECONDS, and
    where rows have no times. Judged once, so that an axis over it stays.
    ranks: of a distributed run, of which this is then the summary as a whole.
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
    flagged: tuple[Alert, ...] = field(default=(), compare=False)
    alerts_searched_to: int | None = field(default=None, compare=False)
    last_loss: float = math.nan
    curve_rows: int = 0
    loss: NDArray[np.float64] = field(default_factory=lambda: np.empty(0), compare=False)
    heat: NDArray[np.float64] = field(default_factory=lambda: np.empty(0), compare=False)
    config: dict[str, object] = field(default_factory=dict, compare=False)
    run_id: str = ""
    rank: int = 0
    world_size: int = 1
    first_minute: float = field(default=0.0, compare=False)
    ranks: tuple[RunSummary, ...] = field(default=(), compare=False)

    @property
    def logs(self) -> tuple[RunSummary, ...]:
        """The summary of each log of the run: those of its ranks, or this one."""
        return self.ranks or (self,)

    @property
    def live(self) -> bool:
        """Whether rows may still come."""
        return self.state in ("empty", "starting", "running", "stalled")

    @property
    def progress(self) -> float:
        """Part of the planned steps done, in [0, 1]; NaN where the plan is unknown."""
        return min(1.0, self.step / self.steps) if self.steps else math.nan


def summarise(log: RunLogReader, path: str, name: str, now: float | None) -> RunSummary:
    """The summary of an open, freshly refreshed log from its header and last rows alone: what a list of many can pay.

    Raises RunLogError where the file cannot be read.
    """
    state = log.state(now)
    header = log.header
    recent = log.read("steps", ["step", "time", "loss"], -RATE_ROWS)
    now = time.time() if now is None else now
    # Rows that another tool logged may have no times.
    timed = len(recent) > 0 and math.isfinite(recent["time"][-1])
    age = now - float(recent["time"][-1]) if timed else state.age
    return RunSummary(
        path=path,
        name=name,
        state=state.state,
        step=max(state.step, int(recent["step"][-1])) if len(recent) else state.step,
        steps=header.steps,
        age=max(0.0, age),
        rate=_rate(recent),
        message=state.message,
        family=header.family,
        created=header.created,
        last_loss=float(recent["loss"][-1]) if len(recent) else math.nan,
        config=header.config,
        run_id=header.run_id,
        rank=header.rank,
        world_size=header.world_size,
    )


def with_details(
    summary: RunSummary, log: RunLogReader, alerts: tuple[Alert, ...], searched_to: int | None
) -> RunSummary:
    """The summary with its curves and alerts, which were searched as `AlertFollower.searched_to` says.

    Raises RunLogError where the file cannot be read.
    """
    return replace(
        summary,
        worst=max((alert.severity for alert in alerts), key=SEVERITIES.index, default=None),
        open_alerts=sum(alert.end is None for alert in alerts),
        alerts=len(alerts),
        flagged=alerts,
        alerts_searched_to=searched_to,
        curve_rows=log.length("steps"),
        loss=_spark(log, "steps", "loss"),
        heat=_spark(log, "thermo", "heat"),
        first_minute=summary.first_minute or _first_minute(log),
    )


def with_details_of(summary: RunSummary, known: RunSummary) -> RunSummary:
    """The newer summary with the curves and alerts of an older one."""
    return replace(summary, **{name: getattr(known, name) for name in DETAILS})


def _first_minute(log: RunLogReader) -> float:
    rows = log.length("steps")
    ends = log.read("steps", ["step", "time"], 0, 1), log.read("steps", ["step", "time"], rows - 1)
    seconds = float(ends[1]["time"][0] - ends[0]["time"][0]) if rows else math.nan
    # NaN is no time, and not enough of it.
    return 60.0 * float(ends[1]["step"][0] - ends[0]["step"][0]) / seconds if seconds >= FIRST_SECONDS else 0.0


def _rate(recent: NDArray[np.void]) -> float:
    if len(recent) < 2:
        return math.nan
    seconds = float(recent["time"][-1] - recent["time"][0])
    return float(recent["step"][-1] - recent["step"][0]) / seconds if seconds > 0 else math.nan


def _spark(log: RunLogReader, stream: str, name: str) -> NDArray[np.float64]:
    rows = log.length(stream)
    if rows == 0:
        return np.empty(0)
    return np.asarray(log.overview_followed(stream, [name], 0, rows, SPARK_COLUMNS).mean[name], dtype=np.float64)
