"""A sampler too short for its target must say so, and one long enough must not."""

import numpy as np
import pytest
import torch

from thermotui.detect.monitor import RunMonitor
from thermotui.runlog.reader import RunLogReader
from thermotui.runlog.schema import THERMO, Header, row_dtype
from thermotui.thermo.ledger import Ledger
from trainers import loop
from trainers.config import resolve
from trainers.families.ebm import EBM
from trainers.families.options import EBMOptions
from trainers.recorder import rows_from
from trainers.setup import Setup


def alerts_of(tau):
    """Kinds raised while an energy-based model learns two well-separated modes in one dimension."""
    random = np.random.default_rng(0)
    data = (np.where(random.random(2000) < 0.5, -2.0, 2.0) + 0.45 * random.normal(size=2000)).astype(np.float32)[
        :, None
    ]
    options = EBMOptions(widths="32", tau=tau, chains=256, learning_chains=128, step_size=0.05)
    setup = Setup(1, "seed", "bootstrap", 64, 0, torch.device("cpu"))
    family = EBM(data, options, setup)
    optimizer = torch.optim.Adam(family.module.parameters(), lr=0.02)
    generator = torch.Generator().manual_seed(1)
    ledger, monitor = Ledger(1), RunMonitor([layer.name for layer in family.layers])
    rows = [ledger.begin(0, family.begin())]
    for step in range(1, 81):
        family.gradient(torch.randint(2000, (1, 100), generator=generator), measure_noise=False)
        optimizer.step()
        rows.append(ledger.advance(step, *family.transition()))
    dtype = row_dtype(THERMO, Header("", 0.0, "ebm", family.layers))
    monitor.feed("thermo", rows_from([row | {"time": 0.0} for row in rows], dtype))
    return {alert.kind for alert in monitor.alerts}, rows[-1]


@pytest.mark.parametrize(("tau", "raised"), [(1, True), (100, False)])
def test_two_modes_need_a_long_relaxation(tau, raised):
    kinds, last = alerts_of(tau)
    assert ("sampler_not_equilibrated" in kinds) is raised, last["relaxation"]
    assert "second_law_violation" not in kinds
    # The weights keep ln Z right all the same.
    assert last["log_partition_se"] < 0.3


@pytest.mark.parametrize(("tau", "raised"), [(1, True), (100, False)])
def test_the_log_of_a_run_on_eight_gaussians_says_so(tau, raised, tmp_path):
    values = {
        "tau": tau, "steps": 60, "ensemble": 1, "stride": 1, "learning_rate": 0.02, "widths": "32", "chains": 256,
        "learning_chains": 128, "step_size": 0.05, "device": "cpu",
    }  # fmt: skip
    log = tmp_path / "run.h5"
    loop.train("ebm", *resolve("ebm", values), log, lambda progress: None)
    with RunLogReader(log) as reader:
        alerts = reader.read("alerts")
    kinds = {alert["kind"].decode() for alert in alerts}
    assert ("sampler_not_equilibrated" in kinds) is raised
    # One increment of many beyond 3 standard errors is minor.
    severe = {alert["kind"].decode() for alert in alerts if alert["severity"] not in (b"minor", "minor")}
    assert "second_law_violation" not in severe
