"""The log says which estimator serves which layer, also where that changes after its header was written."""

from collections.abc import Callable
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


def eight(step: int) -> int:
    return 8


def train(
    model: Changing, path: Path, steps: range, batch: Callable[[int], int] = eight, *, mended: bool = False
) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    generator = torch.Generator().manual_seed(7)
    with Probe(model, optimizer, log=path, start_step=steps.start) as probe:
        for step in steps:
            model.step = 39 if mended else step
            with probe.step() as current:
                optimizer.zero_grad()
                inputs, targets = drawn(generator, batch(step))
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


def test_layers_that_are_given_up_or_come_later_are_alerts_that_last(tmp_path: Path) -> None:
    train(Changing(), tmp_path / "log.h5", range(60))
    with RunLogReader(tmp_path / "log.h5") as log:
        said = {layer.name: layer.estimator for layer in log.header.layers}
    assert "within the batch" in said["first"] and said["last"] == log_module.SUCCESSIVE
    late, lost = changes(tmp_path / "log.h5")
    assert (late.layer, late.start, late.end) == (2, 20, None)
    assert late.message == "temperature within the batch, unlike the header's"
    assert (lost.layer, lost.end) == (0, None)
    # Two looks in a row, of which each comes within five steps; then a difference takes two gradients.
    assert 41 <= lost.start <= 54 and {late.severity, lost.severity} == {"minor"}
    assert lost.message.startswith("temperature from successive gradients (its gradient is not the sum")
    assert lost.message.endswith("unlike the header's")


@pytest.mark.parametrize("first", [1, 8])
@pytest.mark.parametrize("flushed", ["each step", "at the end"])
def test_batches_of_one_and_of_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: int, flushed: str) -> None:
    if flushed == "at the end":
        monkeypatch.setattr(log_module, "FLUSH_SECONDS", 1e9)
    other = 9 - first
    path = tmp_path / "log.h5"
    train(Changing(), path, range(18), batch=lambda step: other if 6 <= step < 12 else first)
    # Differences of gradients are taken once a batch of one was seen, and need two of them.
    begin, end = (8, 12) if first == 8 else (6, 14)
    found = [(alert.layer, alert.start, alert.end) for alert in changes(path)]
    assert found == ([(layer, begin, end) for layer in (0, 1)] if flushed == "each step" else [])
    train(Changing(), tmp_path / "odd.h5", range(18), batch=lambda step: 1 if step in (5, 11) else 8)
    assert changes(tmp_path / "odd.h5") == []


def test_what_the_header_says_is_no_change(tmp_path: Path) -> None:
    train(Changing(), tmp_path / "log.h5", range(15))
    # Single samples come from successive gradients whichever way a layer is used.
    train(Changing(), tmp_path / "one.h5", range(60), batch=lambda step: 1)
    assert changes(tmp_path / "log.h5") == changes(tmp_path / "one.h5") == []


def test_a_continued_log_has_each_part_of_a_change_once(tmp_path: Path) -> None:
    model, path = Changing(), tmp_path / "log.h5"
    for steps in (range(15), range(15, 30), range(30, 45), range(45, 60)):
        train(model, path, steps)
    spans = [(alert.start, alert.end) for alert in changes(path) if alert.layer == 2]
    assert spans == [(20, 30), (30, 45), (45, None)]
    train(model, path, range(60, 70), mended=True)
    # What has the first layer given up is gone, and with it the last of its alerts.
    lost = [(alert.start, alert.end) for alert in changes(path) if alert.layer == 0]
    assert [end for _, end in lost] == [45, 60] and 40 < lost[0][0] < 45 < lost[1][0] < 60


def test_the_header_says_what_follows_the_length_of_the_sequences(tmp_path: Path) -> None:
    torch.manual_seed(3)
    model = nn.Sequential(nn.Embedding(9, 40), nn.Linear(40, 40), nn.Linear(40, 3))
    generator = torch.Generator().manual_seed(7)
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    estimators = []
    with Probe(model, optimizer, log=tmp_path / "log.h5") as probe:
        for length in (6, 16, 17):
            with probe.step() as step:
                optimizer.zero_grad()
                tokens, targets = torch.randint(9, (2, 8, length), generator=generator)
                loss = F.cross_entropy(model(tokens).flatten(0, 1), targets.flatten() % 3)
                loss.backward()
                optimizer.step()
                step.record(loss=loss)
            estimators.append({name: found.partition(", ")[2] for name, found in probe.estimators.items()})
    exact, sketched = "exact norms", "random sketch of 8"
    assert estimators[0] == estimators[1] == {"0": exact, "1": exact, "2": exact}
    assert estimators[2] == {"0": sketched, "1": sketched, "2": exact}
    with RunLogReader(tmp_path / "log.h5") as log:
        (said,) = (note for note in log.header.notes if "positions" in note)
    assert said.startswith("0, 1: exact norms up to 16 positions a sample, a random sketch of 8 beyond")
    assert changes(tmp_path / "log.h5") == []
