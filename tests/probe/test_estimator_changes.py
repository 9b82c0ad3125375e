"""The log says which estimator serves which layer, also where that changes after its header was written."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.probe.loops import RATE, drawn
from thermotui.analysis.scanning import scan_file
from thermotui.detect.alert import Alert
from thermotui.probe import Probe
from thermotui.probe import log as log_module
from thermotui.runlog.reader import RunLogReader


class Changing(nn.Module):
    """Its last layer is called from step 20 on, and from step 40 on the first one's weight is used without it."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.first, self.middle, self.last = nn.Linear(5, 7), nn.Linear(7, 3), nn.Linear(3, 3)
        self.step = 0

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = torch.tanh(self.first(inputs))
        if self.step >= 40:
            hidden = hidden + inputs @ self.first.weight.T
        output = self.middle(hidden)
        return output if self.step < 20 else self.last(output)


def train(model: Changing, path: Path, steps: range, batch: int = 8) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    generator = torch.Generator().manual_seed(7)
    with Probe(model, optimizer, log=path, start_step=steps.start) as probe:
        for step in steps:
            model.step = step
            with probe.step() as current:
                optimizer.zero_grad()
                inputs, targets = drawn(generator, batch)
                loss = F.cross_entropy(model(inputs), targets)
                loss.backward()
                optimizer.step()
                current.record(loss=loss)


def changes(path: Path) -> list[Alert]:
    return [alert for alert in scan_file(path, settings=None).alerts if alert.kind == "estimator_change"]


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looked at and written often."""
    monkeypatch.setattr("thermotui.probe.probe.CHECKED", 5)
    monkeypatch.setattr(log_module, "FLUSH_SECONDS", 0.0)


def test_layers_that_are_given_up_or_come_later_are_alerts_of_their_steps(tmp_path: Path) -> None:
    train(Changing(), tmp_path / "log.h5", range(60))
    with RunLogReader(tmp_path / "log.h5") as log:
        said = {layer.name: layer.estimator for layer in log.header.layers}
    assert "within the batch" in said["first"] and said["last"] == log_module.SUCCESSIVE
    late, lost = changes(tmp_path / "log.h5")
    assert (late.layer, late.message) == (2, "temperature now within the batch")
    assert late.start <= 20 < late.end and late.step - late.start < 2
    assert lost.layer == 0 and "from successive gradients: its gradient is not the sum" in lost.message
    # Two looks in a row, of which each comes within five steps.
    assert 40 <= lost.start <= 52 and {late.severity, lost.severity} == {"minor"}


def test_what_the_header_says_is_no_change(tmp_path: Path) -> None:
    train(Changing(), tmp_path / "log.h5", range(15))
    train(Changing(), tmp_path / "one.h5", range(15), batch=1)
    assert changes(tmp_path / "log.h5") == changes(tmp_path / "one.h5") == []


def test_a_continued_log_has_the_changes_against_its_header(tmp_path: Path) -> None:
    model = Changing()
    train(model, tmp_path / "log.h5", range(15))
    train(model, tmp_path / "log.h5", range(15, 18))
    assert not changes(tmp_path / "log.h5")
    train(model, tmp_path / "log.h5", range(18, 30))
    (late,) = changes(tmp_path / "log.h5")
    assert late.layer == 2 and late.start <= 20 < late.end
