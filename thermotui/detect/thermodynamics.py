"""The laws that the rows of `thermo` must keep, whatever the detectors of the loss say."""

from __future__ import annotations

import math
from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thermotui.detect.alert import Severity
from thermotui.detect.book import AlertBook
from thermotui.detect.multiple_testing import two_sided_p
from thermotui.detect.settings import Settings

_MEMORY = 64
_ROUNDING = 1e-12
_RELEASE_ROWS = 8

_STUCK = 0.9
_MOVING = 0.8
"""Correlation of the chains over a transition, mean of 4 rows, above which they have not relaxed, and below which they
have again: at 0.9 a chain needs some twenty transitions for one independent sample."""

_PARTITION_GAP = 0.1
"""Nats by which the two checks of ln Z may differ whatever their errors."""


class ThermodynamicRules:
    """Streams the rows of `thermo` through the laws.

    `thermo` holds running totals and their standard errors, not those of the increments. The error of an increment is
    taken as the largest of √|se_t² − se_{t−1}²|, right for independent increments, and the robust scatter (1.4826 ×
    median absolute deviation) of the last 64 increments, which covers totals over the same samples. A single
    increment beyond `standard_errors` is minor, since among many some must be; beyond 5, or 4 of the last 64, it is
    critical.
    """

    def __init__(self, ensemble: int, settings: Settings, book: AlertBook) -> None:
        self._ensemble = ensemble
        self._settings = settings
        self._book = book
        self._last: dict[str, float] = {}
        self._increments: dict[str, deque[float]] = {}
        self._offences: dict[str, deque[int]] = {}
        self._kept: dict[str, int] = {}
        self._l_info_start = math.nan
        self._samples: deque[float] = deque(maxlen=32)
        self._work_pairs: deque[tuple[float, float]] = deque(maxlen=16)
        self._relaxations: deque[float] = deque(maxlen=4)
        self._checks_apart = ""

    def feed(self, rows: NDArray[np.void]) -> None:
        """Look at rows of `thermo`; the book gets the alerts."""
        names = rows.dtype.names or ()
        for values in zip(*(rows[name].tolist() for name in names), strict=True):
            self._row(dict(zip(names, values, strict=True)))

    def _row(self, row: dict[str, float]) -> None:
        step = int(row["step"])
        self._second_law(step, row)
        self._first_law(step, row)
        self._information(step, row)
        self._sampler(step, row)
        self._last = row

    def _verdict(self, kind: str, step: int, score: float, message: str, offence: bool) -> None:
        """Open, keep or close the alert of a law by one row's verdict."""
        offences = self._offences.setdefault(kind, deque(maxlen=_MEMORY))
        offences.append(int(offence))
        lasting = self._book.latest(kind)
        if lasting is not None and lasting.end is not None:
            lasting = None
        if offence:
            grave = score > 5 or sum(offences) >= 4
            begin = int(self._last.get("step", step)) if kind == "second_law_violation" else step
            self._book.open(
                kind, begin, step, "critical" if grave else "minor", message, p_value=two_sided_p(score) / 2
            )
            self._kept[kind] = 0
        elif lasting is not None:
            self._kept[kind] = self._kept.get(kind, 0) + 1
            if self._kept[kind] == 1:
                self._offences.setdefault(f"{kind} end", deque(maxlen=1)).append(step)
            if self._kept[kind] >= _RELEASE_ROWS:
                self._book.close(lasting, self._offences[f"{kind} end"][0])

    def _second_law(self, step: int, row: dict[str, float]) -> None:
        if not self._last:
            return
        worst: tuple[float, float, float, str] | None = None
        for name in ("ep_conditional", "work"):
            value, error = row.get(name, math.nan), row.get(f"{name}_se", math.nan)
            increment = value - self._last.get(name, math.nan)
            if math.isnan(increment):
                continue
            past = self._increments.setdefault(name, deque(maxlen=_MEMORY))
            now, before = _number(error), _number(self._last.get(f"{name}_se", 0.0))
            # The difference of the squares; a power of Python's raises an error where a product is infinite.
            independent = math.sqrt(abs((now - before) * (now + before)))
            scatter = 0.0
            if error > 0.0 and len(past) >= 8:
                history = np.array(past)
                scatter = 1.4826 * float(np.median(np.abs(history - np.median(history))))
            rounding = _ROUNDING * max(1.0, abs(value))
            se = max(independent, scatter, rounding)
            past.append(increment)
            if worst is None or -increment / se > worst[0]:
                worst = (-increment / se, increment, se, name)
        if worst is None:
            return
        score, increment, se, name = worst
        words = {"ep_conditional": "conditional entropy production", "work": "work"}[name]
        message = f"{words} fell by {-increment:.3g} nats at step {step:,}, {score:.1f} standard errors of {se:.2g}"
        self._verdict("second_law_violation", step, score, message, score > self._settings.standard_errors)

    def _first_law(self, step: int, row: dict[str, float]) -> None:
        residual, error = row.get("first_law_residual", math.nan), row.get("first_law_residual_se", math.nan)
        if math.isnan(residual):
            return
        rounding = _ROUNDING * max(1.0, abs(row["work"]) + abs(row["heat"]))
        se = max(_number(error), rounding)
        score = abs(residual) / se
        message = (
            f"W + Q differs from ΔS by {residual:.3g} nats at step {step:,}, {score:.1f} standard errors of {se:.2g}"
        )
        self._verdict("first_law_residual", step, score, message, score > self._settings.standard_errors)

    def _information(self, step: int, row: dict[str, float]) -> None:
        lower, error = row.get("l_info_lower", math.nan), _number(row.get("l_info_lower_se", 0.0))
        if math.isnan(lower):
            return
        if math.isnan(self._l_info_start):
            self._l_info_start = lower
        limit = math.log(self._ensemble) if self._ensemble > 1 else math.nan
        share = lower / limit if limit else math.nan
        self._level(
            "l_info_saturated", step, share > self._settings.saturation, share < self._settings.saturation - 0.05,
            f"the lower bound of L-info, {lower:.3g} nats, is {100 * share:.0f} % of ln {self._ensemble}: "
            "the ensemble is too small",
        )  # fmt: skip
        gain, m_info = lower - self._l_info_start, row.get("m_info", math.nan)
        if math.isnan(m_info):
            return
        se = max(math.hypot(error, _number(row.get("m_info_se", 0.0))), _ROUNDING * max(1.0, abs(m_info)))
        below = (gain - m_info) / se
        self._level(
            "m_info_below_l_info", step, below > self._settings.standard_errors, below <= 0,
            f"M-info {m_info:.3g} nats is below the L-info gained, {gain:.3g} nats, by {below:.1f} standard errors",
        )  # fmt: skip

    def _level(self, kind: str, step: int, on: bool, off: bool, message: str, severity: Severity = "minor") -> None:
        lasting = self._book.latest(kind)
        if lasting is not None and lasting.end is None:
            if off:
                self._book.close(lasting, step)
        elif on:
            self._book.open(kind, step, step, severity, message)

    def _sampler(self, step: int, row: dict[str, float]) -> None:
        reasons = []
        work, second = row.get("work", math.nan), row.get("work_half_variance", math.nan)
        if not math.isnan(second) and self._last:
            self._work_pairs.append((work - self._last["work"], second - self._last["work_half_variance"]))
        if len(self._work_pairs) == 16 and not math.isnan(second):
            first, other = np.array(self._work_pairs).T
            # A log is not trusted input: infinities of both signs give NaN, and no comparison with it holds.
            with np.errstate(invalid="ignore"):
                difference = first - other
                gap, size = abs(float(difference.sum())), max(abs(float(first.sum())), abs(float(other.sum())))
                se = float(np.std(difference, ddof=1)) * math.sqrt(len(difference))
            if gap > self._settings.sampler_disagreement * size and gap > 5 * se and gap > _ROUNDING:
                reasons.append(
                    f"two estimates of the last 16 works, {first.sum():.3g} and {other.sum():.3g} nats, disagree"
                )
        relaxation = row.get("relaxation", math.nan)
        broken = self._book.latest("second_law_violation")
        if not math.isnan(relaxation) and broken is not None and broken.end is None and broken.severity == "critical":
            reasons.append("the chains break the second law")
        self._relaxations.append(relaxation)
        level = sum(self._relaxations) / 4 if len(self._relaxations) == 4 else math.nan
        lasting = self._book.latest("sampler_not_equilibrated")
        stuck = lasting is not None and lasting.end is None
        if level > (_MOVING if stuck else _STUCK):
            reasons.append(f"the chains keep a correlation of {level:.2f} over a transition")
        checks = [row.get(f"log_partition_{way}", math.nan) for way in ("forward", "reverse")]
        if not any(map(math.isnan, checks)):
            se = math.hypot(*(_number(row.get(f"log_partition_{way}_se", 0.0)) for way in ("forward", "reverse")))
            gap = abs(checks[0] - checks[1])
            self._checks_apart = ""
            if gap > max(self._settings.standard_errors * se, _PARTITION_GAP):
                self._checks_apart = (
                    f"ln Z is {checks[0]:.4g} by annealing forwards and {checks[1]:.4g} in reverse, "
                    f"{gap / max(se, _ROUNDING):.0f} standard errors apart"
                )
        if self._checks_apart:
            reasons.append(self._checks_apart)
        samples = row.get("effective_sample_size", math.nan)
        if not math.isnan(samples):
            usual = float(np.median(self._samples)) if len(self._samples) == 32 else math.nan
            if samples < self._settings.sample_size and usual >= self._settings.sample_size:
                reasons.append(f"the effective sample size fell from {usual:.0f} to {samples:.1f}")
            else:
                self._samples.append(samples)
        self._level(
            "sampler_not_equilibrated", step, bool(reasons), not reasons,
            f"at step {step:,} {' and '.join(reasons)}", severity="warning",
        )  # fmt: skip

    def state_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "last": dict(self._last),
            "increments": {name: list(values) for name, values in self._increments.items()},
            "offences": {name: list(values) for name, values in self._offences.items()},
            "kept": dict(self._kept),
            "l_info_start": self._l_info_start,
            "samples": list(self._samples),
            "work_pairs": [list(pair) for pair in self._work_pairs],
            "relaxations": list(self._relaxations),
            "checks_apart": self._checks_apart,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        self._last = dict(state["last"])
        self._increments = {name: deque(values, maxlen=_MEMORY) for name, values in state["increments"].items()}
        self._offences = {
            name: deque(values, maxlen=1 if name.endswith(" end") else _MEMORY)
            for name, values in state["offences"].items()
        }
        self._kept = dict(state["kept"])
        self._l_info_start = state["l_info_start"]
        self._samples = deque(state["samples"], maxlen=32)
        self._work_pairs = deque([(a, b) for a, b in state["work_pairs"]], maxlen=16)
        self._relaxations = deque(state["relaxations"], maxlen=4)
        self._checks_apart = state["checks_apart"]


def _number(value: float) -> float:
    return 0.0 if math.isnan(value) else value
