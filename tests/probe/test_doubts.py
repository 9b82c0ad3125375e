"""A loop that keeps earlier gradients is told so."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from thermotui.probe import Probe, log
from thermotui.probe.probe import CHECKED


@pytest.mark.parametrize("steps", [100, CHECKED + 2])
@pytest.mark.parametrize("zeroed", [True, False])
def test_gradients_that_add_up_are_noticed(
    zeroed: bool, steps: int, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "FLUSH_SECONDS", 0.0)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 4))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with caplog.at_level(logging.WARNING, "thermotui"), Probe(model, optimizer, log=tmp_path / "run.h5") as probe:
        for _ in range(steps):
            inputs, targets = torch.randn(32, 20), torch.randint(4, (32,))
            with probe.step():
                if zeroed:
                    optimizer.zero_grad()
                F.cross_entropy(model(inputs), targets).backward()
                optimizer.step()
    said = [record.getMessage() for record in caplog.records if "zero_grad" in record.getMessage()]
    doubted = [text for text in said if "negative beyond its error" in text]
    if zeroed:
        assert not said and not probe.unmeasured
    elif steps < CHECKED:
        assert len(said) == len(doubted) == 1
    else:
        # Looked at twice more: the samples are not asked from then on.
        assert set(probe.unmeasured) == {"0", "2"}
        assert len(said) - len(doubted) == 2


@pytest.mark.parametrize("ignored", [True, False])
@pytest.mark.parametrize("share", [0.5, 1.0])
def test_samples_without_a_gradient_are_asked_about(
    ignored: bool, share: float, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    torch.manual_seed(0)
    model = nn.Linear(20, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with (
        caplog.at_level(logging.WARNING, "thermotui"),
        Probe(model, optimizer, log=tmp_path / "run.h5", ignored=ignored) as probe,
    ):
        for _ in range(40):
            targets = torch.randint(4, (32,)).masked_fill(torch.arange(32) >= share * 32, -100)
            with probe.step():
                optimizer.zero_grad()
                F.cross_entropy(model(torch.randn(32, 20)), targets).backward()
                optimizer.step()
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == (share < 1 and not ignored)
    assert all("50% of a batch's samples" in text and "ignored=True" in text for text in said)
