"""Figures of measured steps that wait on the device, and their way to the host."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from thermotui.probe.measurement import RAW, Measurements
from thermotui.probe.noise import NOISE, LinearStep, linear_sums

MOST_STEPS = 1024
MOST_FIGURES = 2**14
"""Figures by parameter that may wait; each is a tensor of its own, since gathering them at every step takes longer."""


class Measured(NamedTuple):
    """A measured step; tensors are still on the device."""

    step: int
    time: float
    samples: int
    rates: NDArray[np.float64]
    scale: Tensor | None
    figures: dict[str, Tensor]
    """By names of `RAW`, [L] each."""
    by_parameter: dict[str, list[Tensor]]
    """By names of `RAW`, a scalar for each parameter; they are added up on their way to the host."""
    linear: LinearStep | None
    """What the sums over the samples are made of, where `figures` does not have them."""


class WaitingFigures:
    """Collects measured steps."""

    def __init__(self, layers: int, parameters: int, by_layer: dict[str, Callable[[Tensor], Tensor]]) -> None:
        """layers, parameters: their numbers L and P.

        by_layer: how figures by parameter become those by layer, [n, P] → [n, L], by names of `RAW`.
        """
        self._layers = layers
        self._by_layer = by_layer
        self.capacity = max(min(MOST_STEPS, MOST_FIGURES // parameters), 1)
        """Steps that may wait."""
        self._measured: list[Measured] = []
        self.add = self._measured.append
        """Takes one more `Measured`."""

    def take(self) -> Measurements:
        """All that were added since the last call, with one transfer from the device for all their figures."""
        measured = self._measured.copy()
        self._measured.clear()
        raw = np.full((len(measured), len(RAW), self._layers), np.nan)
        if measured:
            columns: list[int] = []
            places: list[int] = []
            blocks: list[Tensor] = []
            for name, steps, values in (*self._added_up(measured), *_linear_sums(measured)):
                columns += [RAW.index(name)] * len(steps)
                places += steps
                blocks.append(values)
            for place, one in enumerate(measured):
                if one.figures:
                    columns += [RAW.index(name) for name in one.figures]
                    places += [place] * len(one.figures)
                    blocks.append(torch.stack([figure.float() for figure in one.figures.values()]))
            raw[places, columns] = torch.cat(blocks).cpu().double().numpy()
        return Measurements(
            steps=np.array([one.step for one in measured], dtype=np.int64),
            times=np.array([one.time for one in measured]),
            samples=np.array([one.samples for one in measured], dtype=np.int64),
            rates=np.array([one.rates for one in measured]).reshape(len(measured), self._layers),
            scales=to_host([one.scale for one in measured], missing=1.0),
            raw=raw,
        )

    def _added_up(self, measured: Sequence[Measured]) -> Iterator[tuple[str, list[int], Tensor]]:
        """Figures by parameter as those by layer, [n, L]: name, places in `measured`, values."""
        for name, by_layer in self._by_layer.items():
            steps = [place for place, one in enumerate(measured) if name in one.by_parameter]
            if steps:
                values = torch.stack([value for place in steps for value in measured[place].by_parameter[name]])
                yield name, steps, by_layer(values.view(len(steps), -1))


def _linear_sums(measured: Sequence[Measured]) -> Iterator[tuple[str, list[int], Tensor]]:
    """The rows `NOISE` of the steps that left their sums undone, many at once."""
    alike: dict[int, list[int]] = {}
    for place, one in enumerate(measured):
        if one.linear is not None:
            alike.setdefault(len(one.linear.norms[0]), []).append(place)
    for samples, steps in alike.items():
        linear = [step for step in (measured[place].linear for place in steps) if step is not None]
        norms = torch.stack([norm for step in linear for norm in step.norms])
        sums = linear_sums(norms.view(len(steps), -1, samples), linear[0].biases)
        for row, name in enumerate(NOISE):
            yield name, steps, sums[:, row]


def to_host(values: Sequence[Tensor | float | None], *, missing: float) -> NDArray[np.float64]:
    """Scalars from the device in one transfer; numbers as they are."""
    result = np.full(len(values), missing)
    tensors: dict[int, Tensor] = {}
    for i, value in enumerate(values):
        if isinstance(value, Tensor):
            tensors[i] = value if value.dim() == 0 else value.reshape(())
        elif value is not None:
            result[i] = float(value)
    if tensors:
        result[list(tensors)] = torch.stack(list(tensors.values())).cpu().double().numpy()
    return result
