"""`thermotui import FILE`: another tool's run as a run log."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from thermotui.cli.paths import path_argument, path_option

app = typer.Typer(add_completion=False)

NAMES_SHOWN = 12


@app.command()
def import_run(
    source: Annotated[
        Path, path_argument(help="CSV, JSONL, TensorBoard event file or directory, W&B offline run (*.wandb).")
    ],
    log: Annotated[Path | None, path_option(help="Run log to write; default: the source's name with .h5.")] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(help="FIELD=NAME, repeatable: which column of the source is loss, say; FIELD= for none."),
    ] = None,
) -> None:
    """Make a run log that `watch`, `scan` and the other commands take. It has no thermodynamic columns, and says so.

    An empty cell is one that was not measured; text where a number belongs is refused.
    """
    from thermotui.errors import InputError
    from thermotui.runlog.exchange import importing

    columns = {}
    for text in column or []:
        field, equals, name = text.partition("=")
        if not equals or not field:
            raise InputError(f"--column {text} is not of the form FIELD=NAME, such as loss=train/loss")
        columns[field] = name
    report = importing.import_run(source, log or Path(f"{source.resolve().name}.h5"), columns)
    for field, name in report.columns.items():
        typer.echo(f"{field}: {name}", err=True)
    if report.left_out:
        rest = len(report.left_out) - NAMES_SHOWN
        more = f" and {rest} more" if rest > 0 else ""
        typer.echo(f"left out: {', '.join(report.left_out[:NAMES_SHOWN])}{more}", err=True)
    if "loss" in report.columns and "loss" in report.gaps:
        typer.echo("loss: some steps have none, so that a loss of nan raises no alert", err=True)
    typer.echo("no thermodynamic quantity was measured: the log holds the columns above alone", err=True)
    typer.echo(f"{report.path} ({report.rows} steps from {report.tool})")
