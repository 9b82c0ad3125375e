"""What `train` does once its options are read: names the log, shows the progress, says how the run ended."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from thermotui.errors import InputError
from thermotui.runlog.reader import RunLogReader
from trainers.config import TrainConfig
from trainers.loop import Outcome, Progress, Report, resume, train

LINE_SECONDS = 5.0
"""Time between plain lines of progress where standard error is no terminal."""


def run(family: str, config: TrainConfig, options: Any, log: Path) -> int:
    """Train, with progress on standard error and the log's path on standard output; the exit status.

    0: finished, or stopped on an alert as asked. 130 and 143: ended by SIGINT and SIGTERM, with the log closed.
    """
    return _conduct(family, log, lambda report: train(family, config, options, log, report))


def run_resumed(family: str, log: Path, steps: int | None) -> int:
    """Continue the run of `log`; as `run`. InputError where the log is of another family."""
    with RunLogReader(log) as reader:
        found = reader.header.family
    if found != family:
        raise InputError(f"{log} is a run of the family {found}: resume it with `thermotui train {found} --resume`.")
    return _conduct(family, log, lambda report: resume(log, steps, report))


def _conduct(family: str, log: Path, work: Callable[[Report], Outcome]) -> int:
    started = time.monotonic()
    with progress(family, log) as report:
        outcome = work(report)
    reason = f" ({outcome.message})" if outcome.message else ""
    _say(f"{outcome.state}: step {outcome.step} after {time.monotonic() - started:.0f} s{reason}")
    _say(f"look at it with: thermotui watch {outcome.log}")
    print(outcome.log)  # noqa: T201
    return 128 + outcome.signal if outcome.signal else 0


def _say(text: str) -> None:
    print(text, file=sys.stderr)  # noqa: T201


@contextmanager
def progress(family: str, log: Path) -> Iterator[Report]:
    """Something to report progress to: a bar on a terminal, a line every few seconds elsewhere.

    Nothing is shown before the first report, so that an error in the options stands alone.
    """
    console = Console(stderr=True)
    columns = (
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[figures]}"),
        TimeRemainingColumn(),
    )
    bar = Bar(*columns, console=console)
    task = bar.add_task(family, total=None, figures="")
    lines = _lines(console)
    rate = _Rate()
    announced = False

    def report(now: Progress) -> None:
        nonlocal announced
        if not announced:
            announced = True
            _say(f"logging to {log}")
            if console.is_terminal:
                bar.start()
        per_second = rate(now.step)
        if console.is_terminal:
            figures = f"loss {now.loss:.4g}  {per_second:.0f} steps/s" if per_second else f"loss {now.loss:.4g}"
            bar.update(task, total=now.steps, completed=now.step, figures=figures)
        else:
            lines(now, per_second)

    try:
        yield report
    finally:
        if announced and console.is_terminal:
            bar.stop()


class _Rate:
    """Steps a second since the first call; 0 at the first."""

    def __init__(self) -> None:
        self._start: tuple[float, int] | None = None

    def __call__(self, step: int) -> float:
        now = time.monotonic()
        if self._start is None:
            self._start = (now, step)
        seconds = now - self._start[0]
        return (step - self._start[1]) / seconds if seconds > 0 else 0.0


def _lines(console: Console) -> Callable[[Progress, float], None]:
    spoken = time.monotonic()

    def report(now: Progress, per_second: float) -> None:
        nonlocal spoken
        if time.monotonic() - spoken < LINE_SECONDS or not per_second:
            return
        spoken = time.monotonic()
        console.print(
            f"step {now.step}/{now.steps}  loss {now.loss:.4g}  accuracy {now.accuracy:.3f}  "
            f"{per_second:.0f} steps/s  {(now.steps - now.step) / per_second:.0f} s left",
            highlight=False,
            soft_wrap=True,
        )

    return report
