"""Numbers for people: a value is never shown without its standard error where it has one."""

from __future__ import annotations

import math
import unicodedata


def format_value(value: float, standard_error: float = math.nan, *, exact: bool = False) -> str:
    """A value with its standard error to two significant digits of the error: `−12.34 ± 0.05`.

    NaN is `—`. Without an error (NaN) the value alone, to four significant digits; `exact` says `(exact)`.
    """
    if math.isnan(value):
        return "—"
    if not math.isfinite(value):
        return "∞" if value > 0 else "−∞"
    if exact:
        return f"{_plain(value)} (exact)"
    if not math.isfinite(standard_error) or standard_error <= 0:
        return _plain(value)
    # Of the error as it is shown: 0.00999 is 0.010.
    shown = float(f"{standard_error:.1e}")
    exponent = math.floor(math.log10(max(abs(value), shown)))
    digits = 1 - math.floor(math.log10(shown))
    if -4 <= exponent < 6:
        decimals = max(0, digits)
        return _minus(f"{value:.{decimals}f} ± {standard_error:.{decimals}f}")
    scale = 10.0**exponent
    decimals = max(0, digits + exponent)
    return _minus(f"({value / scale:.{decimals}f} ± {standard_error / scale:.{decimals}f})e{exponent:+03d}")


def _plain(value: float) -> str:
    if value == 0:
        return "0"
    text = f"{value:.4g}" if -4 <= math.floor(math.log10(abs(value))) < 6 else f"{value:.3e}"
    return _minus(text)


def _minus(text: str) -> str:
    """The minus sign of print, except within an exponent."""
    mantissa, mark, exponent = text.partition("e")
    return mantissa.replace("-", "−") + mark + exponent


def format_duration(seconds: float) -> str:
    """`3 s`, `4 min`, `2 h 05 min`, `3 d 4 h`."""
    if not math.isfinite(seconds):
        return "—"
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if hours < 1:
        return f"{minutes} min"
    if days < 1:
        return f"{hours} h {minutes % 60:02d} min"
    return f"{days} d {hours % 24} h"


def printable(text: str) -> str:
    """`text` with every control, format and surrogate character escaped: a log's words cannot drive a terminal."""
    if text.isprintable():
        return text
    return "".join(
        character
        if unicodedata.category(character)[0] != "C"
        else character.encode("unicode_escape", "backslashreplace").decode("ascii")
        for character in text
    )


def words_of(name: str) -> str:
    """The name of a kind of alert or of a column as words: `l_info_saturated` is `L-info saturated`."""
    return name.replace("_", " ").replace("l info", "L-info").replace("m info", "M-info")
