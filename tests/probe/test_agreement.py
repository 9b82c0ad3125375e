"""Where the gradient is not the sum of what is read of the samples, the samples are not asked, and the log says so."""

from __future__ import annotations

import logging
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.probe.loops import RATE, Body, drawn, log_of, plain, small, truth
from thermotui.probe import Probe
from thermotui.probe import log as log_module
from thermotui.probe import probe as probe_module
from thermotui.probe.measurement import RAW, blank_disagreeing


class Tied(nn.Module):
    """The head is the embedding's weight, used without the embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.middle = nn.Embedding(11, 6), nn.Linear(6, 6)

    def forward(self, tokens: Tensor) -> Tensor:
        return F.linear(torch.tanh(self.middle(self.embedding(tokens).mean(1))), self.embedding.weight)


def tied(model: nn.Module, generator: torch.Generator) -> None:
    tokens = torch.randint(11, (8, 3), generator=generator)
    F.cross_entropy(model(tokens), tokens[:, 0]).backward()


def penalised(model: nn.Module, generator: torch.Generator) -> None:
    inputs, targets = drawn(generator)
    loss = F.cross_entropy(model(inputs), targets)
    (loss + 3.0 * model[2].weight.square().sum()).backward()


def smooth(model: nn.Module, generator: torch.Generator) -> None:
    """The gradient of the input is penalised, which reaches the weights by way of the backward pass."""
    inputs, targets = drawn(generator)
    inputs.requires_grad_()
    loss = F.cross_entropy(model(inputs), targets)
    (slope,) = torch.autograd.grad(loss, inputs, create_graph=True)
    (loss + 300.0 * slope.square().sum()).backward()


def test_a_weight_used_without_its_module_is_noticed_at_the_first_step(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    torch.manual_seed(3)
    model = Tied()
    with caplog.at_level(logging.WARNING, "thermotui"):
        found, unmeasured = log_of(tmp_path / "log.h5", model, tied)
    assert set(unmeasured) == {"embedding"} and "used elsewhere" in unmeasured["embedding"]
    assert sum("embedding" in record.getMessage() for record in caplog.records) == 1
    with h5py.File(tmp_path / "log.h5") as file:
        notes, layers = str(file.attrs["notes"]), str(file.attrs["layers"])
        assert "embedding: not measured within the batch" in notes
        assert "from step to step" in layers
        assert np.isnan(file["reservoir"]["temperature"][0, 0])
    expected = truth(model, tied)
    np.testing.assert_allclose(found["embedding"], expected["embedding"], rtol=0.15)
    np.testing.assert_allclose(found["middle"], expected["middle"], rtol=0.15)


def steep(model: nn.Module, generator: torch.Generator) -> None:
    """Of the slope alone: the last layer's weight has a gradient without the layer's being called for it."""
    inputs, _ = drawn(generator)
    inputs.requires_grad_()
    (slope,) = torch.autograd.grad(model(inputs).sum(), inputs, create_graph=True)
    (slope - 1.0).square().mean().backward()


@pytest.mark.parametrize("body", [penalised, smooth, steep])
def test_terms_that_are_no_samples_are_noticed(tmp_path: Path, body: Body) -> None:
    model = small()
    found, unmeasured = log_of(tmp_path / "log.h5", model, body)
    assert "2" in unmeasured
    expected = truth(model, body)
    np.testing.assert_allclose([found["0"], found["2"]], [expected["0"], expected["2"]], rtol=0.15)


def test_a_hook_that_changes_the_gradient_is_noticed(tmp_path: Path) -> None:
    model = small()
    model[0].weight.register_hook(lambda gradient: gradient * torch.tensor([1.0, 0, 0, 0, 0]))
    found, unmeasured = log_of(tmp_path / "log.h5", model, plain)
    assert set(unmeasured) == {"0"}
    np.testing.assert_allclose(found["0"], truth(model, plain)["0"], rtol=0.15)


@pytest.mark.parametrize("at_once", [True, False])
def test_what_begins_later_is_noticed_at_the_next_looks_and_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: bool
) -> None:
    monkeypatch.setattr(probe_module, "CHECKED", 10)
    monkeypatch.setattr(log_module, "FLUSH_SECONDS", 0.0 if at_once else 1e9)
    model, steps = small(), iter(range(60))

    def later(model: nn.Module, generator: torch.Generator) -> None:
        (penalised if next(steps) > 13 else plain)(model, generator)

    _, unmeasured = log_of(tmp_path / "log.h5", model, later, steps=60)
    assert set(unmeasured) == {"2"}
    with h5py.File(tmp_path / "log.h5") as file:
        temperatures = file["reservoir"]["temperature"]
    assert np.isfinite(temperatures[:, 0]).all()
    known = np.isfinite(temperatures[:, 1])
    if at_once:
        # What is written already stays; the two looks are taken back, and differences need two gradients.
        assert known[:20].all() and not known[20:22].any() and known[24:].all()
        assert (temperatures[24:, 1] > 0).all()
    else:
        assert known[:11].all() and not known[11:].any()


def test_one_look_that_disagrees_is_taken_for_an_accident(tmp_path: Path) -> None:
    """A gradient that something before the training has left, in a loop that sets gradients to zero after its step."""
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    generator = torch.Generator().manual_seed(7)
    plain(model, generator)
    with Probe(model, optimizer, log=tmp_path / "log.h5") as probe:
        for _ in range(10):
            with probe.step():
                plain(model, generator)
                optimizer.step()
                optimizer.zero_grad()
    assert not probe.unmeasured
    with h5py.File(tmp_path / "log.h5") as file:
        temperatures = file["reservoir"]["temperature"]
        assert "exact norms" in str(file.attrs["layers"])
    assert np.isnan(temperatures[0]).all() and np.isfinite(temperatures[1:]).all()


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("bias", [True, False])
def test_gradients_whose_rows_add_up_to_nothing_agree(tmp_path: Path, classes: int, bias: bool, seed: int) -> None:
    """Those of a softmax: along a direction of equal signs there is rounding alone."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, classes, bias=bias))
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    with Probe(model, optimizer, log=tmp_path / "log.h5", seed=seed) as probe:
        for _ in range(4):
            probe._look_again = True
            with probe.step():
                optimizer.zero_grad()
                F.cross_entropy(model(torch.randn(32, 5)), torch.randint(classes, (32,))).backward()
                optimizer.step()
    assert not probe.unmeasured


