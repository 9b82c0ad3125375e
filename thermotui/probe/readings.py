"""The gradient's figures of steps that wait, and are handed on many at a time."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from thermotui.probe.autocorrelation import GradientProjection
from thermotui.probe.forms import norm
from thermotui.probe.precision import full_precision
from thermotui.probe.rows import Rows

WAITING_VALUES = 2**18
"""Numbers that wait to be handed on together: small layers cost more in calls than in numbers."""
MOST_WAITING = 64
"""Steps that wait, so that what waits of small models stays in the processor's cache."""
SHORT = 2**14
"""Numbers whose squares a norm adds up in float32 without losing digits to how many there are."""
NARROW = 2**6
"""Numbers in a row that are too few to take the norm of each row: it costs more to begin than to add up."""


def takes_norms_at_once(device: torch.device) -> bool:
    """Whether an operation takes longer to start than to run, so that one for all gradients is better than many."""
    return device.type != "cpu"


class Place(NamedTuple):
    """Where the figures of one parameter's gradient G go."""

    direction: Tensor | None
    """v; None where G is a vector."""
    projected: Tensor
    """Gv, or G itself where it is a vector."""
    row_norms: Tensor | None
    """Norms of the rows of G; None where the square is not made of them."""
    square: Tensor | None
    """‖G‖², a scalar; None where it follows from `row_norms`, or from `projected` as that of a short vector does.

    On a processor, where norms of rows are operations that the step has just gone through in its backward pass."""


class Readings:
    """Squares by parameter, norms of rows and what `GradientProjection.joined` joins: a step a row."""

    def __init__(self, projection: GradientProjection, squares: Rows, window: int) -> None:
        """squares: takes ‖G‖² by parameter, [P], of steps that are measured. window: steps that `series` holds."""
        self.windowed = False
        """Whether the present step is of a window, and goes to the series."""
        self._begins = 0
        """The row from which on those that wait are of the window."""
        self._series = Rows(window, torch.float32)
        """Projected gradients by layer, [L, projections], of the window's steps that wait no more."""
        self._projection = projection
        self._squares = squares
        joined = projection.space()
        self.dtype = joined.dtype
        self._parameters = len(projection.columns)
        self.at_once = takes_norms_at_once(joined.device)
        """Whether norms are those of whole gradients, of all of them in one operation."""
        short = [] if self.at_once else [at for at, length in enumerate(projection.lengths) if length <= SHORT]
        self._vectors = [at for at in short if projection.columns[at] is None]
        self._matrices = [at for at in short if (v := projection.columns[at]) is not None and NARROW <= len(v) <= SHORT]
        self._lengths = [projection.lengths[at] for at in self._matrices]
        self._sizes = [self._parameters, sum(self._lengths), joined.numel()]
        steps = max(min(WAITING_VALUES // sum(self._sizes), MOST_WAITING), 1)
        self._table = joined.new_empty(steps, sum(self._sizes))
        self._rows = self._table.unbind()
        self._scales = joined.new_ones(steps, 1)
        self._count = 0
        self._measured: list[tuple[int, int]] = []
        """Rows of the steps that are measured, and their places among those."""
        self._present = torch.zeros_like(self._rows[0])
        self.present = self._places(self._present)
        """Of the step that is not kept yet, by parameter: always the same, so that it stays in the cache."""

    def clear(self) -> None:
        """The present step has zeros."""
        self._present.zero_()

    def begin_series(self, *, wanted: bool) -> None:
        """The steps from the present one on are of a window, or no more of one."""
        self.windowed = wanted
        self._series.take()
        self._begins = self._count

    def take_series(self) -> Tensor:
        """Projected gradients of the window's steps, [n, L, projections]; it holds until the next step is kept."""
        self.settle()
        return self._series.take()[1]

    def keep(self, place: int | None, scale: Tensor | None) -> None:
        """The present step is over; place: its place among those measured, if it is. scale: the loss scale in it."""
        self._rows[self._count].copy_(self._present)
        if scale is not None:
            self._scales[self._count].copy_(scale)
        if place is not None:
            self._measured.append((self._count, place))
        self._count += 1
        if self._count == len(self._rows):
            self.settle()

    def settle(self) -> None:
        """Hand on what waits."""
        squares, norms, joined = self._table[: self._count].split_with_sizes(self._sizes, dim=1)
        if self._measured:
            parts = self._projection.by_parameter(joined)
            summed = [(vector, parts[vector]) for vector in self._vectors]
            summed += zip(self._matrices, norms.split_with_sizes(self._lengths, dim=1), strict=True)
            if summed:
                norms_of = torch.stack([norm(values, dim=1) for _, values in summed], dim=1)
                squares[:, [parameter for parameter, _ in summed]] = norms_of.square_()
            rows, places = zip(*self._measured, strict=True)
            if len(rows) < self._count:
                # Row numbers as an index would go to the device, and the host would wait for it.
                each = squares.unbind()
                squares = torch.stack([each[row] for row in rows])
            self._squares.extend(list(places), squares)
            self._measured.clear()
        if self.windowed and self._count > self._begins:
            first = len(self._series)
            windowed = joined[self._begins :] / self._scales[self._begins : self._count]
            with full_precision(windowed.device):
                projected = self._projection.layers(windowed)
            self._series.extend(list(range(first, first + len(windowed))), projected)
        self._count = self._begins = 0

    def _places(self, row: Tensor) -> list[Place]:
        squares, norms, joined = row.split_with_sizes(self._sizes)
        rows = dict(zip(self._matrices, norms.split_with_sizes(self._lengths), strict=True))
        parts = self._projection.by_parameter(joined)
        inferred = {*self._vectors, *self._matrices}
        return [
            Place(direction, part, rows.get(at), None if at in inferred else square)
            for at, (direction, part, square) in enumerate(
                zip(self._projection.columns, parts, squares.unbind(), strict=True)
            )
        ]
