"""How a question of the screen is answered from one open log."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from thermotui.analysis.balance import BalanceSheet, balance_between, balance_sheet
from thermotui.analysis.monitoring import AlertFollower
from thermotui.analysis.run_state import RunSummary
from thermotui.analysis.smoothing import smoothed
from thermotui.analysis.snapshot import SMOOTHED, Autocorrelation, Query, RowsQuery, RunSnapshot
from thermotui.detect.intervals import Interval
from thermotui.runlog.reader import RunLogReader

MAXIMUM_ROWS = 4096
"""Rows that one question may ask of the log browser: what a screen can scroll through in one answer."""


def take_snapshot(
    log: RunLogReader, lengths: dict[str, int], summary: RunSummary, follower: AlertFollower, query: Query
) -> RunSnapshot:
    """Answer `query` for one open, freshly refreshed log. Raises RunLogError where the file cannot be read."""
    curves = {}
    for stream, names in query.fields:
        start, stop = _rows_around(log, lengths[stream], stream, query.steps)
        if stop > start:
            # How often each figure was measured is not drawn, and as large as all else.
            kept = query.purpose != "ahead"
            curves[stream] = log.overview_followed(stream, names, start, stop, query.columns, keep=kept)
            if query.smoothing and stream in SMOOTHED:
                curves[stream] = smoothed(log, stream, curves[stream], query.smoothing)
    at = query.steps[1] if query.at is None and query.steps else query.at
    return RunSnapshot(
        path=summary.path,
        header=log.header,
        summary=summary,
        lengths=dict(lengths),
        curves=curves,
        smoothing=query.smoothing,
        alerts=follower.alerts,
        valid_intervals=follower.valid_intervals(summary.step),
        alerts_recorded=follower.recorded,
        at=query.at,
        rows_at=_rows_at(log, lengths, [name for name, _ in query.fields], at),
        autocorrelation=_autocorrelation(log, lengths["autocorrelation"], query.at) if query.autocorrelation else None,
        balance=balance_sheet(log) if query.balance else None,
        interval_balances=_interval_balances(log, follower, summary.step) if query.balance else (),
        rows=_rows(log, lengths, query.rows) if query.rows else None,
        rows_start=query.rows.start if query.rows else 0,
    )


def _rows_around(log: RunLogReader, length: int, stream: str, steps: tuple[int, int] | None) -> tuple[int, int]:
    """The rows in these steps and one on either side, so that lines run to the edge of a chart; all rows for None."""
    if length == 0 or steps is None:
        return 0, length
    start, stop = log.row_range(stream, *steps)
    return max(0, start - 1), min(length, stop + 1)


def _row_at(log: RunLogReader, length: int, stream: str, step: int | None) -> int | None:
    """The last row at or before `step`, or of all for None; None where there is none."""
    if length == 0:
        return None
    if step is None:
        return length - 1
    _, stop = log.row_range(stream, 0, step)
    return stop - 1 if stop > 0 else None


def _rows_at(
    log: RunLogReader, lengths: dict[str, int], streams: Sequence[str], step: int | None
) -> dict[str, NDArray[np.void]]:
    found = {}
    for stream in streams:
        row = _row_at(log, lengths[stream], stream, step)
        if row is not None:
            found[stream] = log.read(stream, start=row, stop=row + 1)
    return found


def _autocorrelation(log: RunLogReader, length: int, at: int | None) -> Autocorrelation | None:
    row = _row_at(log, length, "autocorrelation", at)
    if row is None:
        return None
    window = log.read("autocorrelation", start=row, stop=row + 1)[0]
    return Autocorrelation(
        step=int(window["step"]),
        window=int(window["window"]),
        bound=float(window["bound"]),
        values=window["autocorrelation"],
        expected_echo=window["expected_echo"],
    )


def _interval_balances(
    log: RunLogReader, follower: AlertFollower, last_step: int
) -> tuple[tuple[Interval, BalanceSheet], ...]:
    """The balance of each valid interval: between its first and its last row of `thermo` within [start, end)."""
    sheets = []
    for interval in follower.valid_intervals(last_step):
        if interval.layer != -1:
            continue
        start, stop = log.row_range("thermo", interval.start, interval.end - 1)
        if stop - start < 2:
            continue
        rows = [log.read("thermo", start=row, stop=row + 1)[0] for row in (start, stop - 1)]
        sheets.append((interval, balance_between(log.header, *rows)))
    return tuple(sheets)


def _rows(log: RunLogReader, lengths: dict[str, int], query: RowsQuery) -> NDArray[np.void]:
    start = min(max(0, query.start), lengths[query.stream])
    stop = min(lengths[query.stream], start + min(query.count, MAXIMUM_ROWS))
    return log.read(query.stream, start=start, stop=stop)
