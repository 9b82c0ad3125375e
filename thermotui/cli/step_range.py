"""The option `--steps FIRST:LAST`."""

from __future__ import annotations

from thermotui.errors import InputError


def step_range(text: str | None, *, smallest: int = 1) -> tuple[int, int] | None:
    """First and last step of a range of at least `smallest` steps; None where none was given. InputError for others."""
    if text is None:
        return None
    first, _, last = text.partition(":")
    if not (first.isdecimal() and last.isdecimal()):
        raise InputError(f"--steps {text} is not of the form FIRST:LAST, such as 100:2000")
    if int(last) < int(first):
        raise InputError(f"--steps {text} ends before it begins; the first step comes first: {last}:{first}")
    if int(last) - int(first) < smallest - 1:
        raise InputError(f"--steps {text} is a single step; give a range of {smallest} steps or more")
    return int(first), int(last)
