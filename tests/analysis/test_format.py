import math

import pytest

from thermotui.analysis.format import format_duration, format_value, printable


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (-12.3456, 0.05, "−12.346 ± 0.050"),
        (1234.5, 120.0, "1234 ± 120"),
        (1.1e-7, 3e-9, "(1.100 ± 0.030)e-07"),
        (0.0, 0.01, "0.000 ± 0.010"),
        (0.3374, 0.00999999, "0.337 ± 0.010"),
        (0.0, 9.99999e-13, "(0.0 ± 1.0)e-12"),
        (3.25, math.nan, "3.25"),
        (math.nan, 0.1, "—"),
        (-math.inf, 0.1, "−∞"),
        (2.5e9, math.nan, "2.500e+09"),
    ],
)
def test_a_value_carries_two_digits_of_its_error(value: float, error: float, text: str) -> None:
    assert format_value(value, error) == text


def test_exact_figures_say_so() -> None:
    assert format_value(1.5, exact=True) == "1.5 (exact)"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59, "59 s"), (240, "4 min"), (7500, "2 h 05 min"), (273600, "3 d 4 h"), (math.nan, "—")],
)
def test_durations(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def test_control_characters_never_reach_the_terminal() -> None:
    hostile = "run\x1b]0;owned\x07\x9b31m\u202e\nφ θ"
    shown = printable(hostile)
    assert shown == "run\\x1b]0;owned\\x07\\x9b31m\\u202e\\nφ θ"
    assert all(ord(character) >= 32 and not 0x7F <= ord(character) < 0xA0 for character in shown)
