"""Infinities in a log, which is not trusted input: no warning on standard error, and no detector that they blind."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
import pytest

from thermotui.detect.colour import coloured_layers
from thermotui.detect.monitor import RunMonitor
from thermotui.detect.scale_change import ScaleChange
from thermotui.detect.settings import Settings
from thermotui.runlog.schema import STREAMS, Header, Layer, row_dtype


@pytest.fixture(autouse=True)
def no_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        yield


def test_an_infinite_temperature_hides_no_later_jump() -> None:
    values = 1e-3 * np.exp(0.3 * np.random.default_rng(0).standard_normal((3000, 2)))
    values[2000:, 1] *= 3
    steps = np.arange(len(values))
    values[500, 1], values[501, 1] = np.inf, -np.inf
    (change,) = ScaleChange(2, Settings()).feed(values, steps)
    assert (change.kind, change.layer) == ("jump", 1)
    assert change.start == pytest.approx(2000, abs=8)


def test_a_size_beyond_single_precision_is_a_jump_without_a_warning() -> None:
    values = np.exp(0.3 * np.random.default_rng(0).standard_normal((1200, 1)))
    values[1000:] *= 1e100
    change, *_ = ScaleChange(1, Settings()).feed(values, np.arange(len(values)))
    assert change.kind == "jump"
    assert change.start == pytest.approx(1000, abs=8)


def test_an_infinite_autocorrelation_and_bound() -> None:
    echo = np.eye(1, 16)[0]
    correlation = np.tile(echo, (3, 1))
    correlation[0, 2], correlation[1, 3], correlation[2, 4] = np.inf, 0.9, -np.inf
    assert coloured_layers(correlation, echo, 256, Settings(), np.inf) == []
    correlation[1, 3] = 0.0
    assert coloured_layers(correlation, echo, 256, Settings()) == []
    # The colour at another lag of the same layer is seen, and beside an infinite echo too.
    correlation[0, 5] = 0.9
    (found,) = coloured_layers(correlation, echo, 256, Settings())
    assert (found.layer, found.lag, found.value) == (0, 5, 0.9)
    endless = np.where(np.arange(16) == 2, np.inf, echo)
    (found,) = coloured_layers(correlation[:1], endless, 256, Settings())
    assert (found.lag, found.value) == (5, 0.9)


def test_infinite_works_and_relaxations() -> None:
    rows = np.zeros(200, row_dtype(STREAMS["thermo"], Header("x", 0.0, "x", ())))
    for name in set(rows.dtype.names or ()) - {"step", "time"}:
        rows[name] = np.nan
    rows["step"] = np.arange(len(rows))
    rows["work"] = rows["work_half_variance"] = np.cumsum(np.full(len(rows), 0.1))
    rows["work"][50], rows["relaxation"][60:62] = np.inf, (np.inf, -np.inf)
    monitor = RunMonitor((), ensemble=8)
    monitor.feed("thermo", rows)
    assert "sampler_not_equilibrated" not in [alert.kind for alert in monitor.alerts]


@pytest.mark.parametrize("stream", ["steps", "thermo", "reservoir", "autocorrelation"])
def test_signalling_nan_of_a_damaged_row_warns_nobody(stream: str) -> None:
    layers = (Layer("a", 1), Layer("b", 1))
    rows = np.zeros(200, row_dtype(STREAMS[stream], Header("x", 0.0, "x", layers)))
    for name in set(rows.dtype.names or ()) - {"step"}:
        if rows.dtype[name].base == np.float32:
            rows[name] = np.array(0x7F800001, np.uint32).view(np.float32)
    rows["step"] = np.arange(len(rows))
    RunMonitor(("a", "b")).feed(stream, rows)
