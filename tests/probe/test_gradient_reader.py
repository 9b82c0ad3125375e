"""A gradient that comes parameter by parameter, as under DDP, is read like one that comes whole, at the same work."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import Parameter
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from thermotui.probe import readings
from thermotui.probe.agreement import Directions
from thermotui.probe.autocorrelation import GradientProjection
from thermotui.probe.gradient_reader import PROJECTIONS, GradientReader, Wanted, gradient_projection
from thermotui.probe.readings import MOST_WAITING, NARROW, SHORT, Readings
from thermotui.probe.rows import Rows

Layers = Sequence[Sequence[Parameter]]
SHAPES = [(6, 4), (6,), (), (3, 2, 2), (5, 80), (2, 9, 9)]
WANTED = Wanted(squares=True, projections=True)


class Written(TorchDispatchMode):
    """Counts the elements of all that operations return."""

    elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.elements += sum(leaf.numel() for leaf in tree_leaves(result) if isinstance(leaf, Tensor))
        return result


class FromHost(TorchDispatchMode):
    """Whether operations have taken anything that lies elsewhere than on the device `meta`, or row numbers."""

    seen = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        leaves = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        # A list as an index becomes a tensor on the host before it goes to the device; not so on this one.
        self.seen |= func is torch.ops.aten.index.Tensor or any(leaf.device.type != "meta" for leaf in leaves)
        return func(*args, **(kwargs or {}))


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


class Kept:
    """What is read of steps that are measured and of a window."""

    def __init__(self, layers: Layers) -> None:
        self.squares = Rows(2 * MOST_WAITING)
        self.readings = Readings(gradient_projection(layers, 1), self.squares, window=2 * MOST_WAITING)
        self.readings.begin_series(wanted=True)
        self.reader = GradientReader(layers, self.readings, Directions(torch.device("cpu"), seed=2))

    def begin_step(self) -> None:
        self.reader.begin_step(WANTED)

    def end_step(self, place: int | None = 0, scale: Tensor | None = None) -> None:
        self.reader.end_step()
        self.readings.keep(place, scale)

    def take(self) -> tuple[Tensor, Tensor]:
        """‖g‖² by parameter of the steps that are measured and the window's projections by layer."""
        series = self.readings.take_series()
        return self.squares.take()[1], series


@pytest.mark.parametrize("read", [whole, one_by_one])
@pytest.mark.parametrize("at_once", [False, True], ids=["as on a processor", "as on a device"])
def test_figures_are_those_of_the_gradient_when_it_came(
    read: Any, at_once: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readings, "takes_norms_at_once", lambda device: at_once)
    layers = with_gradients(3)
    kept = Kept(layers)
    for _ in range(2):
        expected = projected(layers)
        squares = torch.stack([parameter.grad.square().sum() for layer in layers for parameter in layer])
        kept.begin_step()
        read(kept.reader, layers)
        change(layers)
        kept.end_step()
        found, series = kept.take()
        torch.testing.assert_close(series, expected.unsqueeze(0))
        torch.testing.assert_close(found, squares.unsqueeze(0))


def test_steps_that_wait_are_handed_on_one_by_one_with_their_places_and_without_the_loss_scale() -> None:
    layers = with_gradients(2)
    kept = Kept(layers)
    steps, places, expected, squares = MOST_WAITING + 3, [], [], []
    for step in range(steps):
        measured = step % 3 != 1
        change(layers)
        for parameter in (parameter for layer in layers for parameter in layer):
            parameter.grad.clamp_(-100.0, 100.0)
        kept.begin_step()
        whole(kept.reader, layers)
        expected.append(projected(layers) / (step + 1))
        if measured:
            places.append(2 * step)
            squares.append(torch.stack([parameter.grad.square().sum() for layer in layers for parameter in layer]))
        kept.end_step(2 * step if measured else None, torch.tensor(step + 1.0))
    series = kept.readings.take_series()
    found_places, found = kept.squares.take()
    assert found_places == places
    torch.testing.assert_close(found, torch.stack(squares))
    torch.testing.assert_close(series, torch.stack(expected))


