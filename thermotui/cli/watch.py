"""`thermotui watch`: the screen, or one plain frame of it."""

from __future__ import annotations

import shutil
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from thermotui.errors import InputError

app = typer.Typer(add_completion=False)

FIRST_LOOK = 1.0
"""Seconds to wait for the first look at the logs: where none can be read, no screen is opened."""


@app.command()
def watch(
    paths: Annotated[list[Path] | None, typer.Argument(help="Run logs, or directories of them.")] = None,
    once: Annotated[bool, typer.Option("--once", help="Print one plain frame and leave.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Like --once, as JSON.")] = False,
    interval: Annotated[float, typer.Option(min=0.05, max=3600, help="Seconds between two looks at the logs.")] = 1.0,
    theme: Annotated[str, typer.Option(help="dark, light, colour-blind, sixteen, mono, or one of your own.")] = "",
    ascii_only: Annotated[bool, typer.Option("--ascii", help="Draw with ASCII characters only.")] = False,
    low_bandwidth: Annotated[
        bool, typer.Option("--low-bandwidth", help="For slow lines: look every 5 s at most, no mouse, ASCII.")
    ] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget how this workspace was last looked at.")] = False,
) -> None:
    """Watch run logs live in the terminal. Without a path: the directory runs/, or else this one.

    Keys: ? on the screen. Keys and themes of your own: thermotui/screen.toml under XDG_CONFIG_HOME.
    """
    from thermotui.runlog.workspace import find_logs

    places = paths or [Path("runs") if Path("runs").is_dir() else Path()]
    if not find_logs(places):
        raise InputError(f"no run log (*.h5) in {', '.join(map(str, places))}; start one with: thermotui demo")
    ascii_only = ascii_only or low_bandwidth or not _writes_unicode()
    if once or json:
        _print_frame(places, as_json=json, ascii_only=ascii_only)
    elif not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise InputError("the screen needs a terminal; for scripts there are --once and --json")
    else:
        _open_screen(places, max(interval, 5.0) if low_bandwidth else interval, theme, ascii_only, low_bandwidth, fresh)


def _writes_unicode() -> bool:
    """Whether the terminal's encoding has more than ASCII."""
    return "utf" in (sys.stdout.encoding or "").lower()


def _print_frame(places: list[Path], *, as_json: bool, ascii_only: bool) -> None:
    from thermotui.tui.charts.numbers import to_ascii
    from thermotui.tui.plain_frame import plain_frame, print_json, read_once

    width = shutil.get_terminal_size((100, 24)).columns
    tick = read_once(places, columns=4 * width)
    lines = [print_json(tick)] if as_json else plain_frame(tick, width, "ascii" if ascii_only else "braille")
    for line in lines:
        typer.echo(to_ascii(line) if ascii_only else line)


def _open_screen(
    places: list[Path], interval: float, theme: str, ascii_only: bool, low_bandwidth: bool, fresh: bool
) -> None:
    # The reading process imports HDF5, and reads, while this one imports the screen.
    from thermotui.tui.mailbox import Mailbox
    from thermotui.tui.poller import Poller, ReadingProcess

    with ReadingProcess(places) as process, ExitStack() as stack:
        poller = Poller(process, interval, Mailbox())
        poller.start()
        stack.callback(poller.stop)
        from thermotui.tui.app import Settings, WatchApp
        from thermotui.tui.preferences import load_preferences, preferences_file
        from thermotui.tui.session import Session, load_session, save_session, session_file

        kept = session_file(places)
        settings = Settings(
            theme=theme,
            mode="ascii" if ascii_only else "braille",
            preferences=load_preferences(preferences_file()),
            session=Session() if fresh else load_session(kept),
        )
        screen = WatchApp(poller, settings)
        first = poller.mailbox.look(FIRST_LOOK)
        if first is not None and all(run.problem for run in first.summaries):
            raise InputError(first.summaries[0].problem)
        screen.run(mouse=not low_bandwidth)
    if screen.failure:
        raise InputError(screen.failure)
    try:
        save_session(kept, screen.last_session)
    except OSError as error:
        typer.echo(f"thermotui: the view could not be saved: {error}", err=True)
