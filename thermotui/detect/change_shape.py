"""How a mean moved: at once or along a ramp, and when, by least squares."""

from __future__ import annotations

import functools
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

SLOW = 160
"""Samples: a change that takes as long, and at least four blocks, is a drift."""

_CLEARLY = 0.95  # share of a jump's squared error that a ramp must stay below to be believed
_TINY = 1e-300


class _Ramps(NamedTuple):
    begin: NDArray[np.int64]
    finish: NDArray[np.int64]
    shapes: NDArray[np.float64]
    """Of mean 0, [ramps, blocks]."""
    squares: NDArray[np.float64]


@functools.lru_cache(32)
def _ramps(blocks: int) -> _Ramps:
    """All ramps from 0 to 1 over so many blocks."""
    begin, finish = np.triu_indices(blocks + 1)
    inside = (begin > 0) & (begin < blocks)
    begin, finish = begin[inside], finish[inside]
    length = np.maximum(finish - begin, 1e-9)
    shapes = np.clip((np.arange(blocks)[None, :] + 0.5 - begin[:, None]) / length[:, None], 0.0, 1.0)
    shapes -= shapes.mean(axis=1, keepdims=True)
    return _Ramps(begin, finish, shapes, np.maximum((shapes**2).sum(axis=1), 1e-12))


def jump_or_ramp(y: NDArray[np.float64], width: int) -> tuple[Literal["jump", "drift"], int, int]:
    """Fit ramps, flat before block `begin` and after block `finish`, to y, float64 [blocks], of `width` samples each.

    A jump is a ramp of no length. Returns which of the two fits, and its (begin, finish), 0 < begin < blocks.
    """
    begin, finish, shapes, squares = _ramps(len(y))
    explained = (shapes @ y) ** 2 / squares
    left = float(np.sum((y - y.mean()) ** 2)) - explained
    slow = ((finish - begin) * width >= SLOW) & (finish - begin >= 4)
    jump = int(np.argmax(np.where(finish == begin, explained, -1.0)))
    if slow.any():
        drift = int(np.argmax(np.where(slow, explained, -1.0)))
        if left[drift] < _CLEARLY * left[jump]:
            return "drift", int(begin[drift]), int(finish[drift])
    return "jump", int(begin[jump]), int(finish[jump])


def split_of_sums(sums: NDArray[np.float64], points: NDArray[np.int64], first: int, last: int) -> int:
    """Which of `points` best splits [first, last) into two means; `sums` are running sums at first, points, last."""
    before, after = points - first, last - points
    ratio = np.log(np.maximum((sums[1:-1] - sums[0]) / before, _TINY)) - np.log(
        np.maximum((sums[-1] - sums[1:-1]) / after, _TINY)
    )
    return int(np.argmax(before * after * ratio**2))


def split_of_samples(x: NDArray[np.float64], points: NDArray[np.int64]) -> int:
    """Which of `points`, positions in x, best splits the logarithms of x, float64 [n], positive, into two means."""
    y = np.log(np.maximum(x, max(0.1 * float(np.median(x)), 1e-30)))
    sums = np.concatenate([[0.0], np.cumsum(y)])
    gap = (sums[-1] - sums[points]) / (len(y) - points) - sums[points] / points
    return int(points[np.argmax(points * (len(y) - points) * gap**2)])
