"""`thermotui scan FILE…`: anomalies and valid reservoir intervals; exit status 1 if there are any."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from thermotui.cli.paths import path_argument

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import Console

    from thermotui.analysis.evidence import Gained
    from thermotui.analysis.scanning import Scan
    from thermotui.detect.alert import Alert

CAPTION = (
    "Valid: no alert speaks against the reservoir assumption. T may still change slowly: p is the chance of "
    "temperatures as uneven as these were T constant. The ± of heat, EP and L-info is a bound: the errors at both "
    "ends, added.\n"
)

Result = TypeVar("Result")

app = typer.Typer(add_completion=False)


class Preset(StrEnum):
    """Names of the detectors' settings."""

    QUIET = "quiet"
    DEFAULT = "default"
    SENSITIVE = "sensitive"


@app.command()
def scan(
    files: Annotated[
        list[Path], path_argument(help="Run logs, directories of them, or CSV, JSONL, NPZ, TensorBoard, W&B files.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: an object, a list of them for several.")] = False,
    fail_on: Annotated[
        list[str] | None,
        typer.Option(
            help="KIND whose alerts give exit status 1, repeatable; 'none' for never. Default: all but minor."
        ),
    ] = None,
    preset: Annotated[
        Preset | None,
        typer.Option(help="Run the detectors anew with these thresholds, also where the log has recorded alerts."),
    ] = None,
    column: Annotated[str, typer.Option(help="Column of another tool's file; NAME[1] of a 2-D NPZ array.")] = "loss",
    step_column: Annotated[str | None, typer.Option(help="Its column of steps; default: step, or the row.")] = None,
    every: Annotated[bool, typer.Option("--all", help="List minor alerts, and the intervals of each layer.")] = False,
    execute: Annotated[
        str | None, typer.Option("--exec", metavar="CMD", help="Run CMD for each alert above minor: JSON on its stdin.")
    ] = None,
    webhook: Annotated[
        str | None, typer.Option(metavar="URL", help="POST each alert above minor to URL as JSON.")
    ] = None,
) -> None:
    """Find anomalies and valid reservoir intervals.

    Exit status: 0 nothing found, 1 anomalies found, 2 bad usage or input, or an alert that was not delivered. One file
    of several that cannot be read does not keep the others from being scanned.
    """
    from thermotui.analysis.actions import actions_of, deliver_all
    from thermotui.analysis.scanning import is_run_log, scan_file, to_json
    from thermotui.detect.settings import preset as settings_of
    from thermotui.errors import InputError

    kinds = _kinds(fail_on)
    actions = actions_of(execute, webhook)
    failures: list[str] = []
    paths = _of_each(files, _scanned, failures)
    if paths and column != "loss" and all(is_run_log(path) for path in paths):
        raise InputError("--column: run logs are scanned as a whole; it is for files of other tools")
    settings = settings_of(preset) if preset is not None else None

    def scan_one(path: Path) -> list[Scan]:
        return [scan_file(path, settings=settings, column=column, step_column=step_column)]

    scans = _of_each(paths, scan_one, failures)
    several = len(files) > 1 or len(paths) > 1
    if failures and not several:
        raise InputError(failures[0])
    if as_json:
        import json

        found = [to_json(scanned) for scanned in scans]
        typer.echo(json.dumps(found if several else found[0], ensure_ascii=False, indent=2))
    else:
        from thermotui.cli.printing import table_console

        console = table_console()
        for scanned in scans:
            _print(console, scanned, every=every)
    failures += deliver_all(((str(scanned.file), alert) for scanned in scans for alert in scanned.alerts), actions)
    for failure in failures:
        typer.echo(f"thermotui: {failure}", err=True)
    if failures:
        raise typer.Exit(2)
    if any(_fails(alert, kinds) for scanned in scans for alert in scanned.alerts):
        raise typer.Exit(1)


def _of_each(paths: Sequence[Path], work: Callable[[Path], Sequence[Result]], failures: list[str]) -> list[Result]:
    """What `work` makes of every path; `failures` gets the sentences of those that it can make nothing of."""
    from thermotui.errors import InputError

    results: list[Result] = []
    for path in paths:
        try:
            results += work(path)
        except InputError as error:
            failures.append(str(error))
    return results


