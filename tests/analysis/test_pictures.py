"""Pictures for papers mark the alerts that break a reservoir interval, and no others."""

from __future__ import annotations

from dataclasses import replace
from unittest.mock import Mock

from thermotui.analysis.pictures import _draw_intervals
from thermotui.detect.alert import Alert


def test_minor_and_withdrawn_alerts_and_those_of_an_unknown_kind_are_no_ticks() -> None:
    jump = Alert("temperature_jump", 0, 100, 200, 110, "warning", 0.001, "")
    others = (
        replace(jump, start=300, end=400, severity="minor"),
        replace(jump, start=500, end=500),
        replace(jump, start=600, end=700, kind="not_yet_invented"),
    )
    axes = Mock()
    _draw_intervals(axes, [], [jump, *others])
    assert axes.plot.call_args.args[0] == [100]
