"""Smoothing of what a chart draws, with as much of the run before it as still has weight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from thermotui.runlog.overview import Overview
    from thermotui.runlog.reader import RunLogReader

RUN_IN = 16
"""Half-lives before the first row shown: what lies further back weighs less than 2⁻¹⁶."""
RUN_IN_BUCKETS = 8 * RUN_IN + 2
"""An eighth of a half-life each, or the next power of two, and one cut at either end."""


def exponential_mean(values: NDArray[np.float64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """Exponential mean along the first axis, each value entering with its weight in (0, 1].

    m_i = m_{i−1} + weight_i · (v_i − m_{i−1}), and m is the first value where that is. NaN and infinities are passed
    over. values: [n, …]; weight: [n], or one for each value.
    """
    known = np.isfinite(values)
    weight = np.where(known, weight.reshape(*weight.shape, *[1] * (values.ndim - weight.ndim)), 0.0)
    values = np.where(known, values, 0.0)
    first = np.argmax(known, axis=0)
    state = np.take_along_axis(values, first[None], axis=0)[0]
    result = np.empty_like(values)
    for index, value in enumerate(values):
        state = state + weight[index] * (value - state)
        result[index] = state
    result[~np.logical_or.accumulate(known, axis=0)] = np.nan
    return result


def smoothed(log: RunLogReader, stream: str, shown: Overview, start: int, half_life: int) -> Overview:
    """`shown` from row `start` on, with its means replaced by the exponential mean of that half-life in rows.

    Each bucket gets the mean as it is at its first row, of that row and those before it: of the buckets shown and of a
    run-in before them. Buckets wider than the half-life show no smoothing: there it is the mean of the bucket before.
    A value that follows rows without one weighs as many rows. Minima, maxima and standard errors stay as they are: no
    spike is hidden. Raises RunLogError where the file cannot be read.
    """
    names = [name for name in shown.mean if not name.endswith(("_se", "_spread")) and name != "time"]
    rows = max(RUN_IN * half_life, shown.width)
    # No finer than what is shown needs it, and no finer than the half-life does.
    buckets = min(RUN_IN_BUCKETS, rows // shown.width + 2)
    parts = [log.overview(stream, names, max(0, start - rows), start, buckets), shown]
    if start <= rows:
        # The mean begins with the first row alone, not with the mean of the first bucket.
        parts.insert(0, log.overview(stream, names, 0, 1, 1))
    count = np.concatenate([part.count for part in parts])
    # One pass for all columns: the loop over buckets is what costs.
    tables = [_table([part.mean[name] for part in parts]) for name in names]
    values = np.concatenate(tables, axis=1)
    means = exponential_mean(values, 1.0 - 0.5 ** (_rows_since_known(values, count) / half_life))
    means = _at_first_rows(means, count)[-len(shown.count) :]
    mean, at = dict(shown.mean), 0
    for name, table in zip(names, tables, strict=True):
        mean[name] = means[:, at : at + table.shape[1]].reshape(shown.mean[name].shape)
        at += table.shape[1]
    return replace(shown, mean=mean)


def _table(parts: Sequence[NDArray[np.floating]]) -> NDArray[np.float64]:
    """The buckets of all parts, one value a column."""
    values = np.concatenate(parts).astype(np.float64)
    return values.reshape(len(values), int(np.prod(values.shape[1:])))


def _rows_since_known(values: NDArray[np.float64], count: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows from the end of the last bucket with a value to that of each, [n, columns]. count: rows in each bucket."""
    ends: NDArray[np.int64] = np.cumsum(count)[:, None]
    last: NDArray[np.int64] = np.maximum.accumulate(np.where(np.isfinite(values), ends, 0), axis=0)
    return np.asarray(ends - np.concatenate([np.zeros_like(last[:1]), last[:-1]]))


def _at_first_rows(means: NDArray[np.float64], count: NDArray[np.int64]) -> NDArray[np.float64]:
    """Of the means at the last rows of buckets those at their first rows, on a straight line between last rows."""
    previous = np.concatenate([means[:1], means[:-1]])
    previous = np.where(np.isnan(previous), means, previous)
    return np.asarray(previous + (means - previous) / count[:, None])