def _scanned(given: Path) -> Sequence[Path]:
    """The run logs in a directory, else the directory of TensorBoard events or the file that was given."""
    from thermotui.errors import InputError
    from thermotui.runlog.paths import is_directory
    from thermotui.runlog.workspace import find_logs

    if not is_directory(given):
        return [given]
    found = find_logs([given])
    if not found and next(given.rglob("*tfevents*"), None) is None:
        raise InputError(f"{given}: neither run logs (*.h5) nor TensorBoard events (*tfevents*) are in it")
    return found or [given]


def _kinds(fail_on: Sequence[str] | None) -> frozenset[str] | None:
    """The kinds that fail; None for all above minor."""
    from thermotui.detect.alert import KINDS
    from thermotui.errors import InputError

    if not fail_on:
        return None
    unknown = [kind for kind in fail_on if kind not in KINDS and kind != "none"]
    if unknown:
        raise InputError(f"--fail-on: no kind {unknown[0]!r}; there are none, {', '.join(KINDS)}")
    return frozenset(fail_on) - {"none"}


def _fails(alert: Alert, kinds: frozenset[str] | None) -> bool:
    return alert.severity != "minor" if kinds is None else alert.kind in kinds


def _print(console: Console, scanned: Scan, *, every: bool) -> None:
    from rich import box
    from rich.table import Table

    from thermotui.analysis.format import format_value, printable

    minor = sum(alert.severity == "minor" for alert in scanned.alerts)
    shown = [alert for alert in scanned.alerts if every or alert.severity != "minor"]
    hidden = f", {minor} minor not shown (--all)" if minor and not every else ""
    column = f" column {printable(scanned.column)}" if scanned.column else ""
    title = f"{printable(str(scanned.file))}{column}: {len(shown)} {'alert' if len(shown) == 1 else 'alerts'}{hidden}"
    console.print(title, markup=False, soft_wrap=True)
    if shown:
        table = Table(box=box.SIMPLE)
        for name in ("kind", "layer", "interval", "severity", "evidence"):
            table.add_column(name, no_wrap=name != "evidence")
        for alert in shown:
            end = "…" if alert.end is None else f"{alert.end:,}"
            cells = (
                alert.kind,
                _layer(scanned, alert.layer),
                f"{alert.start:,} – {end}",
                alert.severity,
                alert.message,
            )
            table.add_row(*(printable(cell).replace("[", r"\[") for cell in cells))
        console.print(table)
    wanted = [index for index, interval in enumerate(scanned.intervals) if every or interval.layer < 0]
    which = "by layer" if every else "common to all layers"
    table = Table(title=f"valid reservoir intervals, {which}", box=box.SIMPLE, title_justify="left")
    if scanned.evidence:
        table.caption = CAPTION
        table.caption_justify = "left"
    names = ["layer", "interval"]
    if scanned.evidence:
        names += ["k_B T", "p (T constant)", "colour", "heat", "EP", "L-info"]
    for name in names:
        table.add_column(name, justify="left" if name == "layer" else "right", no_wrap=True)
    for index in wanted:
        interval = scanned.intervals[index]
        row = [_layer(scanned, interval.layer), f"{interval.start:,} – {interval.end:,}"]
        if scanned.evidence:
            known = scanned.evidence[index]
            row += [
                format_value(known.temperature, known.temperature_se),
                "< 1e-12" if known.p_stationary < 1e-12 else format_value(known.p_stationary),
                format_value(known.colour, known.colour_se),
                *_gains(known),
            ]
        table.add_row(*(printable(cell).replace("[", r"\[") for cell in row))
    if wanted:
        console.print(table)
    else:
        console.print("no valid reservoir interval")
    if scanned.transitions:
        table = Table(title="while alerts broke the reservoir assumption", box=box.SIMPLE, title_justify="left")
        for name in ("interval", "kinds", "heat", "EP", "L-info"):
            table.add_column(name, justify="left" if name == "kinds" else "right", no_wrap=name != "kinds")
        for transition in scanned.transitions:
            span = f"{transition.start:,} – {transition.end:,}"
            table.add_row(span, printable(", ".join(transition.kinds)), *_gains(transition))
        console.print(table)


def _gains(gained: Gained) -> list[str]:
    from thermotui.analysis.format import format_value

    return [
        format_value(gained.heat, gained.heat_se, exact=gained.heat_se == 0),
        format_value(gained.ep_conditional, gained.ep_conditional_se, exact=gained.ep_conditional_se == 0),
        format_value(gained.l_info, gained.l_info_se, exact=gained.l_info_se == 0),
    ]


def _layer(scanned: Scan, layer: int) -> str:
    return scanned.layers[layer] if 0 <= layer < len(scanned.layers) else "all"
