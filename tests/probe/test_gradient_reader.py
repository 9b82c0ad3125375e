"""A gradient that comes parameter by parameter, as under DDP, is read like one that comes whole, at the same work."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import Parameter
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from thermotui.probe.autocorrelation import GradientProjection
from thermotui.probe.gradient_reader import PROJECTIONS, GradientReader, Wanted

Layers = Sequence[Sequence[Parameter]]
SHAPES = [(6, 4), (6,), (), (3, 2, 2)]
WANTED = Wanted(squares=True, projections=True)


class Written(TorchDispatchMode):
    """Counts the elements of all that operations return."""

    elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.elements += sum(leaf.numel() for leaf in tree_leaves(result) if isinstance(leaf, Tensor))
        return result


def with_gradients(count: int) -> Layers:
    generator = torch.Generator().manual_seed(count)
    layers = [[Parameter(torch.zeros(shape)) for shape in SHAPES] for _ in range(count)]
    for parameter in (parameter for layer in layers for parameter in layer):
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    return layers


def whole(reader: GradientReader, layers: Layers) -> None:
    reader.read(range(len(layers) * len(SHAPES)), None)


def one_by_one(reader: GradientReader, layers: Layers) -> None:
    for position in reversed(range(len(layers) * len(SHAPES))):
        reader.read((position,), None)


def projected(layers: Layers) -> Tensor:
    """Of the present gradients, [L, PROJECTIONS]."""
    project = GradientProjection(layers, member_axis=False, projections=PROJECTIONS, seed=1)
    return project([[parameter.grad.clone() for parameter in layer] for layer in layers])


def change(layers: Layers) -> None:
    """What the loop does when it has its gradients back, clipping for example."""
    for parameter in (parameter for layer in layers for parameter in layer):
        parameter.grad.mul_(-3.0)


@pytest.mark.parametrize("read", [whole, one_by_one])
@pytest.mark.parametrize("dots", [True, False], ids=["as on a processor", "as on a device"])
def test_figures_are_those_of_the_gradient_when_it_came(read: Any, dots: bool) -> None:
    layers = with_gradients(3)
    reader = GradientReader(layers, seed=1)
    reader._by_dots = dots
    for _ in range(2):
        expected = projected(layers)
        squares = torch.stack([parameter.grad.square().sum() for layer in layers for parameter in layer])
        reader.begin_step(WANTED)
        read(reader, layers)
        change(layers)
        assert torch.equal(reader.projections(reader.projected), expected)
        torch.testing.assert_close(reader.squares, squares)


@pytest.mark.parametrize("read", [whole, one_by_one])
def test_a_second_backward_pass_of_a_step_that_reaches_some_parameters_leaves_the_others(read: Any) -> None:
    layers = with_gradients(2)
    reader = GradientReader(layers, seed=1)
    reader.begin_step(WANTED)
    read(reader, layers)
    for parameter in layers[1]:
        parameter.grad.add_(1.0)
    expected = projected(layers)
    reader.read(range(len(SHAPES), 2 * len(SHAPES)), None)
    change(layers)
    assert torch.equal(reader.projections(reader.projected), expected)


def test_parameters_without_gradient_project_to_zero() -> None:
    layers = with_gradients(2)
    reader = GradientReader(layers, seed=1)
    reader.begin_step(WANTED)
    reader.read(range(len(SHAPES)), None)
    expected = projected(layers)
    expected[1] = 0.0
    assert torch.equal(reader.projections(reader.projected), expected)


def test_the_work_of_reading_one_by_one_grows_with_the_number_of_parameters() -> None:
    def written(count: int) -> int:
        layers = with_gradients(count)
        reader = GradientReader(layers, seed=1)
        with torch.no_grad(), Written() as counter:
            reader.begin_step(WANTED)
            one_by_one(reader, layers)
        return counter.elements

    assert written(10) > 0
    assert written(40) == 4 * written(10)
