"""Valid reservoir intervals: the complement of what broke the reservoir assumption."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from thermotui.detect.alert import KINDS, Alert


@dataclass(frozen=True)
class Interval:
    """Optimizer steps [start, end) of one layer; `layer` is −1 for what holds of every layer at once."""

    layer: int
    start: int
    end: int


def breaks_interval(alert: Alert) -> bool:
    """Whether the reservoir assumption does not hold while this alert lasts: minor alerts never break it."""
    return KINDS[alert.kind].breaks_interval and alert.severity != "minor" and not alert.withdrawn


def invalid_spans(alerts: Iterable[Alert], last_step: int, layer: int | None) -> list[tuple[int, int]]:
    """Disjoint, sorted [start, end) in which the assumption is broken; `layer` None: for any layer or the run.

    A layer's spans include those of the run as a whole. An alert that still lasts reaches to `last_step`.
    """
    spans = sorted(
        (alert.start, last_step + 1 if alert.end is None else min(alert.end, last_step + 1))
        for alert in alerts
        if breaks_interval(alert) and (layer is None or alert.layer in (-1, layer))
    )
    merged: list[tuple[int, int]] = []
    for start, end in spans:
        if end <= start:
            continue
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged


def complement(
    spans: Iterable[tuple[int, int]], first_step: int, last_step: int, *, layer: int, minimum: int
) -> list[Interval]:
    """What sorted, disjoint `spans` leave of [first_step, last_step + 1), in pieces of at least `minimum` steps."""
    intervals: list[Interval] = []
    cursor = first_step
    for start, end in [*spans, (last_step + 1, last_step + 1)]:
        if start - cursor >= minimum:
            intervals.append(Interval(layer, cursor, start))
        cursor = max(cursor, end)
    return intervals


MINIMUM = 64
"""Shortest valid interval, in steps, where no settings say otherwise."""


def valid_intervals(
    alerts: Iterable[Alert],
    last_step: int,
    layer: int | None = None,
    *,
    minimum: int = MINIMUM,
    first_step: int = 0,
) -> list[Interval]:
    """Where the reservoir assumption holds in [first_step, last_step], given the latest version of each alert.

    `layer`: of that layer, −1 of the run's own figures; None for what all layers and the run have in common, which the
    intervals carry as layer −1.
    """
    spans = invalid_spans(alerts, last_step, layer)
    return complement(spans, first_step, last_step, layer=-1 if layer is None else layer, minimum=minimum)
