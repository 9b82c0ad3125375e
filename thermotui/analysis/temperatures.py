"""The temperature of each layer as the log tells it: the last measurement and the mean over the run."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from thermotui.runlog.reader import RunLogReader


@dataclass(frozen=True)
class LayerTemperature:
    """k_B T of one layer in nats (eq. 34 with T = 1): last value with its standard error, and the run's mean.

    `full` is the estimate against the full gradient, NaN where it was never measured. `relative_change` is the last
    quarter of the run over its first quarter.
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
    relative_change: float


def layer_temperatures(log: RunLogReader) -> tuple[LayerTemperature, ...]:
    """One entry a layer; empty while the reservoir has not been measured. O(rollups), whatever the run's length."""
    rows = log.length("reservoir")
    if rows == 0:
        return ()
    columns = ("temperature", "temperature_full", "temperature_full_se")
    overview = log.overview("reservoir", columns, 0, rows, 64)
    last = log.read("reservoir", start=rows - 1, stop=rows)[0]
    means = overview.mean["temperature"]
    quarter = max(1, len(means) // 4)
    summaries = []
    for index, layer in enumerate(log.header.layers):
        full, full_se = _last_finite(overview.mean, index)
        early, late = _mean(means[:quarter, index]), _mean(means[-quarter:, index])
        summaries.append(
            LayerTemperature(
                layer=index,
                name=layer.name,
                size=layer.size,
                estimator=layer.estimator,
                step=int(last["step"]),
                temperature=float(last["temperature"][index]),
                temperature_se=float(last["temperature_se"][index]),
                full=full,
                full_se=full_se,
                force=float(last["force"][index]),
                signal_to_noise=float(last["signal_to_noise"][index]),
                mean=_mean(means[:, index]),
                relative_change=late / early if early > 0 else math.nan,
            )
        )
    return tuple(summaries)


def _mean(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else math.nan


def _last_finite(means: dict[str, np.ndarray], layer: int) -> tuple[float, float]:
    """The latest full-gradient measurement: it is made at a longer interval than the rows, so most rows hold NaN."""
    values = means["temperature_full"][:, layer]
    finite = np.flatnonzero(np.isfinite(values))
    if len(finite) == 0:
        return math.nan, math.nan
    return float(values[finite[-1]]), float(means["temperature_full_se"][finite[-1], layer])
