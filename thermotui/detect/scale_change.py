"""Jumps and drifts of a positive series per layer: the reservoir's temperature, or the size of the loss noise."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thermotui.detect.change import Change
from thermotui.detect.change_shape import jump_or_ramp, split_of_samples, split_of_sums
from thermotui.detect.multiple_testing import benjamini_hochberg, two_sided_p
from thermotui.detect.prefix import GRID, PrefixSums
from thermotui.detect.scale_scores import agreed, far_off, normal, scores
from thermotui.detect.settings import Settings

WINDOWS = (24, 32, 48, 64, 128, 256)
_FINE_WINDOWS = (24, 32, 40, 48, 56, 64, 80, 96, 128, 256)
_FINE_GRID = 4
_REFERENCE = 512
_LATE = 256
_BLOCK = 2048  # samples looked at together
_WITNESS_BLOCK = 8192  # the same for few columns, where a look costs more than its samples
_WIDTH = 32  # samples of the blocks whose means tell the slow scatter
_AFTER_JUMP = (128, 256, 512, 1024)  # samples after which a jump is looked at again
_CONTINUED = 3.0
_CONTINUED_RATIO = 1.2
_USUAL_SCATTER = 0.6  # of the absolute value of normal noise
_RAW = 1536  # samples kept to date a jump exactly
_LARGEST = float(np.finfo(np.float32).max)  # of the samples kept
_AROUND = 64
_FEWEST = 8  # blocks that tell a scatter at all
_LONG = 1024  # samples that such blocks are taken from
_LONGER = 4096  # the same, to remember clusters of large sizes through a calm
_CAUTION = 1.0  # more of z, by so many times one over the root of the number of blocks


class ScaleChange:
    """g = ln(mean over the last w / mean over up to 512 or 8w before), against its error from the reference's scatter.

    witnesses: the series are not layers but the size of a noise, that of its differences and its absolute size, of
    which the others only bear out what the first shows; they are looked at more often, at `noise_z`.

    se² is (1/w + 1/n) times the larger of the reference's white part and what the means of blocks scatter by; before
    there are enough blocks, times cv² (1 + r)/(1 − r), with r the lag-1 autocorrelation. Falls are judged as
    3(∛ratio − 1), see `normal`. A jump is |g| > z se and |g| > ln `temperature_ratio`, with Benjamini–Hochberg across
    layers. A drift is the last 256 samples against the first 512 of the interval, |g| > ln `drift_ratio`. After a jump
    the interval begins anew.
    """

    def __init__(self, layers: int, settings: Settings, *, witnesses: bool = False) -> None:
        self._witnesses = witnesses
        self._z = settings.noise_z if witnesses else settings.temperature_z
        self._windows: tuple[int, ...] = _FINE_WINDOWS if witnesses else WINDOWS
        self._grid = _FINE_GRID if witnesses else GRID
        self._fewest = _FEWEST * _WIDTH if witnesses else 0
        self._block = _WITNESS_BLOCK if witnesses else _BLOCK
        self._blocks = PrefixSums((2, layers), (_LONGER + 2 * WINDOWS[-1]) // _WIDTH, grid=1)
        self._settings = settings
        self._layers = layers
        self._sums = PrefixSums((3, layers), 9 * WINDOWS[-1] + 2 * GRID, self._grid)
        self._previous = np.full(layers, np.nan)
        self._raw = np.zeros((0, layers), dtype=np.float32)
        self._raw_steps = np.zeros(0, dtype=np.int64)
        self._last_block = np.full(layers, np.nan)
        self._origin = np.zeros(layers, dtype=np.int64)
        self._reference = np.full((3, layers), np.nan)
        self._drifting = np.zeros(layers, dtype=np.bool_)
        self._jumped: dict[int, tuple[int, float, float]] = {}

    def feed(self, values: NDArray[np.float64], steps: NDArray[np.int64]) -> list[Change]:
        """Look at n more measurements, float64 [n, L]; what is not finite stands for the measurement before it."""
        # One infinity would stay in the running sums, whose differences would be NaN for the rest of the run.
        values = np.where(np.isfinite(values), values, np.nan)
        changes: list[Change] = []
        position = 0
        while position < len(values):
            # Blocks end at multiples of a fixed number of samples, whatever the chunking.
            take = min(len(values) - position, self._block - self._sums.count % self._block)
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
            self._origin = np.where(missing[0], -(-begin // self._grid) * self._grid, self._origin)
        columns = np.empty((len(values), 3, self._layers))
        columns[:, 0] = values
        np.multiply(values, values, out=columns[:, 1])
        np.multiply(before[:-1], values, out=columns[:, 2])
        if not np.isfinite(columns).all():
            columns = np.nan_to_num(columns, nan=0.0)
        grid = self._sums.feed(columns, steps)
        self._raw = np.concatenate([self._raw, np.minimum(values, _LARGEST).astype(np.float32)])
        self._raw_steps = np.concatenate([self._raw_steps, steps])
        wide = grid[grid % _WIDTH == 0]
        if wide.size:
            means = (self._sums.at(wide)[:, 0] - self._sums.at(wide - _WIDTH)[:, 0]) / _WIDTH
            steps_between = np.diff(np.vstack([self._last_block, means]), axis=0)
            self._last_block = means[-1]
            self._blocks.feed(np.stack([means, np.nan_to_num(steps_between) ** 2], axis=1), wide)
        changes: list[Change] = []
        while grid.size:
            self._take_references(int(grid[-1]))
            at, found = self._first_jump(grid)
            until = grid if at is None else grid[grid <= at]
            for others in (self._continuations(until), self._drifts(until)):
                if others and (at is None or others[0][0] < at):
                    at = others[0][0]
                    found = [change for when, change in others if when == at]
            if at is None:
                break
            changes += found
            self._apply(found, at)
            grid = grid[grid > at]
        self._raw, self._raw_steps = self._raw[-_RAW:].copy(), self._raw_steps[-_RAW:].copy()
        return changes

    @staticmethod
    def _filled(values: NDArray[np.float64]) -> NDArray[np.float64]:
        rows = np.where(np.isnan(values), 0, np.arange(len(values))[:, None])
        return np.take_along_axis(values, np.maximum.accumulate(rows, axis=0), axis=0)

    def _apply(self, changes: list[Change], at: int) -> None:
        for change in changes:
            if change.kind == "settled":
                self._drifting[change.layer] = False
            if change.kind in ("drift", "continued"):
                self._drifting[change.layer] = True
                self._jumped.pop(change.layer, None)
            if change.kind == "jump":
                self._jumped[change.layer] = (at, change.before, change.after)
            layers = slice(None) if self._witnesses else change.layer
            self._origin[layers] = at
            self._reference[:, layers] = np.nan

    def _take_references(self, last: int) -> None:
        due = np.flatnonzero(np.isnan(self._reference[0]) & (self._origin + _REFERENCE <= last))
        for layer in due:
            origin = int(self._origin[layer])
            ends = self._sums.at(np.array([origin, origin + _REFERENCE]))
            self._reference[:, layer] = ends[1, :, layer] - ends[0, :, layer]

    def _scatter(self, until: NDArray[np.int64], samples: int = _LONG) -> NDArray[np.float64]:
        """Squared relative error of one sample's worth of mean, by differences of block means before `until`, [n, L].

        Neighbouring blocks, so that neither a drift nor a jump in the reference passes for scatter.
        """
        end = np.broadcast_to((until // _WIDTH)[:, None], (len(until), self._layers))
        begin = np.maximum(-(-self._origin // _WIDTH)[None, :], end - samples // _WIDTH)
        begin = np.minimum(np.maximum(begin, self._blocks.first), end)
        count = end - begin
        sums = self._blocks.at_columns(end) - self._blocks.at_columns(begin)
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = sums[:, 0] / count
            # Few blocks tell their own scatter badly: widen it.
            relative = _WIDTH * sums[:, 1] / (2 * count) / mean**2 * (1 + 1 / np.sqrt(count))
        return np.where(count >= _FEWEST, relative, np.nan)

    def _first_jump(self, grid: NDArray[np.int64]) -> tuple[int | None, list[Change]]:
        s = self._settings
        looks: dict[int, dict[int, tuple[float, int, float, float]]] = {}
        origin = self._origin[:1] if (self._origin == self._origin[:1]).all() else self._origin
        earliest = max(int(grid[0]) - WINDOWS[-1], 0) // _WIDTH
        scatters: NDArray[np.float64] | None = None
        for w in self._windows:
            ends = grid[(grid % self._stride(w) == 0) & (grid >= 3 * w)]
            if not ends.size:
                continue
            middle = (ends - w)[:, None]
            begin = np.minimum(np.maximum(middle - max(8 * w, 512), origin), middle)
            n = middle - begin
            sums, until, since = (self._sums.first_at_columns(at) for at in (ends[:, None], middle, begin))
            with np.errstate(divide="ignore", invalid="ignore"):
                worth = self._candidates((sums - until) / w, (until - since) / n, s.temperature_ratio)
            if not worth.size:
                continue
            ends, begin, n = ends[worth], begin[worth], n[worth]
            middle = self._sums.at(ends - w)
            recent, reference = self._sums.at(ends) - middle, middle - self._sums.at_columns(begin)
            if scatters is None:
                # The scatter before a sample is that before its block: once for all windows.
                blocks = _WIDTH * np.arange(earliest, int(grid[-1]) // _WIDTH + 1)
                scatters = np.stack([self._scatter(blocks), self._scatter(blocks, _LONGER)])
            g, se = scores(recent, w, reference, n, scatters[:, (ends - w) // _WIDTH - earliest])
            with np.errstate(invalid="ignore"):
                z = normal(g) / se
                hit = (
                    (np.abs(z) > self._required(ends - w)[:, None])
                    & (np.abs(g) > math.log(s.temperature_ratio))
                    & (n >= max(2 * w, self._fewest))
                )
                if self._witnesses and hit.any():
                    hit = agreed(hit, g, recent[:, 0] / w)
            for row, layer in zip(*np.nonzero(hit), strict=True):
                best = looks.setdefault(int(ends[row]), {})
                if abs(z[row, layer]) > abs(best.get(int(layer), (0.0,))[0]):
                    mean_now = float(recent[row, 0, layer]) / w
                    with np.errstate(over="ignore", invalid="ignore"):
                        mean_before = float(mean_now * np.exp(-g[row, layer]))
                    best[int(layer)] = (float(z[row, layer]), w, mean_before, mean_now)
        for at in sorted(looks):
            p_values = np.ones(self._layers)
            for layer, (score, *_) in looks[at].items():
                p_values[layer] = two_sided_p(score)
            # The level of one look is what `temperature_z` allows a single layer.
            accepted = benjamini_hochberg(p_values, two_sided_p(self._z))
            hits = []
            for layer in np.flatnonzero(accepted).tolist():
                score, w, mean_before, mean_now = looks[at][int(layer)]
                kind, begin, _ = self._shape(at, w, int(layer))
                earlier = self._jumped.get(int(layer))
                same_way = earlier is not None and (mean_now - mean_before) * (earlier[2] - earlier[1]) > 0
                if earlier is not None and same_way and at - earlier[0] <= _AFTER_JUMP[-1]:
                    # Two jumps the same way so soon are one drift.
                    kind, mean_before = "continued", earlier[1]
                    _, begin, _ = self._shape(at, WINDOWS[-1], int(layer), since=max(earlier[0] - 4 * WINDOWS[-1], 0))
                if kind == "jump":
                    # The window may still hold samples from before the jump.
                    sums = self._sums.at(np.array([begin, at]))[:, 0, layer]
                    mean_now = float(sums[1] - sums[0]) / (at - begin)
                start = self._exactly(begin, at, layer) if kind == "jump" else self._sums.boundary(begin)
                end = self._sums.boundary(at)
                hits.append(
                    Change(kind, int(layer), start, end, mean_before, mean_now, score, float(p_values[layer]), end)
                )
            if hits:
                return at, hits
        return None, []

    def _candidates(self, recent: NDArray[np.float64], before: NDArray[np.float64], ratio: float) -> NDArray[np.int64]:
        """Which of n looks may show a change by `ratio` at all, by their means [n, L]."""
        far = far_off(recent, before, ratio)
        return np.flatnonzero(far[:, 0] if self._witnesses else far.any(axis=1))

    def _required(self, seen: NDArray[np.int64]) -> NDArray[np.float64]:
        """The z-score asked for when so many samples came before, [n]: more while noise may cluster unheard of."""
        if not self._witnesses:
            return np.full(len(seen), self._z)
        blocks = np.clip(seen // _WIDTH, _FEWEST, _LONGER // _WIDTH)
        return self._z * (1 + _CAUTION * (1 / np.sqrt(blocks) - 1 / math.sqrt(_LONGER // _WIDTH)))

    def _stride(self, w: int) -> int:
        """Samples between two looks at windows of w."""
        return max(w // (8 if self._witnesses else 4) // self._grid, 1) * self._grid

    def _shape(self, at: int, w: int, layer: int, since: int | None = None) -> tuple[str, int, int]:
        """Whether the logarithm of the mean moved at once or along a ramp, by least squares; from when to when."""
        width = max(w // 4 // self._grid * self._grid, self._grid)
        origin = int(self._origin[layer]) if since is None else max(since, self._sums.first)
        blocks = min(20, (at - origin) // width)
        ends = at - width * np.arange(blocks, -1, -1, dtype=np.int64)
        means = np.diff(self._sums.at(ends)[:, 0, layer]) / width
        y = np.log(np.maximum(means, 1e-300))
        kind, begin, finish = jump_or_ramp(y, width)
        if kind == "drift":
            return kind, int(ends[begin]), int(ends[finish])
        split = self._split(int(ends[0]), at, int(ends[begin]), width, layer)
        return kind, split, split

    def _exactly(self, near: int, at: int, layer: int) -> int:
        """The step of the sample within 16 of `near` that best splits the logarithms around it into two means."""
        first = self._sums.count - len(self._raw)
        begin, stop = max(near - _AROUND, first), min(near + _AROUND, at)
        x = self._raw[begin - first : stop - first, layer].astype(float)
        points = np.arange(max(near - 16, begin + 1), min(near + 16, stop - 1) + 1)
        return int(self._raw_steps[begin - first + split_of_samples(x, points - begin)])

    def _split(self, first: int, last: int, near: int, width: int, layer: int) -> int:
        """The grid point within `width` of `near` that best splits [first, last) into two means."""
        points = np.arange(
            max(near - width, first + self._grid), min(near + width, last - self._grid) + 1, self._grid, dtype=np.int64
        )
        sums = self._sums.at(np.concatenate([[first], points, [last]]))[:, 0, layer]
        return int(points[split_of_sums(sums, points, first, last)])

    def _continuations(self, grid: NDArray[np.int64]) -> list[tuple[int, Change]]:
        """Jumps after which the mean went on moving the same way, over the first samples of the new interval."""
        found = []
        for layer, (since, before, after) in list(self._jumped.items()):
            for span in _AFTER_JUMP:
                at = since + span
                if not grid.size or not grid[0] <= at <= grid[-1]:
                    continue
                sums = self._sums.at(np.array([at, at - span // 2]))[:, :, layer]
                mean = float(sums[0, 0] - sums[1, 0]) / (span // 2)
                if not (math.isfinite(mean) and 0.0 < after < math.inf):
                    continue
                g = math.log(max(mean, 1e-300)) - math.log(after)
                relative = float(self._scatter(np.array([since]))[0, layer])
                relative = _USUAL_SCATTER if math.isnan(relative) else relative
                score = g / math.sqrt(relative * (2 / span + 1 / WINDOWS[0]))
                if score * math.copysign(1, after - before) > _CONTINUED and abs(g) > math.log(_CONTINUED_RATIO):
                    _, begin, _ = self._shape(at, WINDOWS[-1], layer, since=max(since - 4 * WINDOWS[-1], 0))
                    start, end = self._sums.boundary(begin), self._sums.boundary(at)
                    p_value = two_sided_p(score)
                    found.append((at, Change("continued", layer, start, end, before, mean, score, p_value, end)))
                    break
            if grid.size and grid[0] > since + _AFTER_JUMP[-1]:
                del self._jumped[layer]
        return sorted(found, key=lambda item: item[0])

    def _drifts(self, grid: NDArray[np.int64]) -> list[tuple[int, Change]]:
        s = self._settings
        ends = grid[(grid % 64 == 0) & (grid >= _REFERENCE + _LATE)]
        recent = self._sums.at(ends) - self._sums.at(ends - _LATE)
        if not self._drifting.any():
            worth = self._candidates(recent[:, 0] / _LATE, self._reference[0] / _REFERENCE, s.drift_ratio)
            ends, recent = ends[worth], recent[worth]
        if not ends.size:
            return []
        scatter = np.stack([self._scatter(ends - _LATE), self._scatter(ends - _LATE, _LONGER)])
        g, se = scores(recent, _LATE, self._reference, _REFERENCE, scatter)
        with np.errstate(invalid="ignore"):
            ready = ends[:, None] - _LATE - _REFERENCE >= self._origin
            z_scores = normal(g) / se
            moved = ready & (np.abs(g) > math.log(s.drift_ratio)) & (np.abs(z_scores) > self._z)
            if self._witnesses:
                moved = agreed(moved, g, recent[:, 0] / _LATE)
            settled = ready & self._drifting & ~moved
        found = []
        for row, layer in zip(*np.nonzero(moved | settled), strict=True):
            at, column = int(ends[row]), int(layer)
            mean_now = float(recent[row, 0, column]) / _LATE
            if moved[row, column]:
                kind, begin, _ = self._shape(at, WINDOWS[-1], column)
                finish = at
            else:
                # What came before and what came after tell together when the drift was over.
                kind = "settled"
                _, _, finish = self._shape(at, WINDOWS[-1], column, since=max(at - 5 * WINDOWS[-1], 0))
                begin = finish
            start = self._sums.boundary(begin)
            score = float(z_scores[row, column])
            before = mean_now / math.exp(float(g[row, column]))
            end = self._sums.boundary(finish)
            found.append(
                (
                    at,
                    Change(
                        kind, column, start, end, before, mean_now, score, two_sided_p(score), self._sums.boundary(at)
                    ),
                )
            )
        return sorted(found, key=lambda item: item[0])

    def state_dict(self) -> dict[str, Any]:
        """Arrays."""
        names = ("_previous", "_raw", "_raw_steps", "_last_block", "_origin", "_reference", "_drifting")
        return {
            "sums": self._sums.state_dict(),
            "blocks": self._blocks.state_dict(),
            "jumped": [[layer, *jump] for layer, jump in self._jumped.items()],
        } | {name: getattr(self, name).copy() for name in names}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        for name, value in state.items():
            if name == "jumped":
                self._jumped = {int(layer): (int(at), float(a), float(b)) for layer, at, a, b in value}
            elif name in ("sums", "blocks"):
                getattr(self, f"_{name}").load_state_dict(value)
            else:
                setattr(self, name, np.copy(value))
