"""The temperature of each layer as the log tells it: the last measurement and the mean over the run."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from thermotui.runlog.overview import Overview
from thermotui.runlog.reader import RunLogReader


@dataclass(frozen=True)
class LayerTemperature:
    """k_B T of one layer in nats (eq. 34 with T = 1): last value with its standard error, and the run's mean.

    `full` is the estimate against the full gradient, NaN where it was never measured. `relative_change` is the mean of
    the last quarter of the run over that of its first. Errors of means are those of the measurements, not of how far
    the temperature itself moved. `force` ‖∇U‖ and `signal_to_noise` ‖∇U‖²/tr C are the latest measured.
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


def layer_temperatures(log: RunLogReader) -> tuple[LayerTemperature, ...]:
    """One entry a layer; empty while the reservoir has not been measured. O(rollups), whatever the run's length."""
    rows = log.length("reservoir")
    if rows == 0:
        return ()
    columns = ("temperature", "temperature_se", "temperature_full", "temperature_full_se", "force", "signal_to_noise")
    overview = log.overview("reservoir", columns, 0, rows, 64)
    last = log.read("reservoir", start=rows - 1, stop=rows)[0]
    buckets = overview.count.size
    quarter = max(1, buckets // 4)
    summaries = []
    for index, layer in enumerate(log.header.layers):
        mean, mean_se = _mean(overview, index, slice(None))
        early, late = _mean(overview, index, slice(quarter)), _mean(overview, index, slice(buckets - quarter, None))
        ratio = late[0] / early[0] if early[0] > 0 and late[0] > 0 else math.nan
        summaries.append(
            LayerTemperature(
                layer=index,
                name=layer.name,
                size=layer.size,
                estimator=layer.estimator,
                step=int(last["step"]),
                temperature=float(last["temperature"][index]),
                temperature_se=float(last["temperature_se"][index]),
                full=_latest(overview, "temperature_full", index),
                full_se=_latest(overview, "temperature_full_se", index),
                force=_latest(overview, "force", index),
                signal_to_noise=_latest(overview, "signal_to_noise", index),
                mean=mean,
                mean_se=mean_se,
                relative_change=ratio,
                relative_change_se=ratio * math.hypot(early[1] / early[0], late[1] / late[0]),
            )
        )
    return tuple(summaries)


def _mean(overview: Overview, layer: int, part: slice) -> tuple[float, float]:
    """Mean temperature over some buckets, with its standard error √(Σ σ²) / N from those of the N measurements.

    Of a bucket the log knows the mean and the maximum of σ: their product bounds the mean of σ² from above, and is it
    where a bucket is a single row.
    """
    values = overview.mean["temperature"][part, layer]
    squares = overview.mean["temperature_se"][part, layer] * overview.maximum["temperature_se"][part, layer]
    count = overview.count[part]
    measured = np.isfinite(values)
    if not measured.any():
        return math.nan, math.nan
    total = float(count[measured].sum())
    value = float(count[measured] @ values[measured]) / total
    return value, float(np.sqrt(count[measured] @ squares[measured])) / total


def _latest(overview: Overview, field: str, layer: int) -> float:
    """The latest bucket's mean of what is measured against the full gradient: most rows hold NaN, for it is dear."""
    values = overview.mean[field][:, layer]
    measured = np.flatnonzero(np.isfinite(values))
    return float(values[measured[-1]]) if measured.size else math.nan
