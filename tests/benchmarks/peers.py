"""Alarm rules of other tools, written anew from what their documentation and papers say; and three packages' detectors.

Those of river, ruptures and trainscope are there where the packages are installed. Each takes a loss curve,
float64 [n], and returns the samples at which it alarms.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
from collections import deque
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Rule = Callable[[NDArray[np.float64]], list[int]]


def running_mean(mismatch: float = 1.0, warm_up: int = 100) -> Rule:
    """Lightning's SpikeDetection: the loss exceeds its running mean since the start by `mismatch` times that mean."""

    def rule(loss: NDArray[np.float64]) -> list[int]:
        total, count = 0.0, 0
        alarms = []
        for i, value in enumerate(loss.tolist()):
            if not math.isfinite(value) or (i >= warm_up and value - total / max(count, 1) >= mismatch * total / count):
                alarms.append(i)
                continue
            total, count = total + value, count + 1
        return alarms

    return rule


def window_sigmas(sigmas: float, window: int) -> Rule:
    """OLMo-core's spike score: the loss is `sigmas` standard deviations above the mean of the last `window` samples."""

    def rule(loss: NDArray[np.float64]) -> list[int]:
        past: deque[float] = deque(maxlen=window)
        alarms = []
        for i, value in enumerate(loss.tolist()):
            if len(past) == window:
                values = np.array(past)
                if not math.isfinite(value) or value > values.mean() + sigmas * values.std():
                    alarms.append(i)
            if math.isfinite(value):
                past.append(value)
        return alarms

    return rule


def exponential_z(threshold: float = 2.5, decay: float = 0.97, warm_up: int = 25) -> Rule:
    """ZClip's test: z-score against an exponential mean and variance that spikes enter only clipped."""

    def rule(loss: NDArray[np.float64]) -> list[int]:
        finite = loss[np.isfinite(loss)][:warm_up]
        mean, variance = float(finite.mean()), float(finite.var()) + 1e-12
        alarms = []
        for i, value in enumerate(loss.tolist()):
            if i < warm_up:
                continue
            if not math.isfinite(value):
                alarms.append(i)
                continue
            z = (value - mean) / math.sqrt(variance)
            if z > threshold:
                alarms.append(i)
                value = mean + threshold**2 / z * math.sqrt(variance)
            variance = decay * variance + (1 - decay) * (value - mean) ** 2
            mean = decay * mean + (1 - decay) * value
        return alarms

    return rule


def largest_so_far(factor: float = 10.0, warm_up: int = 100) -> Rule:
    """Megatron-LM's rerun check: a loss that is no number, or `factor` times the largest seen before."""

    def rule(loss: NDArray[np.float64]) -> list[int]:
        largest = 0.0
        alarms = []
        for i, value in enumerate(loss.tolist()):
            if not math.isfinite(value) or (i >= warm_up and value > factor * largest):
                alarms.append(i)
            else:
                largest = max(largest, value)
        return alarms

    return rule


def river(name: str) -> Rule:
    """A drift detector of river with its defaults, on the logarithm of the loss."""

    def rule(loss: NDArray[np.float64]) -> list[int]:
        detector = getattr(importlib.import_module("river.drift"), name)()
        alarms = []
        for i, value in enumerate(np.log(np.maximum(loss, 1e-12)).tolist()):
            if not math.isfinite(value):
                alarms.append(i)
                continue
            detector.update(value)
            if detector.drift_detected:
                alarms.append(i)
        return alarms

    return rule


def trainscope(module: str, name: str) -> Rule:
    """A detector of trainscope with its defaults, on the loss itself, as that tool feeds it."""

    def rule(loss: NDArray[np.float64]) -> list[int]:
        detector = getattr(importlib.import_module(f"trainscope.core.detectors.{module}"), name)()
        alarms = []
        for i, value in enumerate(loss.tolist()):
            if not math.isfinite(value) or detector.update(value) is not None:
                alarms.append(i)
        return alarms

    return rule


def pelt(loss: NDArray[np.float64]) -> list[int]:
    """ruptures' PELT offline, l2 cost on every fourth sample of the detrended logarithm, penalty 3 σ² ln n."""
    y = np.log(np.maximum(np.where(np.isfinite(loss), loss, np.nanmedian(loss)), 1e-12))
    y = y - np.polyval(np.polyfit(np.log1p(np.arange(len(y))), y, 3), np.log1p(np.arange(len(y))))
    thin = y[::4]
    noise = float(np.median(np.abs(np.diff(thin)))) / 0.954
    search = importlib.import_module("ruptures").Pelt(model="l2", min_size=4, jump=2).fit(thin)
    return [4 * at for at in search.predict(pen=3 * noise**2 * math.log(len(thin)))[:-1]]


PEERS: dict[str, Rule] = {
    "Lightning SpikeDetection": running_mean(),
    "OLMo-core 6 sigma / 128": window_sigmas(6, 128),
    "OLMo 2 7 sigma / 1000": window_sigmas(7, 1000),
    "ZClip 2.5": exponential_z(),
    "ZClip re-thresholded 10": exponential_z(10.0),
    "Megatron 10 x largest": largest_so_far(),
}
if importlib.util.find_spec("river"):
    PEERS |= {"river ADWIN": river("ADWIN"), "river PageHinkley": river("PageHinkley")}
if importlib.util.find_spec("ruptures"):
    PEERS["ruptures PELT (offline)"] = pelt
if importlib.util.find_spec("trainscope"):
    PEERS["trainscope z-score"] = trainscope("z_score", "ZScoreDetector")
    PEERS["trainscope change point"] = trainscope("changepoint", "ChangePointDetector")
