"""What a run log says within an interval: is T constant, is η white, what was spent and what was learnt."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from thermotui.detect.alert import Alert
from thermotui.detect.intervals import Interval, breaks_interval, invalid_spans
from thermotui.detect.stationarity import BLOCKS, FEWEST, kpss, long_run_variance, scheduled_p_value
from thermotui.runlog.reader import RunLogReader

_BLOCK = 20_000


@dataclass(frozen=True)
class Gained:
    """Heat, conditional entropy production and L-info (its lower bound) gained from one row of `thermo` to another,
    nats, each with its standard error; NaN where the log has none.

    A gain's error is the sum of both ends' logged errors: those of running totals are correlated in unknown measure,
    and their sum bounds it.
    """

    heat: float
    heat_se: float
    ep_conditional: float
    ep_conditional_se: float
    l_info: float
    l_info_se: float


@dataclass(frozen=True)
class Evidence(Gained):
    """Figures of one interval, what was gained from its first to its last row; NaN where the log has none.

    temperature: mean k_B T, nats, of the layer or of the mean over layers; its error from the long-run variance of its
    block means, so that correlated measurements do not count as independent. p_stationary: p-value of KPSS on ln T,
    small where T is not constant; while the interval still grows, that of scheduled looks. colour: mean
    autocorrelation of η at lag 1 and the standard error of that mean over the windows.
    """

    temperature: float
    temperature_se: float
    p_stationary: float
    colour: float
    colour_se: float


@dataclass(frozen=True)
class Transition(Gained):
    """Steps [start, end) in which alerts of these kinds broke the reservoir assumption, and what was gained meanwhile,
    from the last row of `thermo` before them to the first one after.
    """

    start: int
    end: int
    kinds: tuple[str, ...]


def interval_evidence(log: RunLogReader, interval: Interval, *, grows: bool) -> Evidence:
    """Read the interval's rows and sum them up. A layer's own figures for that layer, means over layers for −1.

    `grows`: the run goes on and the interval with it.
    """
    temperature = _column(log, interval, "reservoir", "temperature")
    if np.isnan(temperature).all():
        temperature = _column(log, interval, "reservoir", "temperature_full")
    positive = temperature[temperature > 0.0]
    colour = _column(log, interval, "autocorrelation", "autocorrelation", lag=1)
    start, stop = log.row_range("thermo", interval.start, interval.end - 1)
    return Evidence(
        **asdict(_gained(log, start, stop - 1)),
        temperature=_mean(positive),
        temperature_se=_error_of_mean(positive),
        p_stationary=scheduled_p_value(np.log(positive)) if grows else kpss(np.log(positive)).p_value,
        colour=_mean(colour),
        colour_se=_scatter_of_mean(colour[np.isfinite(colour)]),
    )


def transitions(log: RunLogReader, alerts: Sequence[Alert], last_step: int) -> tuple[Transition, ...]:
    """What was gained while any layer, or the run as a whole, broke the reservoir assumption."""
    found = []
    for start, end in invalid_spans(alerts, last_step, None):
        within = [a for a in alerts if breaks_interval(a) and a.start < end and (a.end is None or a.end > start)]
        before, _ = log.row_range("thermo", start, last_step)
        _, after = log.row_range("thermo", 0, end - 1)
        gained = _gained(log, max(before - 1, 0), min(after, log.length("thermo") - 1))
        kinds = tuple(dict.fromkeys(alert.kind for alert in within))
        found.append(Transition(**asdict(gained), start=start, end=end, kinds=kinds))
    return tuple(found)


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


def _error_of_mean(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    """Standard error of the mean of correlated values; NaN for fewer than two."""
    if len(values) < FEWEST:
        return _scatter_of_mean(values)
    blocks = min(BLOCKS, len(values))
    width = len(values) // blocks
    means = values[len(values) - blocks * width :].reshape(blocks, width).mean(axis=1)
    deviations = means - means.mean()
    # Values that differ by rounding alone have no error.
    if np.abs(deviations).max() <= 1e-12 * np.abs(means).max():
        return 0.0
    return math.sqrt(long_run_variance(deviations) / blocks)


def _scatter_of_mean(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    return float(values.std(ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else math.nan


def _gained(log: RunLogReader, first_row: int, last_row: int) -> Gained:
    found = {}
    names = {"heat": "heat", "ep_conditional": "ep_conditional", "l_info": "l_info_lower"}
    rows = [log.read("thermo", start=row, stop=row + 1)[0] for row in (first_row, last_row) if last_row > first_row]
    for name, column in names.items():
        found[name] = float(rows[1][column] - rows[0][column]) if rows else math.nan
        exact = log.header.figures.get(column) == "exact"
        error = sum(float(row[f"{column}_se"]) for row in rows) if rows else math.nan
        found[f"{name}_se"] = math.nan if math.isnan(found[name]) else 0.0 if exact else error
    return Gained(**found)
