"""`thermotui demo`: train on the bundled digits and watch it; what a newcomer runs first."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from thermotui.cli.paths import path_option

app = typer.Typer(add_completion=False)


@app.command()
def demo(
    steps: Annotated[int, typer.Option(min=1, help="Optimizer steps to train.")] = 5000,
    log: Annotated[Path | None, path_option(help="Log to write; default: a name with the time under runs/.")] = None,
) -> None:
    """Train on the bundled digits and watch it: no GPU, no data to download.

    Without a terminal it prints plain frames until the run has finished. Closing the screen ends the run.
    """
    from thermotui.cli.watched import FRAME_SECONDS, on_a_terminal, training, watch_in_foreground
    from thermotui.errors import InputError
    from thermotui.runlog.paths import is_there

    path = log or Path("runs") / f"demo-{time.strftime('%Y%m%d-%H%M%S')}.h5"
    if is_there(path, "written"):
        raise InputError(f"{path} exists already: choose another --log, or look at it with `thermotui watch {path}`.")
    with training(["softmax", "--steps", str(steps), "--log", str(path)], path) as run:
        try:
            if run.wait_for_log():
                if on_a_terminal():
                    watch_in_foreground(path)
                else:
                    while run.process.poll() is None:
                        _print_frame(path)
                        with contextlib.suppress(subprocess.TimeoutExpired):
                            run.process.wait(FRAME_SECONDS)
                    _print_frame(path)
        except KeyboardInterrupt:
            pass
        finally:
            run.interrupt()
        if run.process.returncode and not run.interrupted:
            sys.stderr.write(run.said())
            sys.exit(run.process.returncode)
    if not path.exists():
        return
    typer.echo(f"log: {path}", err=True)
    typer.echo(f"look again with: thermotui watch {path}    or: thermotui inspect {path}", err=True)


def _print_frame(path: Path) -> None:
    from thermotui.tui.plain_frame import plain_frame, read_once

    width = shutil.get_terminal_size((100, 24)).columns
    for line in plain_frame(read_once([path], columns=2 * width), width, "braille"):
        typer.echo(line)
    typer.echo()
