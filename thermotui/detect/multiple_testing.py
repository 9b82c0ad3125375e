"""Many looks at once: p-values and the false-discovery rate across layers."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def two_sided_p(z: float) -> float:
    """P(|Z| > |z|) for a standard normal Z."""
    return math.erfc(abs(z) / math.sqrt(2))


def benjamini_hochberg(p_values: NDArray[np.float64], q: float) -> NDArray[np.bool_]:
    """Which of the hypotheses to reject so that the expected share of false rejections is at most `q`.

    p_values: float64 [m]; NaN stands for a hypothesis that was not tested. Returns bool [m]. Rejects the k smallest,
    k the largest with p_(k) ≤ q k/m (Benjamini & Hochberg 1995).
    """
    tested = np.flatnonzero(~np.isnan(p_values))
    rejected = np.zeros(len(p_values), dtype=np.bool_)
    if not tested.size:
        return rejected
    order = tested[np.argsort(p_values[tested], kind="stable")]
    below = np.flatnonzero(p_values[order] <= q * np.arange(1, tested.size + 1) / tested.size)
    if below.size:
        rejected[order[: below[-1] + 1]] = True
    return rejected
