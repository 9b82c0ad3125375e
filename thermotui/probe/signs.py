"""Random signs for sketches, drawn ahead: on a device it takes longer to start a drawing than to draw."""

from __future__ import annotations

import torch
from torch import Tensor

DRAWN_AT_ONCE = 2**17
"""Signs."""


class RandomSigns:
    """Independent signs ±1, each handed out once, on the device of `generator`."""

    def __init__(self, generator: torch.Generator) -> None:
        self._generator = generator
        self._drawn = torch.empty(0, device=generator.device)
        self._used = 0

    def take(self, rows: int, columns: int, dtype: torch.dtype) -> Tensor:
        """[rows, columns] of `dtype`, a column after the other, as a device's products with few columns want them."""
        count = rows * columns
        if self._used + count > len(self._drawn) or self._drawn.dtype is not dtype:
            self._draw(max(count, DRAWN_AT_ONCE), dtype)
        first, self._used = self._used, self._used + count
        return self._drawn[first : self._used].view(columns, rows).mT

    def _draw(self, count: int, dtype: torch.dtype) -> None:
        # Memory of its own each time: whoever took the last ones may still read them.
        bits = torch.randint(0, 2, (count,), generator=self._generator, device=self._generator.device, dtype=dtype)
        self._drawn = bits.mul_(2).sub_(1)
        self._used = 0
