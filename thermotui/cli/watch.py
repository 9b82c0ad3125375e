"""`thermotui watch`: the screen, or one plain frame of it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from thermotui.cli.opening import Request, open_screen, places_of, writes_unicode
from thermotui.cli.paths import path_argument

if TYPE_CHECKING:
    from thermotui.analysis.actions import Actions
    from thermotui.analysis.snapshot import Tick

app = typer.Typer(add_completion=False)


@app.command()
def watch(
    paths: Annotated[list[Path] | None, path_argument(help="Run logs, or directories of them.")] = None,
    once: Annotated[bool, typer.Option("--once", help="Print one plain frame and leave.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Like --once, as JSON.")] = False,
    interval: Annotated[
        float, typer.Option(min=0.05, max=3600, help="Seconds between two looks at the logs.")
    ] = Request().interval,
    theme: Annotated[
        str, typer.Option(help="dark, light, colour-blind, sixteen, mono, or one of your own.")
    ] = Request().theme,
    ascii_only: Annotated[bool, typer.Option("--ascii", help="Draw with ASCII characters only.")] = False,
    low_bandwidth: Annotated[
        bool, typer.Option("--low-bandwidth", help="For slow lines: look every 5 s at most, no mouse, ASCII.")
    ] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget how this workspace was last looked at.")] = False,
    execute: Annotated[
        str | None,
        typer.Option("--exec", metavar="CMD", help="Run CMD for each new alert above minor: JSON on its stdin."),
    ] = None,
    webhook: Annotated[
        str | None, typer.Option(metavar="URL", help="POST each new alert above minor to URL as JSON.")
    ] = None,
) -> None:
    """Watch run logs live in the terminal. Without a path: the directory runs/, or else this one.

    Keys: ? on the screen. Keys and themes of your own: thermotui/screen.toml under XDG_CONFIG_HOME. --exec and
    --webhook act on alerts raised while the screen is open; with --once and --json, on all that the frame tells of.
    """
    actions = None
    if execute is not None or webhook is not None:
        # The screen is up sooner without an HTTP client.
        from thermotui.analysis.actions import actions_of

        # What a command prints would spoil the live screen, and nothing else.
        actions = actions_of(execute, webhook, silent=not (once or json))
    if once or json:
        places = places_of(paths or [])
        if theme:
            # A plain frame has no colours, but a name misspelt is said here too.
            from thermotui.tui.preferences import load_preferences, preferences_file
            from thermotui.tui.themes import all_themes, check_theme

            check_theme(theme, all_themes(load_preferences(preferences_file()).themes))
        tick = _print_frame(places, as_json=json, ascii_only=ascii_only or low_bandwidth or not writes_unicode())
        if actions:
            _act(tick, actions)
    else:
        open_screen(Request(tuple(paths or ()), interval, theme, ascii_only, low_bandwidth, fresh, actions))


def _print_frame(places: list[Path], *, as_json: bool, ascii_only: bool) -> Tick:
    from thermotui.tui.charts.numbers import to_ascii
    from thermotui.tui.plain_frame import plain_frame, print_json, read_once

    width = shutil.get_terminal_size((100, 24)).columns
    tick = read_once(places, columns=4 * width)
    lines = [print_json(tick)] if as_json else plain_frame(tick, width, "ascii" if ascii_only else "braille")
    for line in lines:
        typer.echo(to_ascii(line) if ascii_only else line)
    return tick


def _act(tick: Tick, actions: Actions) -> None:
    """Deliver every alert above minor of the frame; InputError saying what failed."""
    from thermotui.analysis.actions import deliver_all
    from thermotui.errors import InputError

    flagged = ((log.path, alert) for run in tick.summaries for log in run.logs for alert in log.flagged)
    if failures := deliver_all(flagged, actions):
        raise InputError("; ".join(failures))
