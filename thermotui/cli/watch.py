"""`thermotui watch`: the screen, or one plain frame of it."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()


@app.command()
def watch(
    paths: Annotated[list[Path] | None, typer.Argument(help="Run logs, or directories of them.")] = None,
    once: Annotated[bool, typer.Option("--once", help="Print one plain frame and leave.")] = False,
    json: Annotated[bool, typer.Option("--json", help="With --once: as JSON.")] = False,
    interval: Annotated[float, typer.Option(min=0.05, max=3600, help="Seconds between two looks at the logs.")] = 1.0,
    ascii_only: Annotated[bool, typer.Option("--ascii", help="Draw with ASCII characters only.")] = False,
) -> None:
    """Watch run logs live in the terminal. Without a path: the directory runs/, or else this one."""
    from thermotui.errors import InputError
    from thermotui.runlog.workspace import find_logs

    places = paths or [Path("runs") if Path("runs").is_dir() else Path()]
    if not find_logs(places):
        raise InputError(f"no run log (*.h5) in {', '.join(map(str, places))}; start one with `thermotui demo`")
    if once or json:
        from thermotui.tui.plain_frame import plain_frame, print_json, read_once

        width = shutil.get_terminal_size((100, 24)).columns
        tick = read_once(places, columns=2 * width)
        lines = [print_json(tick)] if json else plain_frame(tick, width, "ascii" if ascii_only else "braille")
        for line in lines:
            typer.echo(line)
        return
    # The reading process imports HDF5 while this one imports the screen.
    from thermotui.tui.poller import ReadingProcess

    with ReadingProcess(places) as process:
        from thermotui.tui.app import Settings, WatchApp

        screen = WatchApp(process, Settings(interval=interval, ascii_only=ascii_only))
        message = screen.run()
    if screen.return_code:
        raise InputError(str(message or screen.return_value))
    sys.exit(0)
