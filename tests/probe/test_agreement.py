"""Where the gradient is not the sum of what is read of the samples, the samples are not asked, and the log says so."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from thermotui.probe import Probe
from thermotui.probe import log as log_module
from thermotui.probe import probe as probe_module
from thermotui.probe.measurement import RAW, blank_disagreeing

RATE = 1e-9
Body = Callable[[nn.Module, torch.Generator], None]


def log_of(
    path: Path, model: nn.Module, body: Body, steps: int = 400, **options: object
) -> tuple[dict[str, float], dict[str, str]]:
    """Mean temperature by layer over the steps in which it was measured, and why layers were given up."""
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    generator = torch.Generator().manual_seed(7)
    with Probe(model, optimizer, log=path) as probe:
        for _ in range(steps):
            with probe.step():
                optimizer.zero_grad()
                body(model, generator)
                optimizer.step()
    with h5py.File(path) as file:
        rows = file["reservoir"][:]
        names = [layer.name for layer in probe._layers]
    means = [
        float(np.mean(one[np.isfinite(one)])) if np.isfinite(one).any() else np.nan for one in rows["temperature"].T
    ]
    return dict(zip(names, means, strict=True)), probe.unmeasured


def truth(model: nn.Module, body: Body, batches: int = 3000) -> dict[str, float]:
    """r/2 · Var(g) by module with parameters, from the gradients of many batches."""
    generator = torch.Generator().manual_seed(8)
    sums: dict[str, tuple[Tensor, Tensor]] = {}
    for _ in range(batches):
        model.zero_grad()
        body(model, generator)
        for name, module in model.named_modules():
            own = [torch.zeros(p.numel()) if p.grad is None else p.grad.flatten() for p in module.parameters(False)]
            if own:
                g = torch.cat(own).double()
                first, second = sums.get(name, (torch.zeros_like(g), torch.zeros_like(g)))
                sums[name] = first + g, second + g.square()
    return {
        name: float(((second - first.square() / batches) / (batches - 1)).mean()) * RATE / 2
        for name, (first, second) in sums.items()
    }


class Tied(nn.Module):
    """The head is the embedding's weight, used without the embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.middle = nn.Embedding(11, 6), nn.Linear(6, 6)

    def forward(self, tokens: Tensor) -> Tensor:
        return F.linear(torch.tanh(self.middle(self.embedding(tokens).mean(1))), self.embedding.weight)


def small() -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3))


def drawn(generator: torch.Generator, size: int = 8) -> tuple[Tensor, Tensor]:
    return torch.randn(size, 5, generator=generator), torch.randint(3, (size,), generator=generator)


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


@pytest.mark.parametrize("head", [True, False])
def test_reentrant_checkpoints_are_measured_within_the_batch(tmp_path: Path, head: bool) -> None:
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(5, 5), nn.Linear(5, 5), nn.Linear(5, 3))

    class Counted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model

        def forward(self, inputs: Tensor) -> Tensor:
            hidden = checkpoint(self.inner[1], torch.tanh(self.inner[0](inputs)), use_reentrant=True)
            return self.inner[2](hidden) if head else checkpoint(self.inner[2], hidden, use_reentrant=True)

    whole = Counted()
    found, unmeasured = log_of(tmp_path / "log.h5", whole, plain)
    assert not unmeasured
    expected = truth(whole, plain, 1000)
    np.testing.assert_allclose([found[name] for name in expected], list(expected.values()), rtol=0.15)


def test_a_backward_pass_that_fails_and_is_tried_again_is_read(tmp_path: Path) -> None:
    model = small()
    failing = [True]

    def fail(gradient: Tensor) -> None:
        if failing.pop():
            raise RuntimeError("out of memory")

    def body(model: nn.Module, generator: torch.Generator) -> None:
        inputs, targets = drawn(generator)
        for attempt in range(2):
            model.zero_grad()
            hidden = model[0](inputs)
            failing.append(attempt == 0)
            hidden.register_hook(fail)
            try:
                F.cross_entropy(model[2](model[1](hidden)), targets).backward()
            except RuntimeError:
                continue

    log_of(tmp_path / "log.h5", model, body, steps=5)
    with h5py.File(tmp_path / "log.h5") as file:
        assert (file["steps"]["gradient_norm"] > 0).all()


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


def plain(model: nn.Module, generator: torch.Generator) -> None:
    inputs, targets = drawn(generator)
    F.cross_entropy(model(inputs), targets).backward()


def forwards_more(model: nn.Module, generator: torch.Generator) -> None:
    """Passes that no gradient comes of: a target network that is the model itself, an accuracy with gradients on."""
    inputs, targets = drawn(generator)
    model(inputs + 1.0).detach()
    F.cross_entropy(model(inputs), targets).backward()
    model(inputs).argmax(-1)


