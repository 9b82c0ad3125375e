"""The loss, sample by sample: a level, a scale, and the excursions that leave them.

The only sequential part of the detectors: every sample moves the level that judges the next. It splits the loss into
what it expected and what surprised it; the window tests downstream (steps, variance, colour) read that.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thermotui.detect.settings import Settings

_LEVEL_GAIN = 0.03
_FIRST_GAIN = 0.3
_MEDIAN_ABSOLUTE = 0.6745
_SCALE_FLOOR = 5e-4
_SLOPE_PER_GAIN = 0.3
_ANCHOR = 48


@dataclass(frozen=True)
class Excursion:
    """One excursion of the loss, as samples [start, end) counted from the first; `end` None while it lasts.

    `at`: the sample that showed it. `before`, `after`: level of y before, and at its height or afterwards.
    `score`: the excess in scales. `first`: kind under which the same excursion was announced before, if any.
    """

    kind: str
    start: int
    end: int | None
    at: int
    before: float
    after: float
    score: float
    announced: bool = False


@dataclass(frozen=True)
class Filtered:
    """What `LossFilter.feed` makes of n samples.

    clean: float64 [n], the level with at most 2.5 scales of surprise. surprise: float64 [n], y minus what was expected.
    calm: bool [n], False where an excursion froze the level. anchors: samples at which the level was set anew.
    """

    clean: NDArray[np.float64]
    surprise: NDArray[np.float64]
    calm: NDArray[np.bool_]
    anchors: tuple[int, ...]
    excursions: tuple[Excursion, ...]


class LossFilter:
    """Tracks the level m and slope b of y with clipped steps, and its scale robustly; see docs/detectors.md.

    Samples must be finite. `floor` is the smallest scale (0 for a linear series).
    """

    def __init__(self, settings: Settings, *, relative: bool) -> None:
        self._settings = settings
        self._relative = relative
        self._floor = _SCALE_FLOOR if relative else 0.0
        self._count = 0
        self._first: list[float] = []
        self._level = self._slope = self._fast = 0.0
        self._scale = self._power = 0.0
        self._low = -2.33
        self._age = 0
        self._excess = self._deficit = 0.0
        self._onset = self._drop_onset = 0
        self._drop: list[float] = []
        self._drop_base = 0.0
        self._alarm: list[float] = []
        self._alarm_state = ""
        self._alarm_base = self._alarm_scale = self._alarm_score = 0.0
        self._alarm_calm = 0
        self._recent: list[float] = []

    def feed(self, y: NDArray[np.float64]) -> Filtered:
        """Filter n finite samples, float64 [n]; any chunking gives the same."""
        self._out_clean: list[float] = []
        self._out_surprise: list[float] = []
        self._out_calm: list[bool] = []
        self._out_anchors: list[int] = []
        self._out_excursions: list[Excursion] = []
        samples: list[float] = y.tolist()
        i, n = 0, len(samples)
        base = self._count
        while i < n:
            if len(self._first) < self._settings.warm_up:
                i = self._warm_up(samples, i)
            elif self._alarm_state:
                i = self._follow_alarm(samples, i, base)
            else:
                i = self._track(samples, i, base)
        self._count = base + n
        return Filtered(
            np.array(self._out_clean), np.array(self._out_surprise), np.array(self._out_calm, dtype=np.bool_),
            tuple(self._out_anchors), tuple(self._out_excursions),
        )  # fmt: skip

    def _emit(self, clean: float, surprise: float, calm: bool) -> None:
        self._out_clean.append(clean)
        self._out_surprise.append(surprise)
        self._out_calm.append(calm)

    def _warm_up(self, samples: list[float], i: int) -> int:
        value = samples[i]
        self._first.append(value)
        self._emit(value, 0.0, False)
        if len(self._first) == self._settings.warm_up:
            first = np.array(self._first)
            spread = 1.4826 * float(np.median(np.abs(np.diff(first, 2)))) / math.sqrt(6)
            self._scale = max(spread, self._floor)
            self._power = self._scale**2
            self._level = self._fast = float(np.median(first[-12:]))
        return i + 1

    def _track(self, samples: list[float], i: int, base: int) -> int:
        s = self._settings
        level, slope, fast, scale, power = self._level, self._slope, self._fast, self._scale, self._power
        low, age, excess, deficit = self._low, self._age, self._excess, self._deficit
        floor, minor = self._floor, s.minor
        up, down = math.exp(0.013), math.exp(-0.013)
        sqrt = math.sqrt
        clean, surprise, calm = self._out_clean, self._out_surprise, self._out_calm
        for index in range(i, len(samples)):
            y = samples[index]
            expected = level + slope
            error = y - expected
            settling = age < s.settle
            if age < 90:
                gain = max(_LEVEL_GAIN, _FIRST_GAIN - 0.003 * age)
                trend = _SLOPE_PER_GAIN * gain * gain
                age += 1
            clip = (6.0 if settling else 2.5) * scale
            step = clip if error > clip else (-clip if error < -clip else error)
            tail = low / -2.33
            spread = scale * (1.0 if tail < 1.0 else 2.0 if tail > 2.0 else tail)
            if spread * spread < power:
                spread = sqrt(power)
            reference = expected if expected > level else level
            if fast > reference:
                reference = fast
            rise = y - reference
            if excess or rise > 2.5 * spread:
                linear = math.expm1(min(rise, 50.0)) if self._relative else rise
                if not excess:
                    self._onset = base + index
                excess = max(0.0, excess + linear / spread - 2.5)
                if excess > (s.spike_settling if settling else s.spike) and rise > (
                    s.spike_floor if self._relative else 0.0
                ):
                    self._alarm_base, self._alarm_scale, self._alarm_score = reference, spread, excess
                    self._alarm_state = "spike"
                    self._alarm, self._alarm_calm = [], 0
                    self._out_excursions.append(
                        Excursion("loss_spike", self._onset, None, base + index, reference, y, rise / spread)
                    )
                    excess = deficit = 0.0
                    self._drop = []
                    break
                if rise > minor * spread and not settling:
                    self._out_excursions.append(
                        Excursion("minor", base + index, base + index + 1, base + index, reference, y, rise / spread)
                    )
            if self._drop or deficit or error < -2.5 * spread:
                deficit = self._watch_drop(y, error, spread, deficit, expected, base + index, settling)
                if deficit < 0.0:
                    # A sudden drop is confirmed: start afresh at the new level.
                    clean.append(y)
                    surprise.append(0.0)
                    calm.append(False)
                    self._scale, self._power = scale, power
                    self._anchor(float(np.median(self._drop[-8:])), base + index)
                    self._drop = []
                    return index + 1
            level = expected + gain * step if age < 90 else expected + _LEVEL_GAIN * step
            slope += (trend if age < 90 else _SLOPE_PER_GAIN * _LEVEL_GAIN**2) * step
            size = error if error >= 0.0 else -error
            scale *= up if size > _MEDIAN_ABSOLUTE * scale else down
            if scale < floor:
                scale = floor
            square = error * error
            power += 0.03 * ((square if square < 9.0 * power else 9.0 * power) - power)
            low += 5e-4
            if error < low * scale:
                low -= 0.05
            fast += 0.06 * (y - fast) if not excess else 0.0
            clean.append(expected + step)
            surprise.append(error)
            calm.append(True)
        else:
            index = len(samples)
        self._level, self._slope, self._fast, self._scale, self._power = level, slope, fast, scale, power
        self._low, self._age, self._excess, self._deficit = low, age, excess, deficit
        return index

    def _watch_drop(
        self, y: float, error: float, spread: float, deficit: float, expected: float, at: int, settling: bool
    ) -> float:
        """Accumulate the deficit; −1 says that a sudden drop is confirmed."""
        s = self._settings
        if self._drop:
            self._drop.append(y)
            if len(self._drop) < s.drop_confirm:
                return deficit
            below = sum(value < self._drop_base for value in self._drop)
            if below >= 0.8 * len(self._drop):
                after = float(np.median(self._drop[-8:]))
                self._out_excursions.append(
                    Excursion("step_down", self._drop_onset, at + 1, at, self._drop_base, after, deficit)
                )
                return -1.0
            self._drop = []
            return 0.0
        if not deficit:
            self._drop_onset = at
        deficit = max(0.0, deficit - error / spread - 2.5)
        if deficit > s.drop and not settling and -error > (s.spike_floor if self._relative else 0.0):
            self._drop = [y]
            self._drop_base = expected - 2.5 * spread
        return deficit

    def _anchor(self, level: float, at: int) -> None:
        self._level = self._fast = level
        self._slope = 0.0
        self._age = 0
        self._excess = self._deficit = 0.0
        self._out_anchors.append(at)

    def _follow_alarm(self, samples: list[float], i: int, base: int) -> int:
        s = self._settings
        for index in range(i, len(samples)):
            y = samples[index]
            at = base + index
            self._alarm.append(y)
            self._emit(self._alarm_base, 0.0, False)
            if self._alarm_state == "divergence":
                if len(self._alarm) == 2 * _ANCHOR:
                    earlier, later = (float(np.median(part)) for part in np.split(np.array(self._alarm), 2))
                    if later - earlier > 3 * self._alarm_scale:
                        self._alarm = self._alarm[_ANCHOR:]
                        continue
                    self._finish(Excursion("divergence", self._onset, at + 1, at, self._alarm_base, later, 0.0, True))
                    self._anchor(later, at)
                    return index + 1
                continue
            z = (y - self._alarm_base) / self._alarm_scale
            self._alarm_score = max(self._alarm_score, z)
            self._alarm_calm = self._alarm_calm + 1 if z < s.spike_release else 0
            if self._alarm_calm == s.spike_calm:
                end = at + 1 - s.spike_calm
                kind = "outlier" if end - self._onset <= s.outlier_longest else "loss_spike"
                height = max(self._alarm)
                self._finish(Excursion(kind, self._onset, end, at, self._alarm_base, height, self._alarm_score, True))
                return index + 1
            if len(self._alarm) == s.spike_longest:
                self._stays_up(at)
                return index + 1
        return len(samples)

    def _finish(self, excursion: Excursion) -> None:
        self._out_excursions.append(excursion)
        self._alarm_state = ""
        self._alarm = []

    def _stays_up(self, at: int) -> None:
        tail = np.array(self._alarm[-3 * _ANCHOR :])
        medians = [float(np.median(part)) for part in np.array_split(tail, 3)]
        before = self._alarm_base
        rising = medians[1] - medians[0] > 3 * self._alarm_scale and medians[2] - medians[1] > 3 * self._alarm_scale
        if rising:
            self._out_excursions.append(
                Excursion("divergence", self._onset, None, at, before, medians[2], self._alarm_score, True)
            )
            self._alarm_state = "divergence"
            self._alarm = self._alarm[-_ANCHOR:]
            return
        settled = np.flatnonzero(np.array(self._alarm) > medians[2] - self._alarm_scale)
        end = at + 1 - len(self._alarm) + (int(settled[0]) if settled.size else 0) + 1
        end = max(end, self._onset + 1)
        self._finish(Excursion("step_up", self._onset, end, at, before, medians[2], self._alarm_score, True))
        self._anchor(medians[2], at)

    def state_dict(self) -> dict[str, Any]:
        """JSON-able state between two chunks."""
        names = [name for name in vars(self) if not name.startswith("_out_") and name not in ("_settings",)]
        return {name: list(v) if isinstance(v := getattr(self, name), list) else v for name in names}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        for name, value in state.items():
            setattr(self, name, list(value) if isinstance(value, list) else value)
