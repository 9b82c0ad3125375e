"""Coloured noise: of the loss by its lag-1 autocorrelation, of η by its measured autocorrelation per layer and lag."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thermotui.detect.multiple_testing import benjamini_hochberg, two_sided_p
from thermotui.detect.prefix import PrefixSums
from thermotui.detect.settings import Settings

_WINDOW = 256
_REFERENCE = 1024
_RELEASE = 0.15


@dataclass(frozen=True)
class Colour:
    """A coloured stretch begins (`begins`) or is over, at `step`; it reaches back to `start`."""

    begins: bool
    start: int
    step: int
    correlation: float
    reference: float
    score: float


class LossColour:
    """r, the lag-1 autocorrelation over 256 samples, against the same over up to 1,024 samples before.

    Coloured where r exceeds `colour` and √256 (r − reference) exceeds `colour_z`; over where r < reference + 0.15.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._sums = PrefixSums((2,), _WINDOW + _REFERENCE + 32)
        self._previous = 0.0
        self._reference = math.nan

    def feed(self, surprise: NDArray[np.float64], steps: NDArray[np.int64]) -> list[Colour]:
        """Look at n more samples of the loss noise, float64 [n]."""
        if not len(surprise):
            return []
        before = np.concatenate([[self._previous], surprise[:-1]])
        self._previous = float(surprise[-1])
        grid = self._sums.feed(np.stack([surprise * before, surprise**2], axis=1), steps)
        ends = grid[(grid % 32 == 0) & (grid >= 2 * _WINDOW)]
        if not ends.size:
            return []
        now, middle = self._sums.at(ends), self._sums.at(ends - _WINDOW)
        begin = self._sums.at(np.maximum(ends - _WINDOW - _REFERENCE, 0))
        tiny = 1e-300
        r = (now - middle)[:, 0] / np.maximum((now - middle)[:, 1], tiny)
        reference = (middle - begin)[:, 0] / np.maximum((middle - begin)[:, 1], tiny)
        found = []
        s = self._settings
        for end, value, usual in zip(ends.tolist(), r.tolist(), reference.tolist(), strict=True):
            score = math.sqrt(_WINDOW) * (value - usual)
            if math.isnan(self._reference):
                if value > s.colour and score > s.colour_z:
                    self._reference = usual
                    start = self._sums.boundary(end - _WINDOW)
                    found.append(Colour(True, start, self._sums.boundary(end), value, usual, score))
            elif value < self._reference + _RELEASE:
                at = self._sums.boundary(end)
                found.append(Colour(False, at, at, value, self._reference, score))
                self._reference = math.nan
        return found

    def state_dict(self) -> dict[str, Any]:
        """Arrays and numbers."""
        return {"sums": self._sums.state_dict(), "previous": self._previous, "reference": self._reference}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        self._sums.load_state_dict(state["sums"])
        self._previous, self._reference = state["previous"], state["reference"]


@dataclass(frozen=True)
class LayerColour:
    """The strongest lag of one layer in one window of the autocorrelation of η."""

    layer: int
    lag: int
    value: float
    expected: float
    p_value: float


def epoch_echo(lags: int, batches_per_epoch: int | None) -> NDArray[np.float64]:
    """C(lag)/C(0) that sampling without replacement alone gives, [lags]: −(M − k)/(M (M − 1)) at lag k < M, else 0."""
    lag = np.arange(lags, dtype=np.float64)
    echo = np.zeros(lags)
    if batches_per_epoch is not None and batches_per_epoch > 1:
        m = batches_per_epoch
        echo = np.where((lag > 0) & (lag < m), -(m - lag) / (m * (m - 1)), 0.0)
    echo[:1] = 1.0
    return echo


def coloured_layers(
    autocorrelation: NDArray[np.float64], expected_echo: NDArray[np.float64], window: int, settings: Settings
) -> list[LayerColour]:
    """Layers whose η is coloured in one window: [L, lags] (lag 0 first) against the echo [lags] of the sampling alone.

    White noise has errors of 1/√window at each lag. The largest |z| over the lags gets Bonferroni's correction for
    them, the layers Benjamini–Hochberg's; only excesses above `colour_lags` are worth saying.
    """
    if window <= 1 or autocorrelation.shape[1] < 2:
        return []
    excess = autocorrelation[:, 1:] - expected_echo[None, 1:]
    known: NDArray[np.bool_] = ~np.isnan(excess).all(axis=1)
    lags = np.where(known, np.argmax(np.abs(np.nan_to_num(excess)), axis=1), 0)
    strongest = np.abs(excess[np.arange(len(excess)), lags])
    p_values = np.array([min(1.0, two_sided_p(z) * excess.shape[1]) for z in (strongest * math.sqrt(window)).tolist()])
    p_values[~known] = math.nan
    # Windows are looked at again and again: one look may spend only what one jump test spends on fifty looks.
    rejected = benjamini_hochberg(p_values, settings.fdr / 50) & (strongest > settings.colour_lags)
    return [
        LayerColour(
            int(i), int(lags[i]) + 1, float(autocorrelation[i, lags[i] + 1]), float(expected_echo[lags[i] + 1]),
            float(p_values[i]),
        )
        for i in np.flatnonzero(rejected)
    ]  # fmt: skip
