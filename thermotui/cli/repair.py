"""`thermotui repair FILE`: save what is sound in a damaged log."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from thermotui.cli.paths import path_argument, path_option

app = typer.Typer(add_completion=False)


@app.command()
def repair(
    file: Annotated[Path, path_argument(help="A run log: crashed, cut short or corrupted.")],
    output: Annotated[
        Path | None,
        path_option("--output", "-o", help="Log to write; default: NAME.repaired.h5."),
    ] = None,
    in_place: Annotated[bool, typer.Option("--in-place", help="Replace FILE with the repaired log.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, stable keys.")] = False,
) -> None:
    """Copy the sound rows of a log into a fresh one and say what was lost. FILE itself changes only with --in-place."""
    from thermotui.errors import InputError
    from thermotui.runlog.repair import repair as repair_log

    if in_place and output is not None:
        raise InputError("--output and --in-place exclude each other; choose one")
    report = repair_log(file, None if in_place else output or file.with_suffix(f".repaired{file.suffix}"))
    if as_json:
        import json
        from dataclasses import asdict

        typer.echo(json.dumps(asdict(report), default=str, ensure_ascii=False, indent=2))
        return
    for problem in report.problems:
        typer.echo(f"{file}: {problem}")
    for stream in report.streams:
        if stream.found or stream.problem:
            lost = f": {stream.problem}" if stream.problem else ""
            typer.echo(f"{stream.stream}: {stream.saved} of {stream.found} rows saved{lost}")
    if report.sound:
        typer.echo(f"{file} is sound{'; nothing was changed' if in_place else ''}")
    if not (report.sound and in_place):
        typer.echo(f"written: {report.output}")
