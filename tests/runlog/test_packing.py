"""A row packed is byte for byte the row that numpy's assignments make."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thermotui.runlog.buffer import RowBuffer, cut_text, default_row
from thermotui.runlog.schema import STREAMS, row_dtype

from .conftest import make_header

HEADER = make_header(layers=3, ensemble=2)


def assigned(dtype: np.dtype[np.void], values: dict[str, Any]) -> bytes | None:
    """The row as numpy makes it; None where it refuses."""
    row = default_row(dtype)
    try:
        for name, value in values.items():
            text = dtype[name].kind == "S"
            row[name][0] = cut_text(value, dtype[name].itemsize) if text else value
    except (ValueError, TypeError, OverflowError):
        return None
    return row.tobytes()


NUMBERS = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True),
    st.integers(-(2**31), 2**31 - 1),
    st.floats(width=32).map(np.float32),
    st.floats(-10, 10).map(np.array),
    st.booleans(),
    st.just(None),
    st.just("no number"),
)


@st.composite
def rows(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """A stream and values for some of its fields, in any order and of any type that somebody may log."""
    stream = STREAMS[draw(st.sampled_from(sorted(STREAMS)))]
    dtype = row_dtype(stream, HEADER)
    values: dict[str, Any] = {}
    for name in draw(st.lists(st.sampled_from(dtype.names), unique=True)):
        shape = dtype[name].shape
        if dtype[name].kind == "S":
            values[name] = draw(st.text(max_size=200))
        elif not shape:
            values[name] = draw(NUMBERS)
        else:
            kind = draw(st.sampled_from(["f4", "f8", "i4"]))
            array = np.arange(np.prod(shape), dtype=kind).reshape(shape) + 1
            forms = [array, array.tolist(), np.asfortranarray(array), array[..., ::-1], array.ravel()[:2], 7.0]
            values[name] = draw(st.sampled_from(forms))
    return stream.name, values


@settings(max_examples=500)
@given(rows())
def test_packed_rows_are_assigned_rows(row: tuple[str, dict[str, Any]]) -> None:
    stream, values = row
    dtype = row_dtype(STREAMS[stream], HEADER)
    buffer = RowBuffer(stream, dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = assigned(dtype, values)
        step = values.pop("step", 0)
        if expected is None:
            with pytest.raises(ValueError, match=f"stream {stream}"):
                buffer.append(step, values)
            assert buffer.take() == []
            return
        buffer.append(step, values)
        # Once more into a row that held another before.
        buffer.recycle(buffer.take())
        buffer.append(step, values)
    (block,) = buffer.take()
    assert block.rows[:1].tobytes() == expected


def test_a_step_given_twice_is_refused() -> None:
    buffer = RowBuffer("steps", row_dtype(STREAMS["steps"], HEADER))
    with pytest.raises(ValueError, match=r"stream steps: .*the step is given twice"):
        buffer.append(1, {"step": 2})
    assert buffer.take() == []
