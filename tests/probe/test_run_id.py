"""The ranks of a run agree on its id without waiting for each other."""

from pathlib import Path

import pytest
import torch

from thermotui.probe.log import shared_run_id

STORE = "torch.distributed.distributed_c10d._get_default_store"


def test_whichever_rank_asks_first_names_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    store = torch.distributed.HashStore()
    monkeypatch.setattr(STORE, lambda: store)
    first = shared_run_id(Path("/runs/mine.h5"))
    assert shared_run_id(Path("/runs/mine.h5")) == first
    assert shared_run_id(Path("/runs/other.h5")) != first


def test_without_a_store_the_training_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Gone:
        def compare_set(self, *values: str) -> bytes:
            raise RuntimeError("connection reset")

    monkeypatch.setattr(STORE, lambda: None)
    assert shared_run_id(Path("mine.h5"))
    monkeypatch.setattr(STORE, Gone)
    assert shared_run_id(Path("mine.h5"))
    assert "do not share a run id: connection reset" in caplog.text
