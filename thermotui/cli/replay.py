"""`thermotui replay FILE`: a finished run, live again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from thermotui.cli.paths import path_argument, path_option

app = typer.Typer(add_completion=False)


@app.command()
def replay(
    file: Annotated[Path, path_argument(help="A run log.")],
    log: Annotated[Path | None, path_option(help="Log to write; default: NAME.replay.h5 in this directory.")] = None,
    speed: Annotated[float, typer.Option(help="How many times as fast as the run was.")] = 1.0,
    rate: Annotated[float | None, typer.Option(help="Steps a second, evenly, instead of the run's own pace.")] = None,
) -> None:
    """Write a run's rows again to a fresh log as they came, for `watch` to follow; Ctrl-C ends it, log closed."""
    from rich.console import Console
    from rich.progress import Progress

    from thermotui.errors import InputError
    from thermotui.runlog.reader import RunLogReader
    from thermotui.runlog.replaying import replay as send

    if not speed > 0 or (rate is not None and not rate > 0):
        raise InputError("--speed and --rate must be above 0")
    target = log or Path(f"{file.stem}.replay.h5")
    with RunLogReader(file) as reader:
        last = reader.state().step
    console = Console(stderr=True)

    def begun() -> None:
        console.print(f"replaying to {target}; in another terminal: thermotui watch {target}", soft_wrap=True)

    with Progress(console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("steps", total=last)
        send(file, target, speed, rate, lambda step: progress.update(task, completed=step), begun)
    typer.echo(target)
