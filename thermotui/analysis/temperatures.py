"""The temperature of each layer as the log tells it: the last measurement and the mean over the run."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from thermotui.runlog.overview import Overview
from thermotui.runlog.reader import RunLogReader
from thermotui.runlog.schema import Header

BUCKETS = 64
"""Pieces of the run that an overview is read in."""


@dataclass(frozen=True)
class LayerTemperature:
    """k_B T of one layer in nats (eq. 34 with T = 1): last value with its standard error, and the run's mean.

    `full` is the estimate against the full gradient, NaN where it was never measured. `relative_change` is the mean of
    the last quarter of the run over that of its first. Errors of means are those of the measurements, not of how far
    the temperature itself moved, nor of how it differs on another data set where all members have the same; those of
    means and of their ratio are upper bounds where `errors_bound`. `force` ‖∇U‖ and `signal_to_noise` ‖∇U‖²/tr C are
    the latest measured.
    """

    layer: int
    name: str
    size: int
    estimator: str
    step: int
    temperature: float
    temperature_se: float
    full: float
    full_se: float
    force: float
    signal_to_noise: float
    mean: float
    mean_se: float
    relative_change: float
    relative_change_se: float
    errors_bound: bool


def members_persist(header: Header) -> bool:
    """Whether members differ for good, each on data of its own: every measurement then shares their differences."""
    return header.ensemble > 1 and header.ensemble_varies == "data"


def layer_temperatures(log: RunLogReader) -> tuple[LayerTemperature, ...]:
    """One entry a layer; empty while the reservoir has not been measured. O(rollups), whatever the run's length."""
    rows = log.length("reservoir")
    if rows == 0:
        return ()
    overview = log.overview("reservoir", ("temperature", "temperature_se"), 0, rows, BUCKETS)
    persist = members_persist(log.header)
    quarter = max(1, overview.count.size // 4)
    last = log.read("reservoir", start=rows - 1, stop=rows)[0]
    full, force = _last_measured(log, "temperature_full"), _last_measured(log, "force")
    summaries = []
    for index, layer in enumerate(log.header.layers):
        (mean, mean_se), late, early = (
            _mean(overview, index, part, persist=persist)
            for part in (slice(None), slice(-quarter, None), slice(quarter))
        )
        change, change_se = ratio(late, early)
        summaries.append(
            LayerTemperature(
                layer=index,
                name=layer.name,
                size=layer.size,
                estimator=layer.estimator,
                step=int(last["step"]),
                temperature=float(last["temperature"][index]),
                temperature_se=float(last["temperature_se"][index]),
                full=float(full["temperature_full"][index]),
                full_se=float(full["temperature_full_se"][index]),
                force=float(force["force"][index]),
                signal_to_noise=float(force["signal_to_noise"][index]),
                mean=mean,
                mean_se=mean_se,
                relative_change=change,
                relative_change_se=change_se,
                errors_bound=persist,
            )
        )
    return tuple(summaries)


def ratio(numerator: tuple[float, float], denominator: tuple[float, float]) -> tuple[float, float]:
    """The ratio a/b of two positive figures, each with its standard error; NaN where one is not positive.

    The error a/b √((σ_a/a)² + (σ_b/b)²) is that of independent figures, and bounds it for positively correlated ones.
    """
    if not (numerator[0] > 0 and denominator[0] > 0):
        return math.nan, math.nan
    value = numerator[0] / denominator[0]
    return value, value * math.hypot(numerator[1] / numerator[0], denominator[1] / denominator[0])


def _mean(overview: Overview, layer: int, part: slice, *, persist: bool) -> tuple[float, float]:
    """Mean temperature over some buckets, with its standard error from those of the N measurements.

    √(Σ σ²) / N where these are independent. Where the members' differences persist, σ of a single measurement is that
    of the members drawn, the same in all, and of noise of its own, in unknown shares: Σ σ / N is then the error if all
    of it is shared, and an upper bound. Measurements without an error, as the first of a run may be, count like the
    others.
    """
    count, known = (overview.measured[name][part, layer] for name in ("temperature", "temperature_se"))
    number = int(count.sum())
    if not number:
        return math.nan, math.nan
    value = float(count[count > 0] @ overview.mean["temperature"][part, layer][count > 0]) / number
    if not known.any():
        return value, math.nan
    # A standard error below zero is a damaged one.
    means, largest = (
        np.maximum(values["temperature_se"][part, layer][known > 0], 0.0).astype(np.float64)
        for values in (overview.mean, overview.maximum)
    )
    weight = known[known > 0] / int(known.sum())
    if persist:
        return value, float(weight @ means)
    # Mean times maximum bounds a bucket's mean of σ² from above, and is it where the bucket is a single row.
    return value, math.sqrt(float(weight @ (means * largest)) / number)


def _last_measured(log: RunLogReader, field: str) -> np.void:
    """The latest row of `reservoir` in which a layer has a value of a field that most rows lack; else the last row."""
    start, stop = 0, log.length("reservoir")
    while stop - start > 1:
        found = log.overview("reservoir", (field,), start, stop, BUCKETS)
        measured = np.flatnonzero(found.measured[field].any(axis=1))
        if not measured.size:
            start = stop - 1
            break
        bucket = (start // found.width + int(measured[-1])) * found.width
        start, stop = max(start, bucket), min(stop, bucket + found.width)
    row: np.void = log.read("reservoir", start=start, stop=start + 1)[0]
    return row
