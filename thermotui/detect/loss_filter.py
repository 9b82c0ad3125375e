"""The loss, sample by sample: a level, a scale, and the excursions that leave them.

The only sequential part of the detectors: every sample moves the level that judges the next. It splits the loss into
what it expected and what surprised it; the window tests downstream (steps, variance, colour) read that.
"""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thermotui.detect.excursion import Excursion, Filtered
from thermotui.detect.loss_drop import DropWatch
from thermotui.detect.settings import Settings

_LEVEL_GAIN = 0.03
_FIRST_GAIN = 0.3
_MEDIAN_ABSOLUTE = 0.6745
SCALE_FLOOR = 5e-4
_SLOPE_PER_GAIN = 0.3
_PART = 16
_ASTRAY = 8  # consecutive errors beyond the clip that mean that the level has lost the curve
_BIAS_GAIN = 0.05
_FAST_GAIN = 0.06
_FAST_LAG = (1 - _FAST_GAIN) / _FAST_GAIN
_LINEAR_SCATTER = 0.1  # relative scatter above which an excess is judged by its logarithm
_TALL = 0.3  # share of an excursion's height that its samples must reach to count
_EXTRAPOLATED = 64
_ROUNDING = 1e-12
_YOUNG = 90  # samples over which the gain falls to its usual value