class Twice(nn.Module):
    """A layer that is called twice, and its weight used once more without it."""

    def __init__(self, more: bool) -> None:
        super().__init__()
        self.inner, self.head, self.more = nn.Linear(5, 5), nn.Linear(5, 3), more

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = torch.tanh(self.inner(torch.tanh(self.inner(inputs))))
        return self.head(F.linear(hidden, self.inner.weight) if self.more else hidden)


@pytest.mark.parametrize("more", [True, False])
def test_layers_that_are_called_several_times_are_compared_at_the_first_step(tmp_path: Path, more: bool) -> None:
    torch.manual_seed(3)
    model = Twice(more)
    _, unmeasured = log_of(tmp_path / "log.h5", model, plain, steps=3)
    assert set(unmeasured) == ({"inner"} if more else set())


def test_a_layer_that_could_not_be_compared_is_compared_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a first step whose loss is no number under a loss scale, and which the optimizer passes over."""
    monkeypatch.setattr(log_module, "FLUSH_SECONDS", 0.0)
    torch.manual_seed(3)
    model, steps = Twice(more=True), iter(range(40))

    def body(model: nn.Module, generator: torch.Generator) -> None:
        inputs, targets = drawn(generator)
        if next(steps):
            F.cross_entropy(model(inputs), targets).backward()
        else:
            (F.cross_entropy(model(inputs), targets) * torch.inf).backward()
            model.zero_grad()

    _, unmeasured = log_of(tmp_path / "log.h5", model, body, steps=40)
    assert set(unmeasured) == {"inner"}


def test_measurements_between_a_look_that_agrees_and_one_that_does_not_are_taken_back() -> None:
    raw = np.ones((9, len(RAW), 2))
    look = RAW.index("disagreement")
    raw[:, look] = np.nan
    raw[[1, 4, 7], look] = [[0.1, 0.1], [0.1, 5.0], [0.1, 0.2]]
    blank_disagreeing(raw)
    squares = raw[:, RAW.index("squares")]
    assert np.isfinite(squares[:, 0]).all()
    assert np.isfinite(squares[:, 1]).tolist() == [True, True, False, False, False, False, False, True, True]


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("micro_batches", [1, 4])
def test_what_adds_up_agrees(tmp_path: Path, precision: torch.dtype, micro_batches: int) -> None:
    """Rounding and micro-batches of unequal size are no disagreement, whatever the layers."""
    torch.manual_seed(3)
    model = nn.Sequential(
        nn.Conv2d(4, 6, 3, groups=2),
        nn.GroupNorm(3, 6),
        nn.ReLU(),
        nn.Conv2d(6, 4, 2, stride=2),
        nn.Flatten(2),
        nn.Linear(4, 8),
        nn.LayerNorm(8),
        nn.Flatten(),
        nn.Linear(32, 3),
    ).to(precision)

    def body(model: nn.Module, generator: torch.Generator) -> None:
        sizes = np.diff(np.linspace(0, 64, micro_batches + 1).astype(int) ** 2 // 64).tolist()
        for size in sizes:
            inputs = torch.randn(size, 4, 6, 6, generator=generator).to(precision) + 1.0
            targets = torch.randint(3, (size,), generator=generator)
            (F.cross_entropy(model(inputs), targets, reduction="sum") / 64).backward()

    _, unmeasured = log_of(tmp_path / "log.h5", model, body, steps=3)
    assert not unmeasured
