"""Numbers as people read them: rounded to their error, with a true minus sign, never without an error they have."""

from __future__ import annotations

import math
from functools import lru_cache

MINUS = "−"


def format_value(value: float, se: float | None = None, unit: str = "", *, exact: bool = False) -> str:
    """`−12.34 ± 0.05 nats`: the error to one or two digits, the value to the same place; "exact" where it is.

    se: standard error in the value's unit; None or NaN where there is none. Without an error the value has five
    significant digits.
    """
    suffix = f" {unit}" if unit else ""
    if math.isnan(value):
        return "—"
    if math.isinf(value):
        return f"{'∞' if value > 0 else MINUS + '∞'}{suffix}"
    if exact:
        return f"{_plain(value, 5)}{suffix} exact"
    if se is None or math.isnan(se):
        return f"{_plain(value, 5)}{suffix}"
    if se == 0:
        return f"{_plain(value, 5)} ± 0{suffix}"
    if math.isinf(se):
        return f"{_plain(value, 5)} ± ∞{suffix}"
    return f"{_with_error(value, se)}{suffix}"


@lru_cache(256)
def _with_error(value: float, se: float) -> str:
    """Round to two digits of the error where it starts with 1, else to one, as is usual for uncertainties."""
    if se < 1e-300:
        # Below the smallest power of ten there is none to divide by. Zeros of either sign are one key of the cache.
        return f"{_plain(value + 0.0, 5)} ± {_plain(se, 1)}"
    places = _places(se)
    # Of the error as it is shown: 0.0999 is 0.10.
    largest = max(abs(value), float(f"{se:.1e}"))
    if places > 9 or largest >= 1e7 or (largest < 1e-4 and largest > 0):
        power = math.floor(math.log10(largest))
        scale = 10.0**power
        decimals = max(0, min(places + power, 9))
        return f"({_fixed(value / scale, decimals)} ± {se / scale:.{decimals}f})e{_sign(str(power))}"
    if places >= 0:
        return f"{_fixed(value, places)} ± {se:.{places}f}"
    unit = 10**-places
    return f"{_sign(str(round(value / unit) * unit))} ± {round(se / unit) * unit}"


def _places(se: float) -> int:
    """Decimal places that show two digits of an error that starts with 1, and one of any other."""
    mantissa, _, exponent = f"{se:.1e}".partition("e")
    return (1 if float(mantissa) < 2 else 0) - int(exponent)


def _plain(value: float, digits: int) -> str:
    text = f"{value:.{digits}g}"
    mantissa, _, exponent = text.partition("e")
    return _sign(f"{mantissa}e{int(exponent)}" if exponent else mantissa)


def _fixed(value: float, places: int) -> str:
    """So many decimal places; a zero has no sign, whatever it was rounded from."""
    text = f"{value:.{places}f}"
    return text.removeprefix("-") if float(text) == 0 else _sign(text)


def _sign(text: str) -> str:
    return text.replace("-", MINUS)


def format_compact(value: float, se: float | None = None) -> str:
    """`−4.91(5)`: the error of the last digits in parentheses; `−4.907` where there is none. For narrow places."""
    if se is None or not (math.isfinite(value) and math.isfinite(se) and se > 0):
        return _plain(value, 4) if math.isfinite(value) else format_value(value)
    places = _places(se)
    if not 0 <= places <= 9:
        return format_value(value, se)
    return f"{_fixed(value, places)}({se * 10.0**places:.0f})"


def format_tick(value: float, step: float) -> str:
    """A label for an axis, as short as tells neighbours `step` apart; thousands and more as 10k, 2.5M."""
    if value == 0:
        return "0"
    for limit, suffix in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= limit and abs(value) < 1e12:
            scale = 1e3 if suffix == "k" else limit
            return _sign(_decimals(value / scale, step / scale) + suffix)
    if abs(value) >= 1e12 or abs(value) < 1e-4:
        return _plain(value, 3)
    return _sign(_decimals(value, step))


def _decimals(value: float, step: float) -> str:
    places = 0 if step <= 0 else max(0, min(8, -math.floor(math.log10(step) + 1e-9)))
    # 2.5 needs one place although its neighbours are 2.5 apart.
    if places < 8 and step > 0 and not math.isclose(round(step, places), step, rel_tol=1e-6):
        places += 1
    return f"{value:.{places}f}"


def to_ascii(text: str) -> str:
    """The text in ASCII, for terminals that have nothing else: signs spelled out, Greek letters by name."""
    return "".join(character if character.isascii() else _ASCII.get(character, "?") for character in text)


_ASCII = {
    "−": "-", "±": "+-", "—": "n/a", "∞": "inf", "…": "~", "·": "*", "×": "x", "≤": "<=", "≥": ">=", "Δ": "d",
    "Σ": "Sigma", "Θ": "Theta", "θ": "theta", "φ": "phi", "η": "eta", "μ": "mu", "τ": "tau", "⟨": "<", "⟩": ">",
    "²": "^2", "½": "1/2", "∇": "grad ", "√": "sqrt ", "‖": "||", "ℓ": "l", "α": "alpha", "→": "->", "–": "-",
}  # fmt: skip
