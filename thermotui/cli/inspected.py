"""What `thermotui inspect` prints: what a run is, its balance sheet, its temperatures, its alerts."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from rich.console import RenderableType

    from thermotui.analysis.inspection import Inspection
    from thermotui.runlog.schema import Header

MOST_ALERTS = 50
"""As many as one looks through; `scan` and `--json` list all."""

PERSISTENT = (
    "Members have data of their own, and every measurement shares their differences: the errors of the mean of run and "
    "of late / early are upper bounds.\n"
)


class Request(NamedTuple):
    """What `thermotui inspect` was asked for."""

    file: Path
    as_json: bool


def plain_request(words: Sequence[str]) -> Request | None:
    """The request of a command line of nothing but one path and `--json`; None where that takes a parser to read.

    The parser and what it imports would take as long as a fifth of all else.
    """
    paths = [word for word in words if word != "--json"]
    if len(paths) != 1 or not paths[0] or paths[0].startswith("-"):
        return None
    return Request(Path(paths[0]), as_json="--json" in words)


def print_inspection(file: Path, *, as_json: bool) -> None:
    """Print it as tables, or as one JSON object. InputError where the file cannot be read."""
    from thermotui.analysis.inspection import inspect_run, to_json

    inspection = inspect_run(file)
    if as_json:
        import json

        # As UTF-8 whatever the terminal speaks, and at once: a reader that has gone is to be noticed here.
        sys.stdout.buffer.write(json.dumps(to_json(inspection), ensure_ascii=False, indent=2).encode() + b"\n")
        sys.stdout.flush()
        return
    from thermotui.cli.printing import table_console

    console = table_console()
    for part in _parts(inspection):
        console.print(part)


def _parts(inspection: Inspection) -> list[RenderableType]:
    from rich.text import Text

    from thermotui.analysis.format import printable

    parts: list[RenderableType] = [_identity(inspection)]
    if inspection.balance is None:
        parts.append(Text("\nNo thermodynamics in this log: the balance sheet is empty.", style="italic"))
    else:
        parts += [_balance(inspection), _checks(inspection)]
    if inspection.temperatures:
        parts.append(_temperatures(inspection))
    if inspection.alerts or inspection.alerts_searched_to is None:
        parts.append(_alerts(inspection))
    if inspection.alerts_searched_to is not None:
        parts.append(
            Text(
                "Its writer recorded no alerts, and the log is too long to search it here: "
                f"thermotui scan {printable(str(inspection.path))}",
                style="italic",
            )
        )
    parts += [Text(f"note: {printable(note)}", style="italic") for note in inspection.header.notes]
    return parts


def _identity(inspection: Inspection) -> RenderableType:
    from datetime import datetime

    from rich.table import Table

    from thermotui.analysis.format import format_duration, format_value, printable

    header, state = inspection.header, inspection.state
    planned = f" of {header.steps:,}" if header.steps else ""
    said = f" ({printable(state.message)})" if state.message else ""
    parameters = sum(layer.size for layer in header.layers)
    sized = f", {parameters:,} parameters{' a member' if header.ensemble > 1 else ''}" if parameters else ""
    table = Table.grid(padding=(0, 2))
    for name, value in (
        ("run", printable(header.run_id)),
        ("file", printable(str(inspection.path))),
        ("family", f"{printable(header.family)}{sized}"),
        ("created", datetime.fromtimestamp(header.created).isoformat(" ", "seconds")),
        ("state", f"{state.state}{said}, last sign of life {format_duration(state.age)} ago"),
        ("step", f"{state.step:,}{planned}"),
        ("loss", f"{format_value(inspection.loss_first)} → {format_value(inspection.loss)}"),
        ("ensemble", _ensemble(header)),
        ("batch", _batch(header)),
        ("rank", _rank(inspection)),
    ):
        if value:
            table.add_row(f"[bold]{name}", value.replace("[", r"\["))
    return table


def _ensemble(header: Header) -> str:
    """The members and what varies among them; a single run has none."""
    return f"{header.ensemble} members, varying the {header.ensemble_varies}" if header.ensemble > 1 else ""


def _rank(inspection: Inspection) -> str:
    """Which rank of a distributed run this log is, and how the loss spreads over those whose logs lie beside it."""
    from thermotui.analysis.format import format_value, printable

    header, ranks = inspection.header, inspection.ranks
    if header.world_size == 1:
        return ""
    said = f"{header.rank} of {header.world_size}"
    losses = [rank.loss for rank in ranks if rank.loss == rank.loss]
    if losses:
        said += f", last loss of {len(losses)} ranks {format_value(min(losses))} to {format_value(max(losses))}"
    others = [f"{printable(rank.file)} ({rank.state})" for rank in ranks if rank.rank != header.rank]
    return f"{said}; with {', '.join(others)}" if others else said


def _batch(header: Header) -> str:
    """As much of the sampling of batches as the log knows; a log of another tool knows nothing of it."""
    if not header.batch_size:
        return ""
    if not header.dataset_size:
        return str(header.batch_size)
    replacement = "with" if header.replacement else "without"
    return f"{header.batch_size} of {header.dataset_size:,}, {replacement} replacement"


def _balance(inspection: Inspection) -> RenderableType:
    from rich import box
    from rich.table import Table

    from thermotui.analysis.format import format_value

    balance = inspection.balance
    assert balance is not None
    mixture = f", p̄ over the {balance.marginal}" if balance.marginal != "none" else ""
    title = f"Balance at step {balance.step:,}, stride {balance.stride}{mixture}"
    table = Table(title=title, box=box.SIMPLE, title_justify="left")
    for column, justify in (("figure", "left"), ("nats", "right"), ("kind", "left"), ("meaning", "left")):
        table.add_column(column, justify="right" if justify == "right" else "left", no_wrap=column != "meaning")
    for figure in balance.figures:
        value = format_value(figure.value, figure.standard_error, exact=figure.kind == "exact")
        table.add_row(figure.name, value, figure.kind, figure.description)
    return table


def _checks(inspection: Inspection) -> RenderableType:
    from rich import box
    from rich.table import Table

    balance = inspection.balance
    assert balance is not None
    verdict = "The balance adds up" if balance.adds_up else "THE BALANCE DOES NOT ADD UP"
    table = Table(title=verdict, box=box.SIMPLE, title_justify="left")
    for column in ("holds", "check", "residual", "allowed", "statement"):
        numeric = column in ("residual", "allowed")
        table.add_column(column, justify="right" if numeric else "left", no_wrap=numeric)
    for check in balance.checks:
        table.add_row(
            "yes" if check.holds else "NO", check.name, f"{check.residual:.2e}", f"{check.allowed:.2e}", check.statement
        )
    return table


def _temperatures(inspection: Inspection) -> RenderableType:
    from rich import box
    from rich.table import Table

    from thermotui.analysis.format import format_value, printable

    table = Table(
        title=f"Reservoir at step {inspection.temperatures[0].step:,}: k_B T by layer, nats",
        box=box.SIMPLE,
        title_justify="left",
    )
    if inspection.temperatures[0].errors_bound:
        table.caption = PERSISTENT
        table.caption_justify = "left"
    for column in ("layer", "size", "temperature", "full gradient", "mean of run", "late / early", "force"):
        table.add_column(column, justify="left" if column == "layer" else "right", no_wrap=column != "layer")
    for layer in inspection.temperatures:
        table.add_row(
            f"{layer.layer} {printable(layer.name)}".replace("[", r"\["),
            f"{layer.size:,}",
            format_value(layer.temperature, layer.temperature_se),
            format_value(layer.full, layer.full_se),
            format_value(layer.mean, layer.mean_se),
            format_value(layer.relative_change, layer.relative_change_se),
            format_value(layer.force),
        )
    return table


def _alerts(inspection: Inspection) -> RenderableType:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from thermotui.analysis.format import printable
    from thermotui.detect.alert import SEVERITIES

    if not inspection.alerts:
        return Text("No alerts.")
    count = len(inspection.alerts)
    by_severity = sorted(range(count), key=lambda index: SEVERITIES.index(inspection.alerts[index].severity))
    shown = [inspection.alerts[index] for index in sorted(by_severity[-MOST_ALERTS:])]
    title = f"{count:,} alert{'' if count == 1 else 's'}"
    if len(shown) < count:
        title += f", the {len(shown)} gravest and latest of them"
    table = Table(title=title, box=box.SIMPLE, title_justify="left")
    for column in ("kind", "layer", "interval", "severity", "evidence"):
        table.add_column(column)
    names = [layer.name for layer in inspection.header.layers]
    for alert in shown:
        end = "…" if alert.end is None else f"{alert.end:,}"
        layer = names[alert.layer] if 0 <= alert.layer < len(names) else "all"
        table.add_row(
            *(
                printable(text).replace("[", r"\[")
                for text in (alert.kind, layer, f"{alert.start:,} – {end}", alert.severity, alert.message)
            )
        )
    return table
