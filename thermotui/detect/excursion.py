"""What the loss filter tells: how it sees each sample, and the excursions that leave the level."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Excursion:
    """One excursion of the loss, as samples [start, end) counted from the first; `end` None while it lasts.

    `at`: the sample that showed it. `before`, `after`: level of y before, and at its height or afterwards.
    `score`: the excess in scales. `announced`: whether the same excursion was told of before, as a spike.
    """

    kind: str
    start: int
    end: int | None
    at: int
    before: float
    after: float
    score: float
    announced: bool = False


@dataclass(frozen=True)
class Filtered:
    """What `LossFilter.feed` makes of n samples.

    clean: float64 [n], the level with at most 2.5 scales of surprise. surprise: float64 [n], y minus what was
    expected, about its running mean; scale: float64 [n], the scatter it expected.
    calm: bool [n], False where an excursion froze the level. anchors: samples at which the level was set anew.
    """

    clean: NDArray[np.float64]
    surprise: NDArray[np.float64]
    scale: NDArray[np.float64]
    calm: NDArray[np.bool_]
    anchors: tuple[int, ...]
    excursions: tuple[Excursion, ...]
