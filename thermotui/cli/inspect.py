"""`thermotui inspect FILE`: what the run is, its balance sheet, its temperatures, its alerts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from thermotui.cli.inspected import print_inspection
from thermotui.cli.paths import path_argument

app = typer.Typer(add_completion=False)


@app.command()
def inspect(
    file: Annotated[Path, path_argument(help="A run log.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, stable keys.")] = False,
) -> None:
    """Say what a run is and whether its thermodynamics adds up."""
    print_inspection(file, as_json=as_json)
