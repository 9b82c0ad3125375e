"""Whether what is measured can be what it is taken for."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from thermotui.probe.measurement import RAW, Measurements

logger = logging.getLogger("thermotui")

ENOUGH = 16
"""Such measurements of one layer before anything is said."""
ERRORS = 5.0
"""Standard errors below zero that no temperature is by chance: it is that of a variance."""
ROUNDING = 0.01
"""Share of the samples' squares below which a difference of large numbers may be rounding."""


class NegativeTemperatures:
    """Warns once where temperatures are negative time and again: the gradient is not the sum of the samples' then."""

    def __init__(self, names: Sequence[str]) -> None:
        """names: of the layers."""
        self._names = names
        self._negative = np.zeros(len(names), np.int64)
        self._said = False

    def look(self, measured: Measurements, rows: NDArray[np.void]) -> None:
        """More measurements, and the rows of `reservoir` that they are."""
        if self._said:
            return
        squares, gradient = (measured.raw[:, RAW.index(name)] for name in ("squares", "gradient"))
        more = gradient > (1.0 + ROUNDING) * measured.samples[:, None] * squares
        self._negative += (more & (rows["temperature"] < -ERRORS * rows["temperature_se"])).sum(axis=0)
        found = np.flatnonzero(self._negative >= ENOUGH)
        if found.size:
            self._said = True
            logger.warning(
                "layer %s: its temperature is negative beyond its error, so its gradient is not the sum of what the "
                "batch's samples give. Is that of earlier steps still in it (optimizer.zero_grad), or does a term of "
                "the loss not belong to samples?",
                self._names[found[0]],
            )
