"""`thermotui compare A B …`: where runs differ."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from thermotui.cli.paths import path_argument

if TYPE_CHECKING:
    from rich.console import RenderableType

    from thermotui.analysis.comparison import Comparison

app = typer.Typer(add_completion=False)


@app.command()
def compare(
    files: Annotated[list[Path], path_argument(help="Two run logs or more.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, stable keys.")] = False,
) -> None:
    """Compare runs: configuration, balance sheet, temperatures, alerts."""
    from thermotui.analysis.comparison import compare_runs
    from thermotui.analysis.inspection import finite, inspect_run
    from thermotui.errors import InputError

    if len(files) < 2:
        raise InputError("compare needs two run logs or more; `inspect` shows a single one")
    comparison = compare_runs([inspect_run(file) for file in files])
    if as_json:
        import json
        from dataclasses import asdict

        typer.echo(json.dumps(finite(asdict(comparison)), ensure_ascii=False, indent=2))
        return
    from thermotui.cli.printing import table_console

    console = table_console()
    for part in _parts(comparison):
        console.print(part)


def _parts(comparison: Comparison) -> list[RenderableType]:
    from rich.text import Text

    from thermotui.analysis.format import format_value

    names = [f"{chr(ord('A') + index)}" for index in range(len(comparison.files))]
    parts: list[RenderableType] = [
        _table(
            "Runs", ["", "file", "step"], list(zip(names, comparison.files, map(_cell, comparison.steps), strict=True))
        )
    ]
    if comparison.configuration:
        rows = [(name, *map(_cell, values)) for name, values in comparison.configuration.items()]
        parts.append(_table("Configuration, where it differs", ["", *names], rows))
    if comparison.figures:
        rows = [
            (
                figure.name,
                *(format_value(v, se) for v, se in zip(figure.values, figure.standard_errors, strict=True)),
                _deviation(figure.deviation, comparable=figure.comparable),
            )
            for figure in comparison.figures
        ]
        parts.append(_table("Balance, nats", ["", *names, "difference"], rows))
    if comparison.temperatures:
        rows = [
            (
                layer,
                *(format_value(*pair) for pair in zip(found.values, found.standard_errors, strict=True)),
                ", ".join(format_value(*found.ratio(run)) for run in range(1, len(found.values))),
            )
            for layer, found in comparison.temperatures.items()
        ]
        parts.append(_table("Temperature by layer, mean of the run, nats", ["", *names, "ratio to A"], rows))
    if comparison.alerts:
        rows = [
            (kind, *("?" if count is None else str(count) for count in counts))
            for kind, counts in comparison.alerts.items()
        ]
        parts.append(_table("Alerts", ["", *names], rows))
    parts += [Text(f"note: {remark}") for remark in comparison.remarks]
    return parts


def _deviation(deviation: float, *, comparable: bool) -> str:
    if not comparable:
        return "other stride"
    return "" if math.isnan(deviation) else f"{deviation:.1f} σ"


def _cell(value: Any) -> str:
    return "—" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


def _table(title: str, columns: list[str], rows: list[tuple[str, ...]]) -> RenderableType:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from thermotui.analysis.format import printable

    table = Table(title=title, box=box.SIMPLE, title_justify="left")
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 or title == "Runs" else "right")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    return table
