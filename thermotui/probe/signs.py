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
        self._device = generator.device
        self._drawn: dict[tuple[torch.dtype, int], Tensor] = {}
        """Those that are left, by type and stream: what another stream has drawn may not be there yet."""

    def take(self, rows: int, columns: int, dtype: torch.dtype) -> Tensor:
        """[rows, columns] of `dtype`, a column after the other, as a device's products with few columns want them."""
        count = rows * columns
        stream = torch.cuda.current_stream(self._device).cuda_stream if self._device.type == "cuda" else 0
        drawn = self._drawn.get((dtype, stream))
        if drawn is None or len(drawn) < count:
            drawn = self._draw(max(count, DRAWN_AT_ONCE), dtype)
        taken, self._drawn[dtype, stream] = drawn.tensor_split([count])
        return taken.view(columns, rows).mT

    def _draw(self, count: int, dtype: torch.dtype) -> Tensor:
        bits = torch.randint(0, 2, (count,), generator=self._generator, device=self._device, dtype=dtype)
        return bits.mul_(2).sub_(1)