class LossFilter:
    """Tracks the level m and slope b of y with clipped steps, and its scale robustly; see docs/detectors.md.

    Samples must be finite. `floor` is the smallest scale (0 for a linear series).
    """

    def __init__(self, settings: Settings, *, relative: bool) -> None:
        self._settings = settings
        self._relative = relative
        self._floor = SCALE_FLOOR if relative else 0.0
        self._count = 0
        self._first: list[float] = []
        self._level = self._slope = self._fast = 0.0
        self._scale = self._power = 0.0
        self._low = -2.33
        self._bias = 0.0
        self._age = 0
        self._excess = 0.0
        self._peak = self._height = 0.0
        self._peak_at = 0
        self._onset = 0
        self._drop = DropWatch(settings, relative=relative)
        self._tail: list[float] = []
        self._astray = 0
        self._alarm: list[float] = []
        self._alarm_state = ""
        self._alarm_base = self._alarm_scale = self._alarm_score = 0.0
        self._alarm_calm = 0

    def feed(self, y: NDArray[np.float64]) -> Filtered:
        """Filter n finite samples, float64 [n]; any chunking gives the same."""
        self._out_clean: list[float] = []
        self._out_surprise: list[float] = []
        self._out_scale: list[float] = []
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
        self._tail = (self._tail + samples)[-_PART:]
        return Filtered(
            clean=np.array(self._out_clean),
            surprise=np.array(self._out_surprise),
            scale=np.array(self._out_scale),
            calm=np.array(self._out_calm, dtype=np.bool_),
            anchors=tuple(self._out_anchors),
            excursions=tuple(self._out_excursions),
        )

    def _emit(self, clean: float, surprise: float, calm: bool) -> None:
        self._out_clean.append(clean)
        self._out_surprise.append(surprise)
        self._out_scale.append(self._scale)
        self._out_calm.append(calm)

    def _warm_up(self, samples: list[float], i: int) -> int:
        value = samples[i]
        self._first.append(value)
        self._emit(value, 0.0, False)
        if len(self._first) == self._settings.warm_up:
            first = np.array(self._first)
            spread = 1.4826 * float(np.median(np.abs(np.diff(first, 2)))) / math.sqrt(6)
            # A linear series has no natural floor; rounding is one, and an error over no scale at all has no value.
            self._floor = max(self._floor, _ROUNDING * float(np.max(np.abs(first))), sys.float_info.min)
            self._scale = max(spread, self._floor)
            self._power = self._scale * self._scale
            # The slope of the last half, so that a curve almost without noise is not lost before it is found.
            half = len(first) // 4
            self._slope = float(np.median(first[-half:] - first[-2 * half : -half])) / half
            self._level = self._fast = float(np.median(first[-12:])) + 5.5 * self._slope
        return i + 1

    def _track(self, samples: list[float], i: int, base: int) -> int:
        s = self._settings
        level, slope, fast, scale, power = self._level, self._slope, self._fast, self._scale, self._power
        low, bias, age, excess, astray = self._low, self._bias, self._age, self._excess, self._astray
        drop = self._drop
        floor, minor = self._floor, s.minor
        up, down = math.exp(0.013), math.exp(-0.013)
        sqrt = math.sqrt
        usual_gain, usual_trend = _LEVEL_GAIN, _SLOPE_PER_GAIN * _LEVEL_GAIN**2
        bias_gain, fast_gain, median = _BIAS_GAIN, _FAST_GAIN, _MEDIAN_ABSOLUTE
        clean, surprise, scales, calm = self._out_clean, self._out_surprise, self._out_scale, self._out_calm
        quiet = False
        for index in range(i, len(samples)):
            y = samples[index]
            expected = level + slope
            step = error = y - expected
            gain, trend, clip = usual_gain, usual_trend, 2.5 * scale
            tail = low / -2.33
            spread = scale * (1.0 if tail < 1.0 else 2.0 if tail > 2.0 else tail)
            if spread * spread < power:
                spread = sqrt(power)
            # Nearly every sample: nothing is cut off and nothing under way. The spread is no less than the scale and
            # the reference no less than expected, so that nothing can begin either.
            if not quiet or not -clip < error < clip:
                settling = age < s.settle
                if settling:
                    clip = 6.0 * scale
                if age < _YOUNG:
                    first_gain = max(_LEVEL_GAIN, _FIRST_GAIN - 0.003 * age)
                    age += 1
                    if age < _YOUNG:
                        gain, trend = first_gain, _SLOPE_PER_GAIN * first_gain * first_gain
                if -clip < error < clip:
                    astray = 0
                else:
                    astray += 1
                    if astray >= _ASTRAY and (settling or error > 0.0):
                        # Not noise but a curve that the level lost: take it up again where it is.
                        recent = self._recent(samples, index)
                        slope = (recent[-1] - recent[0]) / (len(recent) - 1)
                        level = fast = y - slope
                        expected, error, astray, excess, bias = y, 0.0, 0, 0.0, 0.0
                step = clip if error > clip else (-clip if error < -clip else error)
                reference = expected if expected > level else level
                # A falling curve leaves its moving average behind by so many samples' worth of slope.
                follow = fast + _FAST_LAG * slope if slope < 0.0 else fast
                if follow > reference:
                    reference = follow
                rise = y - reference
                if excess or rise > 2.5 * spread:
                    z = self._score(rise, spread)
                    if not excess:
                        self._onset, self._peak, self._height = base + index, 0.0, y
                    if z > self._peak:
                        self._peak, self._peak_at, self._height = z, base + index, y
                    # One sample alone needs three times the excess: heavy tails do that, spikes last.
                    excess = max(0.0, excess + (min(z - 2.5, s.single_share * s.spike) if z < s.single else z - 2.5))
                    threshold = s.spike_settling if settling else s.spike
                    alarm = excess > threshold and rise > (s.spike_floor if self._relative else 0.0) and z > 2.5
                    if alarm and settling and y <= max(self._recent(samples, index)[:-1], default=y):
                        # A level that is still being sought is no reference: the loss has just been as high.
                        alarm, excess = False, 0.0
                    if alarm:
                        self._slope = 0.0 if settling else slope
                        self._alarm_base, self._alarm_scale, self._alarm_score = reference, spread, self._peak
                        self._alarm_state = "spike"
                        self._alarm, self._alarm_calm = [], 0
                        self._out_excursions.append(
                            Excursion("loss_spike", self._onset, None, base + index, reference, y, self._peak)
                        )
                        excess = 0.0
                        drop.clear()
                        break
                    if not excess and self._peak > minor and not settling:
                        at = self._peak_at
                        self._out_excursions.append(
                            Excursion("outlier", at, at + 1, base + index, reference, self._height, self._peak)
                        )
                if (drop.under_way or error < -2.5 * spread) and drop.lasts(
                    y, expected, slope, spread, base + index, settling=settling
                ):
                    found = drop.step_down(base + index)
                    if found is not None:
                        self._out_excursions.append(found)
                        self._out_anchors.append(base + index)
                    # Start afresh at the new level.
                    clean.append(y)
                    surprise.append(0.0)
                    scales.append(spread)
                    calm.append(False)
                    self._scale, self._power, self._low = scale, power, low
                    last = self._recent(samples, index)
                    fall = (float(np.median(last[-4:])) - float(np.median(last[-8:-4]))) / 4
                    steep = abs(fall) > scale
                    self._anchor(y if steep else float(np.median(last[-8:])), fall if steep else 0.0)
                    return index + 1
                quiet = age >= _YOUNG and not (settling or excess or astray or drop.under_way)
            level = expected + gain * step
            slope += trend * step
            # The scatter about the running mean of the error: a trend that the level lags behind is no noise.
            centred = error - bias
            bias += bias_gain * (step - bias)
            size = centred if centred >= 0.0 else -centred
            scale *= up if size > median * scale else down
            if scale < floor:
                scale = floor
            square = centred * centred
            power += 0.03 * ((square if square < 9.0 * power else 9.0 * power) - power)
            low += 5e-4
            if error < low * scale:
                low -= 0.05
            if not excess:
                fast += fast_gain * (y - fast)
            clean.append(expected + step)
            surprise.append(centred)
            scales.append(spread)
            calm.append(True)
        else:
            index = len(samples)
        self._astray = astray
        if not self._alarm_state:
            self._slope = slope
        self._level, self._fast, self._scale, self._power = level, fast, scale, power
        self._low, self._age, self._excess, self._bias = low, age, excess, bias
        return index

    def _anchor(self, level: float, slope: float = 0.0) -> None:
        self._level = self._fast = level
        self._slope, self._bias = slope, 0.0
        self._age = self._astray = 0
        self._excess = 0.0
        self._drop.clear()

    def _recent(self, samples: list[float], index: int) -> list[float]:
        """The last 16 samples up to `index`, those of the chunk before included."""
        begin = index + 1 - _PART
        return samples[begin : index + 1] if begin >= 0 else self._tail[begin:] + samples[: index + 1]

    def _follow_alarm(self, samples: list[float], i: int, base: int) -> int:
        s = self._settings
        fall = min(self._slope, 0.0)
        for index in range(i, len(samples)):
            y = samples[index]
            at = base + index
            # A falling curve would have gone on falling for a while.
            expected = self._alarm_base + fall * min(len(self._alarm), _EXTRAPOLATED)
            rise = y - expected
            self._alarm.append(rise)
            self._emit(expected, 0.0, False)
            self._alarm_score = max(self._alarm_score, self._score(rise, self._alarm_scale))
            self._alarm_calm = self._alarm_calm + 1 if rise < s.spike_release * self._alarm_scale else 0
            if self._alarm_calm == s.spike_calm:
                self._returned(at, expected)
                return index + 1
            due = len(self._alarm) >= s.step_after and len(self._alarm) % _PART == 0 and not self._alarm_calm
            if due and self._judge(at, expected):
                return index + 1
        return len(samples)

    def _returned(self, at: int, expected: float) -> None:
        """The loss is back where it was: a spike, an outlier or a divergence is over."""
        end = at + 1 - self._settings.spike_calm
        excess = np.array(self._alarm)
        tall = int(np.count_nonzero(excess > _TALL * excess.max())) + at + 1 - len(self._alarm) - self._onset
        kind = "outlier" if tall <= self._settings.outlier_longest else "loss_spike"
        if self._alarm_state == "divergence":
            kind = "divergence"
        height = self._alarm_base + float(excess.max())
        if end - self._onset > _PART:
            self._out_anchors.append(at)
        self._level = self._fast = expected
        self._finish(Excursion(kind, self._onset, end, at, self._alarm_base, height, self._alarm_score, True))

    def _judge(self, at: int, expected: float) -> bool:
        """Whether the excursion turns out to be a step up or the end of a divergence: the level is set anew."""
        values = np.array(self._alarm[-self._settings.spike_longest :])
        parts = np.median(values[len(values) % _PART :].reshape(-1, _PART), axis=1)
        excess = float(parts[-1])
        recent = expected + excess
        rise = float(parts[-1] - parts[-2])
        before = self._alarm_base
        if self._alarm_state == "divergence":
            if len(parts) >= 4 and float(parts[-2:].mean() - parts[-4:-2].mean()) < self._alarm_scale:
                self._finish(Excursion("divergence", self._onset, at + 1, at, before, recent, self._alarm_score, True))
                self._out_anchors.append(at)
                self._anchor(recent)
                return True
            return False
        # A curve that stopped falling rises above where its fall would have led, and does not rise.
        fallen = min(self._slope, 0.0) * np.diff(
            np.minimum(len(self._alarm) - _PART * np.arange(3)[::-1], _EXTRAPOLATED)
        )
        rising = len(parts) >= 3 and float(np.min(np.diff(parts[-3:]) + fallen)) > 1.2 * self._alarm_scale
        if rising and recent > before + self._alarm_scale:
            self._out_excursions.append(
                Excursion("divergence", self._onset, None, at, before, recent, self._alarm_score, True)
            )
            self._alarm_state = "divergence"
            return False
        flat = abs(rise) < max(self._alarm_scale, 0.15 * excess)
        if flat and excess < _TALL * float(parts.max()):
            # Back, if to a slightly higher level than before.
            values = np.array(self._alarm)
            low = np.flatnonzero(values > _TALL * float(parts.max()))
            end = at + 1 - len(values) + int(low[-1]) + 1
            height = before + float(values.max())
            self._finish(Excursion("loss_spike", self._onset, end, at, before, height, self._alarm_score, True))
            self._out_anchors.append(at)
            self._anchor(recent)
            return True
        stays = flat and excess > 0.7 * float(parts.max())
        if not stays and len(self._alarm) < self._settings.spike_longest:
            return False
        first = at + 1 - len(self._alarm)
        settled = np.flatnonzero(np.array(self._alarm) > excess - self._alarm_scale)
        end = max(first + (int(settled[0]) if settled.size else 0) + 1, self._onset + 1)
        # From where the fall would have led: a falling curve may step up to less than it was.
        self._finish(Excursion("step_up", self._onset, end, at, expected, recent, self._alarm_score, True))
        self._out_anchors.append(at)
        self._anchor(recent)
        return True

    def _score(self, rise: float, scale: float) -> float:
        """The excess in scales: of the loss itself where the scatter is small, of its logarithm where it is large."""
        if not self._relative:
            return rise / scale
        curve = 1.0 / (1.0 + (scale / _LINEAR_SCATTER) ** 2)
        return math.expm1(min(rise * curve, 50.0)) / (curve * scale)

    def settle(self) -> None:
        """The next samples may be at another level: follow fast for a while."""
        self._age = 0

    def _finish(self, excursion: Excursion) -> None:
        self._out_excursions.append(excursion)
        self._alarm_state = ""
        self._alarm = []

    def state_dict(self) -> dict[str, Any]:
        """JSON-able state between two chunks."""
        names = [name for name in vars(self) if not name.startswith("_out_") and name not in ("_settings", "_drop")]
        state = {name: list(v) if isinstance(v := getattr(self, name), list) else v for name in names}
        return state | {"_drop": self._drop.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        for name, value in state.items():
            if name == "_drop":
                self._drop.load_state_dict(value)
            else:
                setattr(self, name, list(value) if isinstance(value, list) else value)
