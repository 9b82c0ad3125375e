"""Labelled loss curves: power-law decay, seven kinds of noise, and disturbances whose place is known exactly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NOISES = ("gaussian", "t5", "skewed", "ar3", "ar6", "heteroscedastic", "tiny")
KINDS = (
    "loss_spike", "outlier", "step_up", "step_down", "temperature_jump", "temperature_drift", "coloured_noise",
    "non_finite", "divergence", "stall",
)  # fmt: skip
TUNING_SEEDS = range(200)
HELD_OUT_SEEDS = range(10_000, 11_000)


@dataclass(frozen=True)
class Label:
    """What happened in samples [start, end)."""

    kind: str
    start: int
    end: int


@dataclass(frozen=True)
class Curve:
    """A loss curve, float64 [n], its noise's name and what is wrong with it."""

    loss: NDArray[np.float64]
    noise: str
    labels: tuple[Label, ...]


def labelled_curve(seed: int, noise: str, *, samples: int = 8000, clean: bool = False) -> Curve:
    """The curve of that seed and noise; `clean`: with nothing wrong."""
    rng = np.random.default_rng([seed, NOISES.index(noise)])
    t = np.arange(samples)
    scale = 0.002 if noise == "tiny" else float(np.exp(rng.uniform(np.log(0.02), np.log(0.12))))
    tau, power, rest = rng.uniform(20, 200), rng.uniform(0.2, 0.6), rng.uniform(0.02, 0.3)
    level = np.log(rng.uniform(0.5, 5) * ((1 + t / tau) ** -power + rest))
    sizes = np.full(samples, scale)
    if noise == "heteroscedastic":
        # Volatility clusters of some ten samples: stationary, so that it is no drift.
        sizes *= np.exp(0.25 * _noise(rng, "gaussian", np.full(samples, 0.9)))
    colour = np.full(samples, {"ar3": 0.3, "ar6": 0.6}.get(noise, 0.0))
    labels = [] if clean else _plan(rng, samples)
    for label in labels:
        if label.kind in ("temperature_jump", "temperature_drift"):
            # Up or down, but never to a scatter of 30 % and more, where the loss would be nothing but noise.
            sign = -1 if sizes[label.start] > 0.075 else 1 if sizes[label.start] < 0.01 else rng.choice([-1, 1])
            factor = float(np.exp(sign * rng.uniform(np.log(2.0), np.log(4.0))))
            ramp = np.clip((t - label.start) / (label.end - label.start), 0, 1)
            sizes *= factor**ramp
        elif label.kind == "coloured_noise":
            colour[label.start : label.end] = rng.uniform(0.8, 0.93)
    loss = np.exp(level + _disturbances(rng, t, sizes, labels) + sizes * _noise(rng, noise, colour))
    for label in labels:
        if label.kind == "stall":
            loss[label.start : label.end] = loss[label.start]
        elif label.kind == "non_finite":
            loss[label.start : label.end] = rng.choice([np.nan, np.inf])
    return Curve(loss, noise, tuple(labels))


def _plan(rng: np.random.Generator, samples: int) -> list[Label]:
    labels: list[Label] = []
    cursor = int(rng.integers(700, 1400))
    while cursor < samples - 2500:
        kind = str(rng.choice([kind for kind in KINDS if kind != "divergence"]))
        length = {
            "loss_spike": rng.integers(4, 120),
            "outlier": rng.integers(1, 3),
            "step_up": rng.integers(1, 20),
            "step_down": rng.integers(1, 20),
            "temperature_jump": rng.integers(1, 20),
            "temperature_drift": rng.integers(500, 1200),
            "coloured_noise": rng.integers(500, 1200),
            "non_finite": rng.integers(1, 20),
            "stall": rng.integers(40, 200),
        }[kind]
        labels.append(Label(kind, cursor, cursor + int(length)))
        cursor += int(length) + int(rng.integers(900, 1800))
    if rng.random() < 0.3:
        start = samples - int(rng.integers(400, 700))
        labels.append(Label("divergence", start, samples))
    return labels


def _disturbances(
    rng: np.random.Generator, t: NDArray[np.int64], sizes: NDArray[np.float64], labels: list[Label]
) -> NDArray[np.float64]:
    total = np.zeros(len(t))
    for label in labels:
        start, end = label.start, label.end
        unit = float(sizes[start])
        if label.kind == "outlier":
            total[start:end] += unit * rng.uniform(20, 60)
        elif label.kind == "loss_spike":
            # Up within a few samples, then an exponential tail down to two standard deviations at the label's end.
            height = rng.uniform(8, 30)
            ramp = int(rng.integers(0, min(6, end - start - 2)))
            peak = start + ramp
            tau = (end - peak) / np.log(height / 2)
            total[start:peak] += unit * height * (np.arange(1, ramp + 1) / (ramp + 1))
            total[peak:] += unit * height * np.exp(-(t[peak:] - peak) / tau)
        elif label.kind in ("step_up", "step_down"):
            size = unit * rng.uniform(4, 15) * (1 if label.kind == "step_up" else -1)
            total += size * np.clip((t - start + 1) / (end - start), 0, 1)
        elif label.kind == "divergence":
            rate = unit * rng.uniform(0.15, 0.6)
            total[start:] += rate * (t[start:] - start)
    return total


def _noise(rng: np.random.Generator, name: str, colour: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unit variance: white draws of the noise's shape through an AR(1) filter of changing coefficient."""
    n = len(colour)
    if name == "t5":
        white = rng.standard_t(5, n) / np.sqrt(5 / 3)
    elif name == "skewed":
        white = (rng.gamma(4, 1, n) - 4) / 2
    else:
        white = rng.standard_normal(n)
    if not colour.any():
        return white
    values, previous = np.empty(n), 0.0
    gains = np.sqrt(1 - colour**2)
    for i in range(n):
        previous = colour[i] * previous + gains[i] * white[i]
        values[i] = previous
    return values
