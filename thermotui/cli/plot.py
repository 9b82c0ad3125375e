"""`thermotui plot FILE`: a run as PNG, SVG or PDF."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from thermotui.cli.paths import path_argument, path_option

app = typer.Typer(add_completion=False)


@app.command()
def plot(
    file: Annotated[Path, path_argument(help="A run log.")],
    output: Annotated[
        Path | None,
        path_option("--output", "-o", help="Picture to write; its ending, png, svg or pdf, says the format."),
    ] = None,
    panel: Annotated[list[str] | None, typer.Option(help="A panel to draw, repeatable; default: all.")] = None,
    steps: Annotated[str | None, typer.Option(help="FIRST:LAST, a range of steps.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what is at --output.")] = False,
) -> None:
    """Draw all panels of a run, or some."""
    from thermotui.analysis.pictures import draw_run
    from thermotui.cli.step_range import step_range
    from thermotui.runlog.reader import RunLogReader

    picture = output or Path(f"{file.stem}.svg")
    with RunLogReader(file) as log:
        draw_run(log, panel or [], step_range(steps, smallest=2), picture, force=force)
    typer.echo(picture)
