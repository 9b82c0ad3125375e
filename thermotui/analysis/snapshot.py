"""What one tick of the screen needs: frozen answers, made of numpy arrays, to one frozen question.

Imports nothing heavy: the screen asks before it has imported what it draws the answers with.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from thermotui.analysis.balance import BalanceSheet
    from thermotui.analysis.run_state import RunSummary
    from thermotui.detect.alert import Alert
    from thermotui.detect.intervals import Interval
    from thermotui.runlog.overview import Overview
    from thermotui.runlog.schema import Header

Purpose = Literal["shown", "ahead", "held"]

SMOOTHED = ("steps", "reservoir")
"""Streams of noisy values. Running totals have no noise to smooth: an exponential mean would only lag behind them."""


@dataclass(frozen=True)
class RowsQuery:
    """Rows [start, start + count) of one stream, as they stand in the file."""

    stream: str
    start: int
    count: int


@dataclass(frozen=True)
class Query:
    """What the screen shows now: asked at every tick, answered only where something changed.

    runs: paths, the selected run first. fields: per stream, the columns drawn as curves. steps: the range of optimizer
    steps [first, last] on the x axis, None for the whole run. columns: the number of buckets worth having, that is
    twice the dots across a chart. smoothing: half-life in rows of the exponential mean that replaces the means, 0 for
    none. at: the step under the cursor, None without one.

    purpose: "shown" now; "ahead", to be kept until it is shown, which is answered in any case; "held", now shown from
    the answer that was kept, so that another is wanted only where that has become old.
    """

    runs: tuple[str, ...] = ()
    fields: tuple[tuple[str, tuple[str, ...]], ...] = ()
    steps: tuple[int, int] | None = None
    columns: int = 512
    smoothing: int = 0
    at: int | None = None
    autocorrelation: bool = False
    balance: bool = False
    rows: RowsQuery | None = None
    purpose: Purpose = "shown"


@dataclass(frozen=True, eq=False)
class Autocorrelation:
    """The newest window of the autocorrelation of η at or before a step: values [L, lags], echo [lags], bound 95 %."""

    step: int
    window: int
    bound: float
    values: NDArray[np.float32]
    expected_echo: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class RunSnapshot:
    """One run as the query asked for it.

    steps: those it was asked for, first and last; None for the whole run.
    curves: an overview per stream, its means smoothed over a half-life of `smoothing` rows where that is not 0.
    at: the step under the cursor as asked; None without one. rows_at: per stream, the last row at or before it, or
    before the end of the steps asked for, one row each.
    interval_balances: the balance of each valid reservoir interval of the run as a whole.
    rows: the log browser's rows from `rows_start`; lengths: rows in each stream.
    """

    path: str
    header: Header
    summary: RunSummary
    lengths: dict[str, int]
    steps: tuple[int, int] | None = None
    curves: dict[str, Overview] = field(default_factory=dict)
    smoothing: int = 0
    alerts: tuple[Alert, ...] = ()
    valid_intervals: tuple[Interval, ...] = ()
    alerts_recorded: bool = True
    at: int | None = None
    rows_at: dict[str, NDArray[np.void]] = field(default_factory=dict)
    autocorrelation: Autocorrelation | None = None
    balance: BalanceSheet | None = None
    interval_balances: tuple[tuple[Interval, BalanceSheet], ...] = ()
    rows: NDArray[np.void] | None = None
    rows_start: int = 0

    @property
    def size(self) -> int:
        """Bytes of its curves, which are nearly all that it takes."""
        return sum(
            array.nbytes
            for curve in self.curves.values()
            for arrays in (curve.minimum, curve.maximum, curve.mean)
            for array in arrays.values()
        )

    def smooths(self, stream: str) -> bool:
        """Whether the means of that stream's curves are smoothed, so that errors and exactness are not theirs."""
        return self.smoothing > 0 and stream in SMOOTHED


@dataclass(frozen=True, eq=False)
class Tick:
    """One tick: every run's summary, and the snapshots that changed since the last tick (by path)."""

    query: Query
    summaries: tuple[RunSummary, ...]
    snapshots: tuple[RunSnapshot, ...]


class Reading(Protocol):
    """Whoever answers queries: the reading process, a workspace in this process, or who stands between."""

    def ask(self, query: Query) -> Tick | None:
        """The answer; None where there is none this time."""
