"""Printing tables on standard output."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

PIPE_WIDTH = 160
"""A pipe has no width of its own: tables that wrap at 80 columns are hard on the eye and on grep."""


def table_console() -> Console:
    """A console as wide as the terminal, or of PIPE_WIDTH columns where standard output is none."""
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else PIPE_WIDTH)


@contextmanager
def until_nobody_reads() -> Iterator[None]:
    """Leave with status 141, as a shell says it, where the reader of our standard output went away (`| head`)."""
    try:
        yield
    except BrokenPipeError:
        # The interpreter's own flush at exit must not complain about it a second time. Typer would leave with status 1.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except SystemExit as leaving:
        # rich has caught it first, and leaves with status 1 as well.
        sys.exit(141 if isinstance(leaving.__context__, BrokenPipeError) else leaving.code)
