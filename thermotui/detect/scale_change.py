"""Jumps and drifts of a positive series per layer: the reservoir's temperature, or the size of the loss noise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thermotui.detect.multiple_testing import benjamini_hochberg, two_sided_p
from thermotui.detect.prefix import GRID, PrefixSums
from thermotui.detect.settings import Settings

WINDOWS = (32, 64, 128, 256)
_REFERENCE = 512
_LATE = 256
_BLOCK = 2048


@dataclass(frozen=True)
class Change:
    """A change of one layer's mean: steps [start, end), means before and after, z-score and its p-value.

    `kind` is "jump", "drift" or "settled" (a drift is over, at `end`).
    """

    kind: str
    layer: int
    start: int
    end: int
    before: float
    after: float
    score: float
    p_value: float


class ScaleChange:
    """g = ln(mean over the last w / mean over up to 4w before), against its error from the reference's own scatter.

    se² = cv² (1 + r)/(1 − r) (1/w + 1/n), with cv the coefficient of variation and r the
    lag-1 autocorrelation of the reference.
    A jump is |g| > z se and |g| > ln `temperature_ratio`, with Benjamini–Hochberg across layers. A drift is the last
    256 samples against the first 512 of the interval, |g| > ln `drift_ratio`. After a jump the interval begins anew.
    """

    def __init__(self, layers: int, settings: Settings) -> None:
        self._settings = settings
        self._layers = layers
        self._sums = PrefixSums((3, layers), 5 * WINDOWS[-1] + 2 * _BLOCK)
        self._previous = np.full(layers, np.nan)
        self._origin = np.zeros(layers, dtype=np.int64)
        self._reference = np.full((3, layers), np.nan)
        self._drifting = np.zeros(layers, dtype=np.bool_)

    def feed(self, values: NDArray[np.float64], steps: NDArray[np.int64]) -> list[Change]:
        """Look at n more measurements, float64 [n, L]; a NaN stands for the measurement before it."""
        changes: list[Change] = []
        position = 0
        while position < len(values):
            # Blocks end at multiples of a fixed number of samples, whatever the chunking.
            take = min(len(values) - position, _BLOCK - self._sums.count % _BLOCK)
            changes += self._feed_block(values[position : position + take], steps[position : position + take])
            position += take
        return changes

    def _feed_block(self, values: NDArray[np.float64], steps: NDArray[np.int64]) -> list[Change]:
        before = np.vstack([self._previous, values])
        if np.isnan(before).any():
            before = self._filled(before)
        values = before[1:]
        self._previous = values[-1].copy()
        missing = np.isnan(values)
        if missing.any():
            # A layer without any measurement so far begins with its first one.
            begin = self._sums.count + missing.sum(0)
            self._origin = np.where(missing[0], -(-begin // GRID) * GRID, self._origin)
        products = before[:-1] * values
        columns = np.nan_to_num(np.stack([values, values**2, products], axis=1), nan=0.0)
        grid = self._sums.feed(columns, steps)
        changes: list[Change] = []
        while grid.size:
            self._take_references(int(grid[-1]))
            at, hits = self._first_jump(grid)
            drift_until = grid if at is None else grid[grid <= at]
            drifts = self._drifts(drift_until)
            if drifts and (at is None or drifts[0][0] < at):
                at, found = drifts[0][0], [d for d in drifts if d[0] == drifts[0][0]]
                changes += [change for _, change in found]
                self._apply([change for _, change in found], at)
            elif at is not None:
                changes += hits
                self._apply(hits, at)
            else:
                break
            grid = grid[grid > at]
        return changes

    @staticmethod
    def _filled(values: NDArray[np.float64]) -> NDArray[np.float64]:
        rows = np.where(np.isnan(values), 0, np.arange(len(values))[:, None])
        return np.take_along_axis(values, np.maximum.accumulate(rows, axis=0), axis=0)

    def _apply(self, changes: list[Change], at: int) -> None:
        for change in changes:
            if change.kind == "settled":
                self._drifting[change.layer] = False
            if change.kind == "drift":
                self._drifting[change.layer] = True
            self._origin[change.layer] = at
            self._reference[:, change.layer] = np.nan

    def _take_references(self, last: int) -> None:
        due = np.flatnonzero(np.isnan(self._reference[0]) & (self._origin + _REFERENCE <= last))
        for layer in due:
            origin = int(self._origin[layer])
            ends = self._sums.at(np.array([origin, origin + _REFERENCE]))
            self._reference[:, layer] = ends[1, :, layer] - ends[0, :, layer]

    def _scores(
        self, recent: NDArray[np.float64], w: int, reference: NDArray[np.float64], n: NDArray[np.int64] | int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """g and its error from sums of x, x², x·x₋₁: arrays [..., 3, L]."""
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = reference[..., 0, :] / n
            variance = np.maximum(reference[..., 1, :] / n - mean**2, 0.0)
            colour = np.clip((reference[..., 2, :] / n - mean**2) / variance, 0.0, 0.98)
            g = np.log(recent[..., 0, :] / w / mean)
            se = np.sqrt(variance / mean**2 * (1 + colour) / (1 - colour) * (1 / w + 1 / n))
        return g, np.maximum(se, 1e-6)

    def _first_jump(self, grid: NDArray[np.int64]) -> tuple[int | None, list[Change]]:
        s = self._settings
        looks: dict[int, dict[int, tuple[float, int, float, float]]] = {}
        for w in WINDOWS:
            ends = grid[(grid % (w // 4) == 0) & (grid >= 3 * w)]
            if not ends.size:
                continue
            now, middle = self._sums.at(ends), self._sums.at(ends - w)
            begin = np.maximum((ends - 5 * w)[:, None], self._origin)
            begin = np.minimum(begin, (ends - w)[:, None])
            n = (ends - w)[:, None] - begin
            g, se = self._scores(now - middle, w, middle - self._sums.at_columns(begin), n)
            with np.errstate(invalid="ignore"):
                z = g / se
                hit = (np.abs(z) > s.temperature_z) & (np.abs(g) > math.log(s.temperature_ratio)) & (n >= 2 * w)
            for row, layer in zip(*np.nonzero(hit), strict=True):
                best = looks.setdefault(int(ends[row]), {})
                if abs(z[row, layer]) > abs(best.get(int(layer), (0.0,))[0]):
                    mean_now = float((now - middle)[row, 0, layer]) / w
                    best[int(layer)] = (float(z[row, layer]), w, mean_now / math.exp(g[row, layer]), mean_now)
        for at in sorted(looks):
            p_values = np.ones(self._layers)
            for layer, (score, *_) in looks[at].items():
                p_values[layer] = two_sided_p(score)
            # The level of one look is what `temperature_z` allows a single layer.
            accepted = benjamini_hochberg(p_values, two_sided_p(s.temperature_z))
            hits = []
            for layer in np.flatnonzero(accepted):
                score, w, mean_before, mean_now = looks[at][int(layer)]
                start, end = self._sums.boundary(at - w), self._sums.boundary(at)
                hits.append(
                    Change("jump", int(layer), start, end, mean_before, mean_now, score, float(p_values[layer]))
                )
            if hits:
                return at, hits
        return None, []

    def _drifts(self, grid: NDArray[np.int64]) -> list[tuple[int, Change]]:
        s = self._settings
        ends = grid[(grid % 64 == 0) & (grid >= _REFERENCE + _LATE)]
        if not ends.size:
            return []
        recent = self._sums.at(ends) - self._sums.at(ends - _LATE)
        g, se = self._scores(recent, _LATE, self._reference, _REFERENCE)
        with np.errstate(invalid="ignore"):
            ready = ends[:, None] - _LATE - _REFERENCE >= self._origin
            z_scores = g / se
            moved = ready & (np.abs(g) > math.log(s.drift_ratio)) & (np.abs(z_scores) > s.temperature_z)
            settled = ready & self._drifting & ~moved
        found = []
        for row, layer in zip(*np.nonzero(moved | settled), strict=True):
            at, column = int(ends[row]), int(layer)
            mean_now = float(recent[row, 0, column]) / _LATE
            kind = "drift" if moved[row, column] else "settled"
            start = self._sums.boundary(int(self._origin[column]))
            score = float(z_scores[row, column])
            before = mean_now / math.exp(float(g[row, column]))
            end = self._sums.boundary(at)
            found.append((at, Change(kind, column, start, end, before, mean_now, score, two_sided_p(score))))
        return sorted(found, key=lambda item: item[0])

    def state_dict(self) -> dict[str, Any]:
        """Arrays."""
        names = ("_previous", "_origin", "_reference", "_drifting")
        return {"sums": self._sums.state_dict()} | {name: getattr(self, name).copy() for name in names}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        for name, value in state.items():
            if name == "sums":
                self._sums.load_state_dict(value)
            else:
                setattr(self, name, np.copy(value))
