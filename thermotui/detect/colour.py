"""Coloured noise: of the loss by its lag-1 autocorrelation, of η by its measured autocorrelation per layer and lag."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thermotui.detect.multiple_testing import benjamini_hochberg, two_sided_p
from thermotui.detect.prefix import GRID, PrefixSums
from thermotui.detect.settings import Settings

WINDOWS = (128, 256)
_REFERENCE = 1024
_DIFFERENCES = 3.0  # z-score that the differences must confirm the colour with


@dataclass(frozen=True)
class Colour:
    """A coloured stretch begins at `start`, or is over at `end` (−1 while it lasts); `seen` is when that was found."""

    begins: bool
    start: int
    end: int
    seen: int
    correlation: float
    reference: float


class LossColour:
    """Two estimates of the lag-1 autocorrelation over w = 128 or 256 samples: r of the noise, and φ = 1 + 2ρ of its
    first differences, which a step or a trend does not move.

    Coloured where r exceeds `colour` and √w (artanh r − artanh reference) exceeds `colour_z`, the reference being up to
    1,024 samples before, and φ exceeds its own reference by half as much; over where r falls below half way back.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._sums = PrefixSums((4,), WINDOWS[-1] + _REFERENCE + 32)
        self._difference = 0.0
        self._origin = 0
        self._reference = math.nan
        self._strength = math.nan

    def restart(self) -> None:
        """The level moved: windows may not reach back beyond this sample."""
        self._origin = self._sums.count

    def feed(
        self,
        noise: NDArray[np.float64],
        before: NDArray[np.float64],
        difference: NDArray[np.float64],
        steps: NDArray[np.int64],
    ) -> list[Colour]:
        """n more samples of the loss noise, float64 [n], with the sample before each and the difference of the two."""
        if not len(noise):
            return []
        earlier = np.concatenate([[self._difference], difference[:-1]])
        self._difference = float(difference[-1])
        columns = np.stack([noise * before, noise**2, difference * earlier, difference**2], axis=1)
        grid = self._sums.feed(columns, steps)
        ends = grid[(grid % 16 == 0) & (grid >= 2 * WINDOWS[-1])]
        if not ends.size:
            return []
        looks = [self._look(ends, w) for w in WINDOWS]
        found = []
        s = self._settings
        # Where no window is strong enough, but for rounding, nothing can begin.
        strong = np.zeros(len(ends), dtype=np.bool_)
        for w, (r, usual, *_) in zip(WINDOWS, looks, strict=True):
            score = math.sqrt(w) * (np.arctanh(r) - np.arctanh(usual))
            strong |= (r > s.colour) & (score > s.colour_z - 1e-6)
        candidates = np.flatnonzero(strong)
        longest = looks[-1][0]
        index = 0
        while index < len(ends):
            if math.isnan(self._reference):
                later = candidates[np.searchsorted(candidates, index) :]
                if not later.size:
                    break
                index = int(later[0])
                found += self._begun(int(ends[index]), [[float(x[index]) for x in look] for look in looks])
            else:
                weak = np.flatnonzero(longest[index:] < 0.5 * (self._reference + self._strength))
                if not weak.size:
                    break
                index += int(weak[0])
                end = int(ends[index])
                # Half of the window is of the old colour again.
                at = self._sums.boundary(end - WINDOWS[-1] // 2)
                found.append(Colour(False, at, at, self._sums.boundary(end), float(longest[index]), self._reference))
                self._reference = math.nan
            index += 1
        return found

    def _begun(self, end: int, looks: list[list[float]]) -> list[Colour]:
        """The coloured stretch that the windows up to `end` show, of each r, its reference, φ and its reference."""
        s = self._settings
        for w, (value, reference, phi, usual_phi) in zip(WINDOWS, looks, strict=True):
            if end - w < self._origin:
                continue
            score = math.sqrt(w) * (math.atanh(value) - math.atanh(reference))
            shift = phi - usual_phi
            moved = shift > 0.5 * (value - reference) and shift * math.sqrt(w) > _DIFFERENCES * 1.41
            if value > s.colour and score > s.colour_z and moved:
                self._reference, self._strength = reference, value
                start = self._sums.boundary(self._beginning(end, w, reference))
                return [Colour(True, start, -1, self._sums.boundary(end), value, reference)]
        return []

    def _beginning(self, end: int, w: int, reference: float) -> int:
        """Since which grid point the noise up to `end` is most clearly of another colour."""
        begins = np.arange(
            max(end - 2 * w, self._sums.first, -(-self._origin // GRID) * GRID), end - 31, GRID, dtype=np.int64
        )
        sums = self._sums.at(np.array([end])) - self._sums.at(begins)
        r = np.clip(sums[:, 0] / np.maximum(sums[:, 1], 1e-300), -0.95, 0.95)
        return int(begins[np.argmax(np.sqrt(end - begins) * (np.arctanh(r) - math.atanh(reference)))])

    def _look(self, ends: NDArray[np.int64], w: int) -> tuple[NDArray[np.float64], ...]:
        now, middle = self._sums.at(ends), self._sums.at(ends - w)
        begin = self._sums.at(np.maximum(ends - w - _REFERENCE, 0))
        recent, past = now - middle, middle - begin
        r, usual = (np.clip(x[:, 0] / np.maximum(x[:, 1], 1e-300), -0.95, 0.95) for x in (recent, past))
        phi, usual_phi = (1 + 2 * x[:, 2] / np.maximum(x[:, 3], 1e-300) for x in (recent, past))
        return r, usual, phi, usual_phi

    def state_dict(self) -> dict[str, Any]:
        """Arrays and numbers."""
        return {
            "sums": self._sums.state_dict(),
            "difference": self._difference,
            "origin": self._origin,
            "reference": self._reference,
            "strength": self._strength,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        self._sums.load_state_dict(state["sums"])
        self._origin = state["origin"]
        self._difference, self._reference, self._strength = state["difference"], state["reference"], state["strength"]


@dataclass(frozen=True)
class LayerColour:
    """The strongest lag of one layer in one window of the autocorrelation of η."""

    layer: int
    lag: int
    value: float
    expected: float
    p_value: float


def epoch_echo(lags: int, batches_per_epoch: float | None) -> NDArray[np.float64]:
    """C(lag)/C(0) of η that sampling without replacement alone gives at lags 0 … lags − 1, float64 [lags].

    batches_per_epoch: N/|b|, with M = ⌊N/|b|⌋ whole batches an epoch, the samples left over unused; None where batches
    are independent. Two batches of an epoch have the correlation −1/(N/|b| − 1), and of the pairs at lag k < M the
    share (M − k)/M lies in one epoch. Epochs of one batch have no pairs.
    """
    echo = np.zeros(lags)
    if batches_per_epoch is not None and batches_per_epoch > 1:
        lag = np.arange(lags, dtype=np.float64)
        whole = math.floor(batches_per_epoch)
        echo = np.where(lag < whole, -(whole - lag) / whole / (batches_per_epoch - 1.0), 0.0)
    echo[:1] = 1.0
    return echo


def coloured_layers(
    autocorrelation: NDArray[np.float64],
    expected_echo: NDArray[np.float64],
    window: int,
    settings: Settings,
    bound: float = math.nan,
) -> list[LayerColour]:
    """Layers whose η is coloured in one window: [L, lags] (lag 0 first) against the echo [lags] of the sampling alone.

    The error at each lag is that of white noise in one series, 1/√window, or bound/1.96 where that is more: what only
    many members and projections together resolve is the force that answers the noise, no disturbance. The largest |z|
    over the lags gets Bonferroni's correction for them, the layers Benjamini–Hochberg's; only excesses above
    `colour_lags` are worth saying. A lag whose value is not finite counts as not measured.
    """
    if window <= 1 or autocorrelation.shape[1] < 2:
        return []
    error = max(1.0 / math.sqrt(window), bound / 1.96 if bound > 0 else 0.0)
    # A log is not trusted input: what is not finite was not measured.
    with np.errstate(invalid="ignore"):
        excess = autocorrelation[:, 1:] - expected_echo[None, 1:]
    excess = np.where(np.isfinite(excess), excess, np.nan)
    known = np.logical_not(np.isnan(excess).all(axis=1))
    lags = np.where(known, np.argmax(np.abs(np.nan_to_num(excess)), axis=1), 0)
    strongest = np.abs(excess[np.arange(len(excess)), lags])
    p_values = np.array([min(1.0, two_sided_p(z) * excess.shape[1]) for z in (strongest / error).tolist()])
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
