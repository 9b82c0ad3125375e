"""Arguments and options that are paths: whoever opens one says why it cannot be read, alike for all commands."""

from functools import partial

import typer

path_argument = partial(typer.Argument, readable=False)
path_option = partial(typer.Option, readable=False)