def attacked(model: nn.Module, generator: torch.Generator) -> None:
    """Adversarial samples: passes whose gradient is that of the input alone."""
    inputs, targets = drawn(generator)
    for _ in range(3):
        inputs = inputs.detach().requires_grad_()
        (slope,) = torch.autograd.grad(F.cross_entropy(model(inputs), targets), inputs)
        inputs = inputs + 0.1 * slope.sign()
    F.cross_entropy(model(inputs.detach()), targets).backward()


def siamese(model: nn.Module, generator: torch.Generator) -> None:
    """Two passes of each sample in one loss."""
    inputs, _ = drawn(generator)
    (model(inputs) - model(inputs.flip(1))).square().mean().backward()


def rollout(model: nn.Module, generator: torch.Generator) -> None:
    """Passes of one state each in one loss: one sample, of which the batch tells nothing."""
    outputs = [model(torch.randn(1, 5, generator=generator)) for _ in range(4)]
    torch.cat(outputs).square().mean().backward()


def clipped(model: nn.Module, generator: torch.Generator) -> None:
    """Gradients looked at, and written anew, between micro-batches."""
    for _ in range(4):
        inputs, targets = drawn(generator, 4)
        (F.cross_entropy(model(inputs), targets) / 4).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1e6)


def twice(model: nn.Module, generator: torch.Generator) -> None:
    """Two losses of one forward pass, one after the other."""
    inputs, targets = drawn(generator)
    outputs = model(inputs)
    F.cross_entropy(outputs, targets).backward(retain_graph=True)
    outputs.square().mean().backward()


def unlike(model: nn.Module, generator: torch.Generator) -> None:
    """Batches of different sizes in one loss."""
    inputs, targets = drawn(generator, 4)
    more, _ = drawn(generator, 12)
    (F.cross_entropy(model(inputs), targets) + model(more).square().mean()).backward()


@pytest.mark.parametrize(
    ("body", "batch", "given_up"),
    [
        (plain, 8, ""),
        (forwards_more, 8, ""),
        (attacked, 8, ""),
        (siamese, 8, ""),
        (clipped, 16, ""),
        (rollout, 1, ""),
        (twice, 8, "several backward passes go through one forward pass"),
        (unlike, None, "different numbers of samples"),
    ],
)
def test_the_samples_of_a_step_are_those_that_its_gradient_is_of(
    tmp_path: Path, body: Body, batch: int | None, given_up: str
) -> None:
    model = small()
    found, unmeasured = log_of(tmp_path / "log.h5", model, body, steps=600)
    assert all(given_up in reason for reason in unmeasured.values()) and bool(unmeasured) == bool(given_up)
    with h5py.File(tmp_path / "log.h5") as file:
        assert batch is None or file.attrs["batch_size"] == batch
    expected = truth(model, body)
    np.testing.assert_allclose([found["0"], found["2"]], [expected["0"], expected["2"]], rtol=0.12)


