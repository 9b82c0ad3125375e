"""How far two means of a positive series are apart, in standard errors, and which differences may count."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_ROOT = 1 / 3
_REMEMBERED = 2.0  # the scatter of long ago counts up to so many times that of white noise
_SHARES = np.array([0.5, 0.75])  # of the change of the noise that its differences and its absolute size must show
_NOISY = 0.2  # mean difference over mean size, which is 1.4 for white noise and 0.37 for a correlation of 0.93


def far_off(recent: NDArray[np.float64], before: NDArray[np.float64], ratio: float) -> NDArray[np.bool_]:
    """Which of two means, of any shape, differ by that ratio or more, rounding allowed for: a cheap bound."""
    limit = ratio * (1 - 1e-9)
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray((recent > limit * before) | (limit * recent < before))


def scores(
    recent: NDArray[np.float64],
    w: int,
    reference: NDArray[np.float64],
    n: NDArray[np.int64] | int,
    scatter: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """g and its error from sums of x, x², x·x₋₁ over w and over n samples: arrays [..., 3, L] → [..., L].

    scatter: of the mean, relative and squared, in the last blocks and in more of them, [2, ..., L]; NaN where unknown.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        mean = reference[..., 0, :] / n
        variance = np.maximum(reference[..., 1, :] / n - mean**2, 0.0)
        colour = np.clip((reference[..., 2, :] / n - mean**2) / variance, 0.0, 0.98)
        g = np.log(recent[..., 0, :] / w / mean)
        white = np.maximum(reference[..., 1, :] - reference[..., 2, :], 0.0) / n
        white = white / mean**2
        known = np.maximum(np.maximum(white, scatter[0]), np.minimum(scatter[1], _REMEMBERED * white))
        relative = np.where(np.isnan(scatter[0]), variance / mean**2 * (1 + colour) / (1 - colour), known)
        se = np.sqrt(relative * (1 / w + 1 / n))
    return g, np.maximum(se, 1e-6)


def agreed(hit: NDArray[np.bool_], g: NDArray[np.float64], mean: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which changes of the first series its witnesses bear out, bool [n, L]; never one of a witness.

    g: the logarithm of each series' change, mean: of the recent window, both [n, L]. Both witnesses must have moved the
    same way, nearly as far; and the second series, the differences of the noise, must not be small beside the first,
    before or after: where they are, the level lags behind a curve and there is no noise.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        before = mean * np.exp(-g)
    borne_out = np.zeros_like(hit)
    borne_out[:, 0] = hit[:, 0] & np.all(g[:, 1:] * np.sign(g[:, :1]) > _SHARES * np.abs(g[:, :1]), axis=1)
    for size in (mean, before):
        borne_out[:, 0] &= size[:, 1] > _NOISY * size[:, 0]
    return borne_out


def normal(g: NDArray[np.float64]) -> NDArray[np.float64]:
    """The logarithms of changes, g of any shape, those of falls as 3(∛ratio − 1).

    The mean of few sizes is distributed nearly as a gamma variable: its cube root is normal (Wilson & Hilferty 1931),
    its logarithm has a long tail below, where falls by chance lie. Above, heavy tails make the logarithm the better.
    """
    return np.where(g < 0, np.expm1(g * _ROOT) / _ROOT, g)
