"""Numbers are rounded to their error, and never shown without one that they have."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thermotui.tui.charts.numbers import _with_error, format_tick, format_value, to_ascii


@pytest.mark.parametrize(
    ("value", "se", "text"),
    [
        (-12.3421, 0.05, "−12.34 ± 0.05"),
        (-12.3421, 0.152, "−12.34 ± 0.15"),
        (1234.5, 27.0, "1230 ± 30"),
        (1234.5, 127.0, "1230 ± 130"),
        (0.0, 0.3, "0.0 ± 0.3"),
        (-0.01, 0.3, "0.0 ± 0.3"),
        (-1e-12, 2e-11, "(0 ± 2)e−11"),
        (0.0, 9.99999e-13, "(0.0 ± 1.0)e−12"),
        (1.5e-7, 2e-9, "(1.50 ± 0.02)e−7"),
        (3.2e9, 1e8, "(3.20 ± 0.10)e9"),
        (5.0, 0.0, "5 ± 0"),
        (0.999, 0.0996, "1.00 ± 0.10"),
        (2.0, math.inf, "2 ± ∞"),
        (2.0, math.nan, "2"),
        (2.0, None, "2"),
        (math.nan, 0.1, "—"),
        (-math.inf, None, "−∞"),
    ],
)
def test_format(value: float, se: float | None, text: str) -> None:
    assert format_value(value, se) == text


def test_exact_figures_say_so_and_units_follow() -> None:
    assert format_value(-0.25, 0.0, "nats", exact=True) == "−0.25 nats exact"
    assert format_value(1.0, 0.2, "nats") == "1.0 ± 0.2 nats"


@given(st.floats(-1e12, 1e12), st.floats(1e-12, 1e12))
def test_the_text_holds_the_value_within_its_error(value: float, se: float) -> None:
    text = format_value(value, se).replace("−", "-")
    assert "±" in text
    power = 0
    if text.startswith("("):
        text, _, exponent = text[1:].partition(")e")
        power = int(exponent)
    shown_value, shown_error = (float(part) * 10.0**power for part in text.split("±"))
    assert abs(shown_value - value) <= 0.51 * se + 1e-6 * abs(value)
    assert shown_error == pytest.approx(se, rel=0.51, abs=1e-9 * abs(value))


@pytest.mark.parametrize(
    ("value", "step", "text"),
    [
        (0.0, 1.0, "0"), (0.25, 0.25, "0.25"), (2.5, 2.5, "2.5"), (-10.0, 5.0, "−10"), (20000.0, 5000.0, "20k"),
        (2.5e6, 5e5, "2.5M"), (12500.0, 2500.0, "12.5k"), (1e-5, 1e-5, "1e−5"), (9000.0, 1000.0, "9000"),
        (3e9, 1e9, "3G"),
    ],
)  # fmt: skip
def test_ticks(value: float, step: float, text: str) -> None:
    assert format_tick(value, step) == text


@given(st.text())
def test_ascii_is_ascii(text: str) -> None:
    assert to_ascii(text).isascii()


@pytest.mark.parametrize("values", [(0.0, -0.0), (-0.0, 0.0)])
def test_a_zero_is_not_written_as_one_of_another_sign_was_before(values: tuple[float, float]) -> None:
    _with_error.cache_clear()
    for se in (1e-310, 1e-20, 0.1, 1e3):
        first, second = (format_value(value, se) for value in values)
        assert first == second and not first.startswith("−")
