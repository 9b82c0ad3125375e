"""Rows in any portions give the same alerts, and a monitor continues from its state as if nothing had happened."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.detect.curves import NOISES, labelled_curve
from thermotui.detect.alert import Alert
from thermotui.detect.monitor import RunMonitor
from thermotui.runlog.schema import STREAMS, Header, Layer, row_dtype

LAYERS = ("first", "second", "third")
HEADER = Header("run", 0.0, "any", tuple(Layer(name, 10) for name in LAYERS), lags=4)


def streams(seed: int, noise: str) -> dict[str, np.ndarray]:
    """Rows of every monitored stream, with something wrong in each."""
    rng = np.random.default_rng(seed)
    loss = labelled_curve(seed, noise, samples=6000).loss
    n = len(loss)
    rows = {name: np.zeros(n, row_dtype(STREAMS[name], HEADER)) for name in ("steps", "reservoir", "thermo")}
    for table in rows.values():
        table["step"] = np.arange(n)
    rows["steps"]["loss"] = loss
    temperature = 1e-3 * np.exp(0.3 * rng.standard_normal((n, 3)))
    temperature[2000:, 1] *= 3
    temperature[:, 2] *= np.exp(np.clip((np.arange(n) - 3000) / 600, 0, 1.5))
    rows["reservoir"]["temperature"] = temperature
    rows["reservoir"]["noise_kurtosis"] = 10
    rows["reservoir"]["noise_kurtosis"][1000:1100] = 500
    rows["reservoir"]["reversibility_gap"] = np.nan
    rows["reservoir"]["reversibility_gap"][::50] = 0.3
    rows["reservoir"]["reversibility_gap"][4000:4200:50] = 1.5
    rows["thermo"]["work"] = np.cumsum(rng.exponential(0.01, n))
    rows["thermo"]["work"][2500:] -= 0.5
    rows["thermo"]["ep_conditional"] = rows["thermo"]["work"]
    autocorrelation = np.zeros(40, row_dtype(STREAMS["autocorrelation"], HEADER))
    autocorrelation["step"], autocorrelation["window"] = np.arange(1, 41) * 150, 128
    autocorrelation["autocorrelation"][20:24, 0, 1] = 0.6
    return {**rows, "autocorrelation": autocorrelation}


WHOLE = {(seed, noise): streams(seed, noise) for seed, noise in ((1, "gaussian"), (2, "t5"), (3, "ar6"), (4, "tiny"))}


def in_order(alerts: tuple[Alert, ...]) -> list[str]:
    return sorted(map(str, alerts))


def alerts_of(rows: dict[str, np.ndarray], sizes: list[int]) -> list[str]:
    monitor = RunMonitor(LAYERS, ensemble=8)
    for name, table in rows.items():
        start, turn = 0, 0
        while start < len(table):
            stop = start + sizes[turn % len(sizes)]
            monitor.feed(name, table[start:stop])
            start, turn = stop, turn + 1
    return in_order(monitor.alerts)


@settings(max_examples=8)
@given(
    case=st.sampled_from(sorted(WHOLE)),
    sizes=st.lists(st.one_of(st.integers(1, 40), st.integers(41, 5000)), min_size=1, max_size=6).filter(
        lambda sizes: sum(sizes) / len(sizes) > 40
    ),
)
def test_any_chunking_gives_the_same_alerts(case: tuple[int, str], sizes: list[int]) -> None:
    assert alerts_of(WHOLE[case], sizes) == alerts_of(WHOLE[case], [10**6])


def test_row_by_row_gives_the_same_alerts() -> None:
    rows = {name: table[:1200] for name, table in WHOLE[1, "gaussian"].items()}
    assert alerts_of(rows, [1]) == alerts_of(rows, [10**6])


@pytest.mark.parametrize("cut", [10, 777, 2048, 3001])
def test_a_monitor_goes_on_from_its_state(cut: int) -> None:
    rows = WHOLE[2, "t5"]
    whole, before = RunMonitor(LAYERS, ensemble=8), RunMonitor(LAYERS, ensemble=8)
    for name, table in rows.items():
        whole.feed(name, table)
        before.feed(name, table[:cut])
    after = RunMonitor(LAYERS, ensemble=8)
    after.load_state_dict(before.state_dict())
    for name, table in rows.items():
        before.feed(name, table[cut:])
        after.feed(name, table[cut:])
    assert in_order(after.alerts) == in_order(before.alerts)
    assert in_order(after.alerts) == in_order(whole.alerts)


def test_every_kind_that_rows_can_show_is_found_in_them() -> None:
    kinds = {alert.split("kind='")[1].split("'")[0] for case in WHOLE for alert in alerts_of(WHOLE[case], [10**6])}
    assert kinds >= {
        "temperature_jump", "temperature_drift", "heavy_tail", "reversibility_loss", "second_law_violation",
        "coloured_noise",
    }  # fmt: skip
    assert set(NOISES) >= {noise for _, noise in WHOLE}


def test_the_state_of_200_layers_stays_below_10_megabytes() -> None:
    names = [f"layer {i}" for i in range(200)]
    header = Header("run", 0.0, "any", tuple(Layer(name, 10) for name in names), lags=16)
    rows = np.zeros(6000, row_dtype(STREAMS["reservoir"], header))
    rows["step"] = np.arange(6000)
    rows["temperature"] = np.random.default_rng(0).gamma(10, 1, (6000, 200))
    monitor = RunMonitor(names)
    monitor.feed("reservoir", rows)

    def size(value: object) -> int:
        if isinstance(value, dict):
            return sum(size(item) for item in value.values())
        return value.nbytes if isinstance(value, np.ndarray) else len(json.dumps(value))

    assert size(monitor.state_dict()) < 10e6
