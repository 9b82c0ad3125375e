"""Figures of measured steps that wait on the device, and their way to the host."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from thermotui.probe.autocorrelation import GradientProjection
from thermotui.probe.general_norms import GeneralNorms
from thermotui.probe.linear_norms import LinearNorms
from thermotui.probe.measurement import RAW, Measurements
from thermotui.probe.noise import NOISE
from thermotui.probe.readings import Readings
from thermotui.probe.rows import Rows

MOST_STEPS = 1024
MOST_FIGURES = 2**18
"""Figures of one kind that may wait."""


Measured = tuple[int, float, int, NDArray[np.float64]]
"""What the host knows of a measured step: the step, its time, its samples, and `Mobility.rates`."""


class WaitingFigures:
    """Collects measured steps."""

    def __init__(
        self,
        biases: Tensor,
        projection: GradientProjection,
        window: int,
        by_layer: dict[str, Callable[[Tensor], Tensor]],
    ) -> None:
        """biases: as in `LinearNorms`, [L], on the device. projection, window: as in `Readings`.

        by_layer: how figures by parameter become those by layer, [n, P] → [n, L], by names of `RAW`.
        """
        self._layers = len(biases)
        self._by_layer = by_layer
        self.capacity = max(min(MOST_STEPS, MOST_FIGURES // len(projection.columns)), 1)
        """Steps that may wait."""
        self._measured: list[Measured] = []
        self._noise = Rows(self.capacity)
        self._scales = Rows(self.capacity)
        self._figures = {"gradient": Rows(self.capacity)}
        self.readings = Readings(projection, self._figures["gradient"], window)
        """Where the figures of the gradient wait, those of the present step to be kept when it is over."""
        self.norms = LinearNorms(biases, self._noise)
        """Where the norms of linear layers wait, those of the present step to be kept when it is added."""
        self.general = GeneralNorms(len(biases), self._noise)
        """The same of layers of any kind."""

    def add(
        self,
        measured: Measured,
        noise: Tensor | LinearNorms | GeneralNorms,
        figures: Mapping[str, Tensor],
        scale: Tensor | None,
    ) -> int:
        """One more step, with what is on the device, which is copied; its place among them.

        noise: the rows `NOISE`, [3, L], or where the norms of the present step are that they are to be made of.
        figures: by names of `RAW`, [L], or [P] where they are by parameter. scale: the loss scale in them.
        """
        place = len(self._measured)
        self._measured.append(measured)
        if isinstance(noise, Tensor):
            self._noise.add(place, noise)
        else:
            noise.keep(place)
        for name, figure in figures.items():
            rows = self._figures.get(name)
            if rows is None:
                rows = self._figures[name] = Rows(self.capacity)
            rows.add(place, figure)
        if scale is not None:
            self._scales.add(place, scale)
        return place

    def take(self) -> Measurements:
        """All that were added since the last call, with one transfer from the device for all their figures."""
        measured, self._measured = self._measured, []
        raw = np.full((len(measured), len(RAW), self._layers), np.nan)
        if measured:
            columns: list[int] = []
            places: list[int] = []
            blocks: list[Tensor] = []
            for name, steps, values in self._taken():
                columns += [RAW.index(name)] * len(steps)
                places += steps
                blocks.append(values.float())
            raw[places, columns] = torch.cat(blocks).cpu().double().numpy()
        scales = np.ones(len(measured))
        scaled, values = self._scales.take()
        if scaled:
            scales[scaled] = values.cpu().double().numpy()
        found, times, samples, rates = zip(*measured, strict=True) if measured else ((),) * 4
        by_layer = np.array(rates, dtype=np.float64).reshape(len(measured), self._layers)
        return Measurements(
            steps=np.array(found, dtype=np.int64),
            times=np.array(times, dtype=np.float64),
            samples=np.array(samples, dtype=np.int64),
            rates=np.where(np.isnan(by_layer), raw[:, RAW.index("rate")], by_layer),
            scales=scales,
            raw=raw,
        )

    def _taken(self) -> Iterator[tuple[str, list[int], Tensor]]:
        """Figures by layer, [n, L]: name, places in what was added, values."""
        self.norms.settle()
        self.general.settle()
        self.readings.settle()
        places, values = self._noise.take()
        for row, name in enumerate(NOISE):
            yield name, places, values[:, row]
        for name, rows in self._figures.items():
            if len(rows):
                places, values = rows.take()
                yield name, places, self._by_layer[name](values) if name in self._by_layer else values


class WaitingNumbers:
    """What the loop says of its steps: numbers, on the device or on the host."""

    def __init__(self, capacity: int) -> None:
        """capacity: steps that may wait."""
        self._tensors = Rows(capacity, torch.float64)
        self._numbers: dict[int, float] = {}

    def add(self, place: int, value: Tensor | float) -> None:
        """That of the step at `place`; a tensor has one number."""
        if not isinstance(value, Tensor):
            self._numbers[place] = float(value)
        elif value.is_cpu:
            # On the host nobody waits for a number, and it takes half the time of copying a tensor.
            self._numbers[place] = float(value.item().real)
        else:
            value = value.detach()
            self._tensors.add(place, value if value.dim() == 0 else value.reshape(()))

    def take(self, steps: int) -> NDArray[np.float64]:
        """Those of as many steps, with one transfer from the device; NaN where there is none."""
        result = np.full(steps, np.nan)
        places, values = self._tensors.take()
        if places:
            result[places] = values.cpu().numpy()
        result[list(self._numbers)] = list(self._numbers.values())
        self._numbers.clear()
        return result
