"""Smoothing that zooming never changes: taken over the whole run, and only looked up where a chart draws."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from thermotui.runlog.overview import Overview
    from thermotui.runlog.reader import RunLogReader

BUCKETS = 2048
"""Buckets of the whole run that the mean is taken over: more than a screen is wide."""


def exponential_mean(values: NDArray[np.float64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """Exponential mean along the first axis, each value entering with its weight in (0, 1]; NaN are passed over.

    m_i = m_{i−1} + weight_i · (v_i − m_{i−1}), and m_0 = v_0. values: [n, …]; weight: [n].
    """
    result = np.empty_like(values)
    state = np.full(values.shape[1:], np.nan)
    for index, value in enumerate(values):
        state = np.where(
            np.isnan(state), value, np.where(np.isnan(value), state, state + weight[index] * (value - state))
        )
        result[index] = state
    return result


def smoothed(log: RunLogReader, stream: str, shown: Overview, half_life: int) -> Overview:
    """`shown` with its means replaced by the exponential mean of the whole run, of that half-life in rows.

    Minima, maxima and standard errors stay as they are: no spike is hidden. Raises RunLogError where the file cannot
    be read.
    """
    names = [name for name in shown.mean if not name.endswith(("_se", "_spread")) and name != "time"]
    whole = log.overview(stream, names, 0, log.length(stream), BUCKETS)
    weight = 1.0 - 0.5 ** (whole.count / half_life)
    # One pass for all columns: the loop over buckets is what costs.
    tables = [whole.mean[name].reshape(len(weight), -1).astype(np.float64) for name in names]
    curves = exponential_mean(np.concatenate(tables, axis=1), weight)
    mean, at = dict(shown.mean), 0
    for name, table in zip(names, tables, strict=True):
        columns = range(at, at + table.shape[1])
        found = [np.interp(shown.step_first, whole.step_first, curves[:, column]) for column in columns]
        mean[name] = np.stack(found, axis=1).reshape(shown.mean[name].shape)
        at += table.shape[1]
    return replace(shown, mean=mean)