def test_a_window_has_the_steps_since_its_beginning_whatever_waits_from_before() -> None:
    layers = with_gradients(2)
    kept = Kept(layers)
    expected, squares = [], []
    for step in range(9):
        change(layers)
        if step in (3, 6):
            # The first of these windows is left before it is full.
            kept.readings.begin_series(wanted=True)
            expected.clear()
        kept.begin_step()
        whole(kept.reader, layers)
        expected.append(projected(layers) / (step + 1))
        squares.append(torch.stack([parameter.grad.square().sum() for layer in layers for parameter in layer]))
        kept.end_step(step, torch.tensor(step + 1.0))
        if step == 4:
            kept.readings.settle()
    series = kept.readings.take_series()
    torch.testing.assert_close(series, torch.stack(expected))
    torch.testing.assert_close(kept.squares.take()[1], torch.stack(squares))


@pytest.mark.parametrize("read", [whole, one_by_one])
def test_a_second_backward_pass_of_a_step_that_reaches_some_parameters_leaves_the_others(read: Any) -> None:
    layers = with_gradients(2)
    kept = Kept(layers)
    kept.begin_step()
    read(kept.reader, layers)
    for parameter in layers[1]:
        parameter.grad.add_(1.0)
    expected = projected(layers)
    kept.reader.read(range(len(SHAPES), 2 * len(SHAPES)), None)
    change(layers)
    kept.end_step()
    torch.testing.assert_close(kept.take()[1], expected.unsqueeze(0))


def test_parameters_without_gradient_project_to_zero() -> None:
    layers = with_gradients(2)
    kept = Kept(layers)
    for reached in (2, 1):
        kept.begin_step()
        kept.reader.read(range(reached * len(SHAPES)), None)
        kept.end_step()
    expected = projected(layers)
    squares, series = kept.take()
    torch.testing.assert_close(series[0], expected)
    assert torch.equal(series[1, 1], torch.zeros(PROJECTIONS)) and torch.equal(series[1, 0], series[0, 0])
    assert torch.equal(squares[1, len(SHAPES) :], torch.zeros(len(SHAPES)))


def test_a_gradient_that_is_gone_already_is_not_known() -> None:
    layers = with_gradients(2)
    kept = Kept(layers)
    kept.begin_step()
    layers[0][0].grad = layers[0][1].grad = None
    whole(kept.reader, layers)
    kept.end_step()
    squares, series = kept.take()
    assert squares[0].isnan().tolist() == [True, True, *[False] * (2 * len(SHAPES) - 2)]
    assert series[0, 0].isnan().all() and series[0, 1].isfinite().all()


VECTORS = [(SHORT - 1,), (SHORT + 1,), (10**6,)]
MATRICES = [(3, SHORT), (3, SHORT + 1), (SHORT, NARROW), (SHORT + 1, NARROW), (200, NARROW - 1), (2, 10**6)]


@pytest.mark.parametrize("shape", [*VECTORS, *MATRICES])
def test_squares_lose_no_digits_to_the_size(shape: tuple[int, ...]) -> None:
    parameter = Parameter(torch.zeros(shape))
    parameter.grad = torch.randn(shape, generator=torch.Generator().manual_seed(5))
    kept = Kept([[parameter]])
    kept.begin_step()
    kept.reader.read([0], None)
    kept.end_step()
    exact = parameter.grad.double().square().sum()
    assert abs(kept.take()[0].item() / exact - 1) < 2e-6


@pytest.mark.parametrize("measured", [1, 2])
def test_what_waits_on_a_device_is_handed_on_with_nothing_from_the_host(measured: int) -> None:
    """The host would wait until the device has it."""
    parameters = [Parameter(torch.zeros(shape, device="meta")) for shape in SHAPES]
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
    kept = Kept([parameters])
    scale = torch.ones((), device="meta")
    with torch.no_grad(), FromHost() as from_host:
        for step in range(2 * MOST_WAITING + 1):
            kept.begin_step()
            kept.reader.read(range(len(SHAPES)), scale)
            kept.end_step(step if step % measured == 0 else None, scale)
            if step == MOST_WAITING:
                kept.take()
    assert not from_host.seen


def test_the_work_of_reading_one_by_one_grows_with_the_number_of_parameters() -> None:
    def written(count: int) -> int:
        layers = with_gradients(count)
        reader = Kept(layers).reader
        with torch.no_grad(), Written() as counter:
            reader.begin_step(WANTED)
            one_by_one(reader, layers)
        return counter.elements

    assert written(10) > 0
    assert written(40) == 4 * written(10)
