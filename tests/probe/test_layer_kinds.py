"""Which layers are measured within the batch: against the exact temperature where they are, in words where not."""

from __future__ import annotations

import logging
import types
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, prune

from tests.probe.conftest import CLASSES, Case, classification
from tests.probe.test_side_effects import RATE, Leaf, train
from thermotui.errors import InputError
from thermotui.probe import Probe
from thermotui.probe.layers import model_layers


def check(model: nn.Module, path: Path, shape: tuple[int, ...] = (6,), draws: int = 150) -> dict[str, str]:
    """The temperatures of what is measured within the batch against the exact ones; the layers without samples."""
    torch.manual_seed(3)
    case = Case(model, classification, torch.randn(40, *shape).double() + 0.3, torch.randint(CLASSES, (40,)))
    if model[0].weight.is_contiguous(memory_format=torch.channels_last) and len(shape) == 3:
        case = Case(model, classification, case.inputs.to(memory_format=torch.channels_last), case.targets)
    generator = torch.Generator().manual_seed(1)
    with Probe(model, torch.optim.SGD(model.parameters(), lr=RATE), log=path, sketch=0) as probe:
        for _ in range(draws):
            with probe.step():
                model.zero_grad()
                case.phi(torch.randint(40, (8,), generator=generator)).mean().backward()
    with h5py.File(path) as file:
        found = file["reservoir"]["temperature"][:].astype(float)
    for index, layer in enumerate(model_layers(model)):
        if layer.name not in probe.unmeasured:
            exact = RATE / 2 * case.exact_variance(layer.parameters) / 8 / layer.size
            error = found[:, index].std(ddof=1) / draws**0.5
            assert abs(found[:, index].mean() - exact) < 4 * error, (layer.name, found[:, index].mean() / exact)
    return probe.unmeasured


def with_parameter(linear: nn.Linear) -> nn.Linear:
    linear.scale = nn.Parameter(torch.ones(5).double())
    linear.register_forward_pre_hook(lambda module, inputs: (inputs[0] * module.scale.sum() / 5,))
    return linear


def pruned(linear: nn.Linear) -> nn.Linear:
    return prune.l1_unstructured(linear, "weight", 0.4)


@pytest.mark.parametrize(
    ("change", "unmeasured"),
    [
        (nn.utils.weight_norm, {"0"}),
        (nn.utils.spectral_norm, {"0"}),
        (pruned, {"0"}),
        (with_parameter, {"0"}),
        (parametrizations.weight_norm, {"0.parametrizations.weight"}),
    ],
)
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_parameters_that_a_rule_does_not_know_are_not_its(
    tmp_path: Path, change: Callable[[nn.Linear], nn.Linear], unmeasured: set[str], bias: bool
) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(change(nn.Linear(6, 5, bias=bias).double()), nn.Tanh(), nn.Linear(5, CLASSES).double())
    assert set(check(model, tmp_path / "log.h5", draws=40)) == unmeasured


def test_a_forward_pass_put_into_the_place_of_the_classs_has_no_rule(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, CLASSES)).double()
    first, mask = model[0], torch.rand(5, 6) < 0.4
    first.forward = types.MethodType(lambda self, x: F.linear(x, self.weight * mask, self.bias), first)
    # Whatever else this function holds on to, no copy can give it another one.
    plain = model[2].forward
    model[2].forward = lambda inputs: 2 * plain(inputs)
    assert check(model, tmp_path / "log.h5") == {"2": "2 has another forward method put into its place"}


def test_a_hook_that_puts_another_output_into_its_place_leaves_the_rule_right(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, CLASSES)).double()
    model[0].register_forward_hook(lambda module, inputs, output: 3 * output)
    model[2].register_forward_pre_hook(lambda module, inputs: (inputs[0].square(),))
    assert not check(model, tmp_path / "log.h5")


def test_samples_that_do_not_use_the_parameter_count_as_such(tmp_path: Path) -> None:
    class Branch(Leaf):
        def forward(self, inputs: Tensor) -> Tensor:
            return torch.cat([one * self.gain if one.sum() > -1 else one for one in inputs.split(1)])

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), Branch(), nn.Linear(5, CLASSES)).double()
    assert not check(model, tmp_path / "log.h5")


def test_channels_last_samples_are_read_one_by_one(tmp_path: Path) -> None:
    torch.manual_seed(0)
    layers = nn.Conv2d(2, 3, 3, padding=1), nn.InstanceNorm2d(3, affine=True), nn.PReLU(3), nn.Conv2d(3, 4, 3)
    model = nn.Sequential(*layers, nn.Tanh(), nn.Flatten(), nn.Linear(36, CLASSES))
    model = model.double().to(memory_format=torch.channels_last)
    assert not check(model, tmp_path / "log.h5", shape=(2, 5, 5))


def test_batch_norm_is_read_where_it_does_not_train(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Linear(5, CLASSES)).double()
    assert model_layers(model)[1].obstacle == "1 couples the samples of a batch"
    assert not check(model.eval(), tmp_path / "log.h5")


def test_a_torchscript_module_is_read_by_its_gradients(tmp_path: Path) -> None:
    def make() -> nn.Module:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, CLASSES))
        model[0] = torch.jit.script(model[0])
        return model

    _, unmeasured = train(make, tmp_path / "log.h5")
    assert unmeasured == {"0": "0 is a TorchScript module"}


def test_complex_parameters_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Spectral(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(4, 5, dtype=torch.cfloat))
            self.shift = nn.Parameter(torch.zeros(5))

        def forward(self, inputs: Tensor) -> Tensor:
            return (torch.fft.rfft(inputs) @ self.weight).abs() + self.shift

    with caplog.at_level(logging.WARNING, "thermotui"):
        _, unmeasured = train(lambda: nn.Sequential(Spectral(), nn.Linear(5, CLASSES)), tmp_path / "log.h5")
    assert "layer 0: its complex parameters are left out" in caplog.messages
    assert not unmeasured
    with h5py.File(tmp_path / "log.h5") as file:
        assert np.isfinite(file["reservoir"]["temperature"]).all()
    with pytest.raises(InputError, match="all complex"):
        model_layers(nn.Linear(3, 3, dtype=torch.cfloat))


def test_parameters_without_a_shape_are_refused_in_words() -> None:
    model = nn.Sequential(nn.LazyLinear(3), nn.Tanh())
    with pytest.raises(InputError, match="run the model once before attaching the probe"):
        model_layers(model)
    model(torch.ones(2, 4))
    assert [layer.name for layer in model_layers(model)] == ["0"]
