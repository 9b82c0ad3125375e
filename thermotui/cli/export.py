"""`thermotui export FILE`: a run's streams for other tools."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from thermotui.cli.paths import path_argument, path_option

if TYPE_CHECKING:
    from thermotui.runlog.exchange.selection import Selection

app = typer.Typer(add_completion=False)


class Format(StrEnum):
    """What to write; the ending of --output says it too."""

    CSV = "csv"
    NPZ = "npz"
    PARQUET = "parquet"
    TENSORBOARD = "tensorboard"


@app.command()
def export(
    file: Annotated[Path, path_argument(help="A run log.")],
    output: Annotated[
        Path | None,
        path_option("--output", "-o", help="File or directory to write; without it CSV on stdout."),
    ] = None,
    format: Annotated[Format | None, typer.Option("--format", help="Default: by the ending of --output.")] = None,
    stream: Annotated[list[str] | None, typer.Option(help="A stream, repeatable; default: all with rows.")] = None,
    field: Annotated[list[str] | None, typer.Option(help="A field, repeatable; default: all.")] = None,
    steps: Annotated[str | None, typer.Option(help="FIRST:LAST, a range of steps.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what is at --output.")] = False,
) -> None:
    """Write a log's streams as CSV, Parquet, NPZ or TensorBoard events.

    CSV and Parquet hold one stream a file: an --output without an ending, such as `tables`, is a directory with a file
    a stream, CSV unless --format says otherwise. The memory needed does not grow with the run.
    """
    from thermotui.cli.step_range import step_range
    from thermotui.runlog.exchange.selection import select
    from thermotui.runlog.reader import RunLogReader

    kind = format or _format_of(output)
    with RunLogReader(file) as reader:
        selections = select(reader, stream or ([] if output else ["steps"]), field or [], step_range(steps))
        if output is None:
            _to_standard_output(selections, kind)
        else:
            _refuse_several_in_one_file(selections, kind, output)
            _to_path(selections, kind, output, force)
            typer.echo(output)


def _format_of(output: Path | None) -> Format:
    from thermotui.errors import InputError

    if output is None or not output.suffix:
        return Format.CSV
    try:
        return Format(output.suffix.removeprefix("."))
    except ValueError:
        choices = ", ".join(Format)
        raise InputError(f"{output}: its ending is no format; say --format, one of {choices}") from None


def _to_standard_output(selections: list[Selection], kind: Format) -> None:
    from thermotui.errors import InputError
    from thermotui.runlog.exchange.csv_table import write_csv

    if kind is not Format.CSV or len(selections) > 1:
        raise InputError("standard output takes one stream as CSV; say --output for more than that")
    write_csv(selections[0], sys.stdout)


def _refuse_several_in_one_file(selections: list[Selection], kind: Format, output: Path) -> None:
    """A name that ends like a file must not become a directory."""
    from thermotui.errors import InputError

    if kind in (Format.CSV, Format.PARQUET) and len(selections) > 1 and output.suffix.removeprefix(".") in set(Format):
        names = ", ".join(selection.stream for selection in selections)
        directory = output.with_suffix("")
        raise InputError(
            f"{output}: a {kind} file holds one stream, and there are {len(selections)} ({names}); choose one with "
            f"--stream, or write a directory of files: --output {directory} --format {kind}"
        )


def _to_path(selections: list[Selection], kind: Format, output: Path, force: bool) -> None:
    from thermotui.runlog.exchange.csv_table import write_csv
    from thermotui.runlog.exchange.npz_archive import write_npz
    from thermotui.runlog.exchange.parquet_table import write_parquet
    from thermotui.runlog.exchange.selection import new_output
    from thermotui.runlog.exchange.tensorboard_events import write_events

    with new_output(output, force) as path:
        if kind is Format.NPZ:
            write_npz(selections, path)
        elif kind is Format.TENSORBOARD:
            write_events(selections, path)
        else:
            targets = [path]
            if len(selections) > 1 or not output.suffix:
                path.mkdir()
                targets = [path / f"{selection.stream}.{kind}" for selection in selections]
            for selection, target in zip(selections, targets, strict=True):
                if kind is Format.PARQUET:
                    write_parquet(selection, target)
                else:
                    with target.open("w", newline="", encoding="utf-8") as text:
                        write_csv(selection, text)
