"""Figures that wait for the log in memory of their own: none is lost there, and nothing of a step is kept by it."""

import weakref
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from thermotui.probe import Probe, linear_norms
from thermotui.probe.rows import VIEWS, Rows


def small() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3, bias=False))


def test_rows_come_back_with_their_places() -> None:
    rows = Rows(4 * VIEWS)
    for _ in range(2):
        for place in range(VIEWS + 3):
            rows.add(2 * place, torch.full((2,), float(place)))
        rows.extend([200, 202], torch.tensor([[7.0, 8.0], [9.0, 10.0]]))
        for place in range(VIEWS):
            rows.add(300 + place, torch.tensor([1.0, 2.0]))
        places, values = rows.take()
        assert places == [*range(0, 2 * VIEWS + 6, 2), 200, 202, *range(300, 300 + VIEWS)]
        assert values[: VIEWS + 3, 1].tolist() == list(range(VIEWS + 3))
        assert values[VIEWS + 3 : VIEWS + 5].tolist() == [[7.0, 8.0], [9.0, 10.0]]
        assert values[VIEWS + 5 :].tolist() == [[1.0, 2.0]] * VIEWS
    assert rows.take()[0] == []


def test_norms_that_wait_are_those_summed_up_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches change in size, some come in two parts, and some steps are abandoned half way."""

    def temperatures(path: Path) -> np.ndarray:
        model = small()
        generator = torch.Generator().manual_seed(4)
        with Probe(model, torch.optim.SGD(model.parameters(), lr=0.1), log=path, window=20) as probe:
            for step in range(90):
                sizes = [12, 12] if step % 11 == 7 else [5 if step % 13 == 2 else 12]
                try:
                    with probe.step():
                        model.zero_grad()
                        for size in sizes:
                            model(torch.randn(size, 5, generator=generator)).square().mean().backward()
                        if step % 17 == 9:
                            raise KeyError
                except KeyError:
                    pass
        with h5py.File(path) as file:
            return np.stack([file["reservoir"][name] for name in ("temperature", "temperature_se")])

    later = temperatures(tmp_path / "later.h5")
    monkeypatch.setattr(linear_norms, "LATER", 1)
    at_once = temperatures(tmp_path / "at_once.h5")
    assert np.isfinite(later).all() and later.shape[1] == 85
    np.testing.assert_allclose(later, at_once, rtol=1e-5)


@pytest.mark.parametrize("positions", [(), (4,)], ids=["rows", "sequences"])
def test_activations_do_not_outlive_the_backward_pass(tmp_path: Path, positions: tuple[int, ...]) -> None:
    """A loop that keeps its loss keeps the graph, which must not keep what the hooks have read."""
    first, second = small()[0], small()[2]
    model = nn.ModuleList([first, second])
    with Probe(model, torch.optim.SGD(model.parameters(), lr=0.1), log=tmp_path / "log.h5") as probe:
        with probe.step() as step:
            probe.micro_batch(6)
            hidden = torch.tanh(first(torch.randn(6, *positions, 5)))
            seen: weakref.ref[Tensor] = weakref.ref(hidden)
            loss = second(hidden).square().mean()
            del hidden
            torch.autograd.grad(loss, list(model.parameters()), retain_graph=True)
            assert seen() is not None
            loss.backward()
            assert seen() is None
            step.record(loss=loss)
        assert not probe.unmeasured
