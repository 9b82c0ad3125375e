"""Printing tables on standard output."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

PIPE_WIDTH = 160
"""A pipe has no width of its own: tables that wrap at 80 columns are hard on the eye and on grep."""


def table_console() -> Console:
    """A console as wide as the terminal, or of PIPE_WIDTH columns where standard output is none."""
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else PIPE_WIDTH)
