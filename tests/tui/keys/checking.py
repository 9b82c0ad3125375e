"""Checks of what keys do, by the names of their actions; `tests/tui/test_keys.py` runs them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from textual.pilot import Pilot

from thermotui.tui.actions import BY_NAME
from thermotui.tui.charts.chart import Chart

Check = Callable[[Pilot[None]], Awaitable[None]]
CHECKS: dict[str, Check] = {}


def checks(*names: str) -> Callable[[Check], Check]:
    """Register a check of these actions."""

    def register(check: Check) -> Check:
        CHECKS.update(dict.fromkeys(names, check))
        return check

    return register


def key(name: str) -> str:
    """The first key of an action."""
    return BY_NAME[name].keys[0]


def shown_range(pilot: Pilot[None]) -> tuple[float, float]:
    """The steps that the charts show."""
    return pilot.app.screen.query(Chart).first().shown_range
