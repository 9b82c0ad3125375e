"""A loop that records no loss has none that is not a number."""

from __future__ import annotations

import numpy as np
import pytest

from thermotui.detect.monitor import RunMonitor
from thermotui.runlog.schema import STREAMS, Header, row_dtype


def kinds(loss: np.ndarray, gradient: np.ndarray, portion: int) -> list[tuple[str, int]]:
    rows = np.zeros(len(loss), row_dtype(STREAMS["steps"], Header("run", 0.0, "any", ())))
    rows["step"], rows["loss"], rows["gradient_norm"] = np.arange(len(loss)), loss, gradient
    monitor = RunMonitor(())
    for first in range(0, len(rows), portion):
        monitor.feed("steps", rows[first : first + portion])
        # As where a run is continued from its checkpoint.
        again = RunMonitor(())
        again.load_state_dict(monitor.state_dict())
        monitor = again
    return [(alert.kind, alert.start) for alert in monitor.alerts]


@pytest.mark.parametrize("portion", [1, 7, 400])
def test_only_a_loss_that_was_recorded_can_be_no_number(portion: int) -> None:
    nothing, noise = np.full(400, np.nan), 1.0 + 0.01 * np.random.default_rng(0).standard_normal(400)
    seldom = np.where(np.arange(400) % 16 == 0, 1.0, np.nan)
    assert kinds(nothing, noise, portion) == []
    assert kinds(nothing, seldom, portion) == [], "one step in sixteen is measured"
    assert kinds(nothing, nothing, portion) == [("non_finite", 0)], "neither is its gradient one"
    late = np.where(np.arange(400) < 100, np.nan, noise)
    assert kinds(late, noise, portion) == []
    broken, late[300:] = noise.copy(), np.nan
    assert kinds(late, noise, portion) == [], "nothing is wrong with its gradients"
    whole = np.where(np.arange(400) < 300, noise, np.nan)
    assert kinds(whole, noise, portion) == [("non_finite", 300)], "every loss was recorded until then"
    broken[300:] = np.nan
    assert kinds(late, broken, portion) == [("non_finite", 300)]
    assert kinds(np.where(np.arange(400) % 10 == 0, noise, np.nan), noise, portion) == [], "one step in ten is recorded"
    assert kinds(np.full(400, np.inf), noise, portion) == [("non_finite", 0)]
