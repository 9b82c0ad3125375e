"""Rows of `steps`: means and spreads over the ensemble, block by block."""

import numpy as np
import torch

from thermotui.runlog.schema import STEPS, Header, row_dtype
from trainers.families.ppm import Batch
from trainers.recorder import CAPACITY, StepRecorder, rows_from


def test_rows_are_means_and_spreads_over_the_members() -> None:
    recorder = StepRecorder(3, torch.device("cpu"), row_dtype(STEPS, Header("", 0.0, "x", (), ensemble=3)))
    generator = torch.Generator().manual_seed(0)
    figures = torch.rand(CAPACITY, 3, 3, generator=generator)
    for step, (loss, accuracy, norm) in enumerate(figures, start=1):
        assert not recorder.full
        recorder.record(step, 0.5 / step, Batch(loss, accuracy), norm)
    assert recorder.full
    rows = recorder.drain()
    assert not recorder.full and len(recorder.drain()) == 0
    assert rows["step"].tolist() == list(range(1, CAPACITY + 1))
    values = figures.double().numpy()
    np.testing.assert_allclose(rows["loss"], values[:, 0].mean(1), rtol=1e-6)
    np.testing.assert_allclose(rows["loss_spread"], values[:, 0].std(1, ddof=1), rtol=1e-4)
    np.testing.assert_allclose(rows["accuracy"], values[:, 1].mean(1), rtol=1e-6)
    np.testing.assert_allclose(rows["accuracy_spread"], values[:, 1].std(1, ddof=1), rtol=1e-4)
    np.testing.assert_allclose(rows["gradient_norm"], values[:, 2].mean(1), rtol=1e-6)
    np.testing.assert_allclose(rows["learning_rate"], 0.5 / rows["step"], rtol=1e-6)
    assert (np.diff(rows["time"]) >= 0).all()


def test_rows_from_mappings() -> None:
    dtype = np.dtype([("step", "i8"), ("work", "f8", (2,))])
    rows = rows_from([{"step": 1, "work": np.array([1.0, 2.0])}, {"step": 2, "work": np.array([3.0, 4.0])}], dtype)
    assert rows["step"].tolist() == [1, 2] and rows["work"].tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert len(rows_from([], dtype)) == 0


def test_a_single_run_has_no_spread() -> None:
    recorder = StepRecorder(1, torch.device("cpu"), row_dtype(STEPS, Header("", 0.0, "x", (), ensemble=1)))
    recorder.record(1, 0.1, Batch(torch.ones(1), torch.ones(1)), torch.ones(1))
    assert np.isnan(recorder.drain()["loss_spread"]).all()
