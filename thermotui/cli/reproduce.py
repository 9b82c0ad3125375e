"""`thermotui reproduce figure3`: the paper's Figure 3, run, drawn and summed up in the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from thermotui.cli.paths import path_option
from thermotui.errors import InputError

if TYPE_CHECKING:
    from trainers.figure3 import Figure3Config, Progress

FIGURES = ("figure3",)

app = typer.Typer(add_completion=False)


@app.command()
def reproduce(
    figure: Annotated[str, typer.Argument(help="Which figure: figure3.")],
    members: Annotated[int, typer.Option(help="Members of the ensemble.")] = 50,
    steps: Annotated[int, typer.Option(help="Optimizer steps.")] = 100_000,
    batch_sizes: Annotated[str, typer.Option(help="Batch sizes |b|, comma-separated.")] = "1,10,100",
    learning_rate: Annotated[float, typer.Option(help="Learning rate r; the paper gives none.")] = 0.01,
    forces: Annotated[int, typer.Option(help="Full gradients along each run.")] = 20,
    data: Annotated[str, typer.Option(help="Data set: mnist, fashion-mnist or digits.")] = "mnist",
    data_dir: Annotated[Path | None, path_option(help="Directory of the data set's IDX files.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    log: Annotated[Path, path_option(help="Directory of the logs and pictures.")] = Path("runs/figure3"),
    resume: Annotated[bool, typer.Option("--resume", help="Continue what was interrupted.")] = False,
) -> None:
    """Reproduce the paper's Figure 3: parameters, accuracy, noise variance and autocorrelation at three batch sizes."""
    if figure not in FIGURES:
        raise InputError(f"'{figure}' cannot be reproduced; the figures are {', '.join(FIGURES)}.")
    if data not in ("mnist", "fashion-mnist", "digits"):
        raise InputError(f"--data {data}: the data sets are mnist, fashion-mnist and digits.")
    if device not in ("auto", "cpu", "cuda"):
        raise InputError(f"--device {device}: choose auto, cpu or cuda.")
    from trainers.figure3 import Figure3Config, StoppedError

    config = Figure3Config(
        directory=log,
        members=members,
        steps=steps,
        batch_sizes=_batch_sizes(batch_sizes),
        learning_rate=learning_rate,
        forces=forces,
        data=data,
        data_dir=data_dir,
        seed=seed,
        device=device,
    )
    try:
        logs = _run(config, resume=resume)
    except StoppedError as stopped:
        typer.echo(stopped, err=True)
        raise typer.Exit(128 + stopped.number) from stopped
    _show(logs, log)


def _show(logs: list[Path], directory: Path) -> None:
    """The four panels in the terminal, then the pictures where matplotlib is there; names what was written."""
    from rich.console import Console

    from thermotui.analysis.figure3 import FORMATS, draw_figure3, read_curves
    from thermotui.cli.figure3_panels import render_panels

    curves = [read_curves(path) for path in logs]
    console = Console(highlight=False)
    for line in render_panels(curves, console.width):
        console.print(line)
    pictures = [directory / f"figure3.{kind}" for kind in FORMATS]
    try:
        draw_figure3(curves, pictures)
    except InputError as error:
        # The logs are there and the panels shown: without the extra only the pictures are missing.
        typer.echo(f"no pictures: {error}", err=True)
        pictures = []
    for path in (*logs, *pictures):
        typer.echo(path)


def _batch_sizes(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(f"--batch-sizes {text} is not a list of integers, such as 1,10,100.") from error


def _run(config: Figure3Config, *, resume: bool) -> list[Path]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from trainers.figure3 import run_figure3

    console = Console(stderr=True)
    if not console.is_terminal:
        return run_figure3(config, resume=resume, progress=_plain_progress(config))
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bars:
        tasks = {size: bars.add_task(f"|b| = {size}", total=config.steps) for size in config.batch_sizes}
        return run_figure3(config, resume=resume, progress=lambda size, step: bars.update(tasks[size], completed=step))


def _plain_progress(config: Figure3Config) -> Progress:
    import time

    started = time.monotonic()
    said: dict[int, int] = {}

    def report(size: int, step: int) -> None:
        tenth = 10 * step // config.steps
        if tenth > said.get(size, -1):
            said[size] = tenth
            typer.echo(f"|b| = {size}: step {step:,} of {config.steps:,}, {time.monotonic() - started:.0f} s", err=True)

    return report
