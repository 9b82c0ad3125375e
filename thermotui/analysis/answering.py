"""How a question of the screen is answered from one open log."""

from __future__ import annotations

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
    curves, rows_at = {}, {}
    for stream, names in query.fields:
        length = lengths[stream]
        start, stop = _rows_in(log, length, stream, query.steps)
        row = stop - 1 if query.at is None else _row_at(log, length, stream, query.at)
        if row >= 0:
            rows_at[stream] = log.read(stream, start=row, stop=row + 1)
        # One on either side, so that lines run to the edge of a chart.
        start, stop = max(0, start - 1), min(length, stop + 1)
        if stop > start:
            # How often each figure was measured is not drawn, and as large as all else.
            kept = query.purpose != "ahead"
            curves[stream] = log.overview_followed(stream, names, start, stop, query.columns, keep=kept)
            if query.smoothing and stream in SMOOTHED:
                curves[stream] = smoothed(log, stream, curves[stream], start, query.smoothing)
    return RunSnapshot(
        path=summary.path,
        header=log.header,
        summary=summary,
        lengths=dict(lengths),
        steps=query.steps,
        curves=curves,
        smoothing=query.smoothing,
        alerts=follower.alerts,
        valid_intervals=follower.valid_intervals(summary.step),
        alerts_recorded=follower.recorded,
        at=query.at,
        rows_at=rows_at,
        autocorrelation=_autocorrelation(log, lengths["autocorrelation"], query.at) if query.autocorrelation else None,
        balance=balance_sheet(log) if query.balance else None,
        interval_balances=_interval_balances(log, follower, summary.step) if query.balance else (),
        rows=_rows(log, lengths, query.rows) if query.rows else None,
        rows_start=query.rows.start if query.rows else 0,
    )


def _rows_in(log: RunLogReader, length: int, stream: str, steps: tuple[int, int] | None) -> tuple[int, int]:
    """The rows [start, stop) in these steps; all rows for None."""
    return (0, length) if length == 0 or steps is None else log.row_range(stream, *steps)


def _row_at(log: RunLogReader, length: int, stream: str, step: int | None) -> int:
    """The last row at or before `step`, or of all for None; −1 where there is none."""
    _, stop = _rows_in(log, length, stream, None if step is None else (0, step))
    return stop - 1


def _autocorrelation(log: RunLogReader, length: int, at: int | None) -> Autocorrelation | None:
    row = _row_at(log, length, "autocorrelation", at)
    if row < 0:
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
