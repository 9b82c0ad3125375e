"""One value on an axis lies where an array of one does."""

from __future__ import annotations

import math
import sys

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from thermotui.tui.charts.model import SCALES, Scale
from thermotui.tui.charts.scales import Axis

VALUES = st.floats(allow_nan=False)


@given(VALUES, VALUES, VALUES, st.sampled_from(SCALES), st.floats(1e-300, 1e300))
def test_one_value(low: float, high: float, value: float, scale: Scale, threshold: float) -> None:
    assume(low < high and math.isfinite(low) and math.isfinite(high))
    axis = Axis(low, high, scale, threshold)
    with np.errstate(all="ignore"):
        expected = float(np.nan_to_num(axis.transform([value]), nan=-7.0)[0])
    found = axis.place(value, nowhere=-7.0)
    assert abs(found) <= sys.float_info.max
    assert math.isclose(found, expected, rel_tol=1e-9, abs_tol=1e-9)
