"""Whatever passes a step is made of, its samples are those that its gradient is of, or the log says why not."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from tests.probe.loops import Body, drawn, log_of, plain, small, truth


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


def test_checkpointed_activations_are_not_kept(tmp_path: Path) -> None:
    # Before 2.8 PyTorch does not tell: they are kept then, and measured.
    told = hasattr(torch._C._autograd, "_top_saved_tensors_default_hooks")
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
    assert alive == [0 if told else 1] * len(alive)
    assert set(unmeasured) == ({"0", "2"} if told else set())
    assert all("checkpointing" in reason for reason in unmeasured.values())
    np.testing.assert_allclose(found["2"], truth(model, body)["2"], rtol=0.15)
