"""What a run log says within one valid interval: is T constant, is η white, what was spent and what was learnt."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from thermotui.detect.intervals import Interval
from thermotui.detect.stationarity import kpss, scheduled_p_value
from thermotui.runlog.reader import RunLogReader

_BLOCK = 20_000


@dataclass(frozen=True)
class Evidence:
    """Figures of one interval; NaN where the log has none.

    temperature: mean k_B T, nats, of the layer or of the mean over layers. p_stationary: p-value of KPSS on ln T, small
    where T is not constant; while the interval still grows, that of scheduled looks. colour: mean autocorrelation of η
    at lag 1. heat, ep_conditional, l_info: gained from the interval's first to its last row of `thermo`, nats.
    """

    temperature: float
    p_stationary: float
    colour: float
    heat: float
    ep_conditional: float
    l_info: float


def interval_evidence(log: RunLogReader, interval: Interval, *, grows: bool) -> Evidence:
    """Read the interval's rows and sum them up. A layer's own figures for that layer, means over layers for −1.

    `grows`: the run goes on and the interval with it.
    """
    temperature = _column(log, interval, "reservoir", "temperature")
    if np.isnan(temperature).all():
        temperature = _column(log, interval, "reservoir", "temperature_full")
    positive = temperature[temperature > 0.0]
    colour = _column(log, interval, "autocorrelation", "autocorrelation", lag=1)
    gained = {name: _gained(log, interval, name) for name in ("heat", "ep_conditional", "l_info_lower")}
    return Evidence(
        temperature=_mean(positive),
        p_stationary=scheduled_p_value(np.log(positive)) if grows else kpss(np.log(positive)).p_value,
        colour=_mean(colour),
        heat=gained["heat"],
        ep_conditional=gained["ep_conditional"],
        l_info=gained["l_info_lower"],
    )


def _column(
    log: RunLogReader, interval: Interval, stream: str, field: str, lag: int | None = None
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    start, stop = log.row_range(stream, interval.start, interval.end - 1)
    parts = [np.zeros(0)]
    for begin in range(start, stop, _BLOCK):
        rows = log.read(stream, [field], begin, min(begin + _BLOCK, stop))[field].astype(np.float64)
        if lag is not None:
            if rows.shape[-1] <= lag:
                return np.zeros(0)
            rows = rows[..., lag]
        parts.append(rows[:, interval.layer] if interval.layer >= 0 else _mean_over_layers(rows))
    return np.concatenate(parts)


def _mean_over_layers(
    rows: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    known = ~np.isnan(rows)
    count = known.sum(axis=1)
    return np.where(count > 0, np.where(known, rows, 0.0).sum(axis=1) / np.maximum(count, 1), np.nan)


def _mean(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else math.nan


def _gained(log: RunLogReader, interval: Interval, field: str) -> float:
    start, stop = log.row_range("thermo", interval.start, interval.end - 1)
    if stop - start < 2:
        return math.nan
    first, last = (float(log.read("thermo", [field], row, row + 1)[field][0]) for row in (start, stop - 1))
    return last - first