class Positions(nn.Module):
    """A language model with an embedding of positions, which all samples of a batch share."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self.tokens, self.positions, self.head = nn.Embedding(11, 6), nn.Embedding(length, 6), nn.Linear(6, 11)

    def forward(self, tokens: Tensor) -> Tensor:
        places = self.positions(torch.arange(tokens.shape[1]))
        return self.head(torch.tanh(self.tokens(tokens) + places)).mT


@pytest.mark.parametrize("length", [5, 8])
def test_positions_are_not_taken_for_samples(tmp_path: Path, length: int) -> None:
    torch.manual_seed(3)
    model = Positions(length)

    def body(model: nn.Module, generator: torch.Generator) -> None:
        tokens = torch.randint(11, (8, length), generator=generator)
        F.cross_entropy(model(tokens), tokens.roll(1, 1)).backward()

    found, unmeasured = log_of(tmp_path / "log.h5", model, body)
    assert set(unmeasured) == {"positions"}
    expected = truth(model, body, 1000)
    np.testing.assert_allclose([found[name] for name in expected], list(expected.values()), rtol=0.15)


def test_a_batch_without_samples_is_passed_over(tmp_path: Path) -> None:
    model, sizes = small(), iter([8, 0, 8, 0, 0, 8] * 5)

    def body(model: nn.Module, generator: torch.Generator) -> None:
        inputs, targets = drawn(generator, next(sizes))
        F.cross_entropy(model(inputs), targets, reduction="sum").backward()

    _, unmeasured = log_of(tmp_path / "log.h5", model, body, steps=30)
    assert not unmeasured
    with h5py.File(tmp_path / "log.h5") as file:
        temperatures = file["reservoir"]["temperature"]
    assert np.isfinite(temperatures[:, 0]).tolist() == [True, False, True, False, False, True] * 5


@pytest.mark.filterwarnings("ignore:.*(Sparse CSR|nested) tensor.*:UserWarning")
@pytest.mark.parametrize("layout", [torch.sparse_coo, torch.sparse_csr, "nested"])
def test_inputs_that_cannot_be_read_leave_the_training_alone(tmp_path: Path, layout: object) -> None:
    model = small()
    model[1] = nn.ReLU()

    def body(model: nn.Module, generator: torch.Generator) -> None:
        inputs, targets = drawn(generator)
        if layout == "nested":
            nested = torch.nested.nested_tensor(list(inputs.unsqueeze(1)))
            outputs = torch.nested.to_padded_tensor(model(nested), 0.0).squeeze(1)
        else:
            outputs = model(inputs.to_sparse(layout=layout))
        F.cross_entropy(outputs, targets).backward()

    found, unmeasured = log_of(tmp_path / "log.h5", model, body)
    assert "0" in unmeasured
    np.testing.assert_allclose(found["0"], truth(model, body, 1000)["0"], rtol=0.15)


def test_the_header_waits_for_the_first_step_with_a_gradient(tmp_path: Path) -> None:
    model, steps = small(), iter(range(40))

    def body(model: nn.Module, generator: torch.Generator) -> None:
        inputs, targets = drawn(generator)
        outputs = model(inputs)
        if next(steps) > 2:
            F.cross_entropy(outputs, targets).backward()

    log_of(tmp_path / "log.h5", model, body, steps=40)
    with h5py.File(tmp_path / "log.h5") as file:
        assert file.attrs["batch_size"] == 8 and "exact norms" in str(file.attrs["layers"])
        assert file["steps"]["step"].tolist() == list(range(40))
        assert np.isfinite(file["reservoir"]["temperature"][3:]).all()


@pytest.mark.parametrize("steps", [3, 20])
def test_a_run_without_any_gradient_has_a_log_all_the_same(tmp_path: Path, steps: int) -> None:
    _, unmeasured = log_of(tmp_path / "log.h5", small(), lambda model, generator: None, steps)
    assert set(unmeasured) == {"0", "2"}
    with h5py.File(tmp_path / "log.h5") as file:
        assert len(file["steps"]) == steps


class Several(nn.Module):
    """A module without a rule whose outputs are both used."""

    def __init__(self, used: bool) -> None:
        super().__init__()
        self.recurrent, self.head, self.used = nn.LSTM(5, 4, batch_first=True), nn.Linear(4, 3), used

    def forward(self, inputs: Tensor) -> Tensor:
        out, (_, state) = self.recurrent(inputs)
        return self.head(out[:, -1] + state[0] if self.used else out[:, -1])


@pytest.mark.parametrize("used", [True, False])
def test_a_module_whose_outputs_are_used_beside_the_first_is_given_up(tmp_path: Path, used: bool) -> None:
    torch.manual_seed(3)
    model = Several(used)

    def body(model: nn.Module, generator: torch.Generator) -> None:
        inputs = torch.randn(8, 3, 5, generator=generator)
        F.cross_entropy(model(inputs), torch.randint(3, (8,), generator=generator)).backward()

    found, unmeasured = log_of(tmp_path / "log.h5", model, body)
    assert unmeasured == ({"recurrent": "several of its outputs are used"} if used else {})
    np.testing.assert_allclose(found["recurrent"], truth(model, body, 1000)["recurrent"], rtol=0.15)


@pytest.mark.skipif(
    not hasattr(torch._C._autograd, "_top_saved_tensors_default_hooks"), reason="this PyTorch does not tell"
)
def test_checkpointed_activations_are_not_kept(tmp_path: Path) -> None:
    model = small()
    alive: list[int] = []

    def body(model: nn.Module, generator: torch.Generator) -> None:
        inputs, targets = drawn(generator)
        seen = []

        def run(inputs: Tensor) -> Tensor:
            hidden = model[1](model[0](inputs))
            seen.append(hidden.untyped_storage()._weak_ref())
            return model[2](hidden)

        outputs = checkpoint(run, inputs, use_reentrant=False)
        alive.append(sum(not torch.UntypedStorage._expired(one) for one in seen))
        F.cross_entropy(outputs, targets).backward()

    found, unmeasured = log_of(tmp_path / "log.h5", model, body)
    assert alive == [0] * len(alive)
    assert set(unmeasured) == {"0", "2"} and all("checkpointing" in reason for reason in unmeasured.values())
    np.testing.assert_allclose(found["2"], truth(model, body)["2"], rtol=0.15)
