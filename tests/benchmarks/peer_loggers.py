"""Writes the same live series in the formats of other watchers, for `peers_over_the_line`. The standard library alone:

    PYTHON peer_loggers.py NAME FOLDER --series 24 --history 2000 --rate 20

Run by whatever interpreter has the writer of that format installed. Says "ready" when the history is written; without
a rate, that is all.
"""

from __future__ import annotations

import argparse
import math
import random
import time
from collections.abc import Callable
from pathlib import Path

Log = Callable[[int, dict[str, float]], None]


def series(count: int, step: int) -> dict[str, float]:
    """Noisy, falling losses in one half, running totals in the other."""
    noise = random.Random(step)
    falling = 2.3 * math.exp(-step / 1500) + 0.1
    return {
        f"series/{index:02d}": falling + 0.03 * noise.gauss(0, 1) if index % 2 else 1e-3 * step + 0.01 * noise.random()
        for index in range(count)
    }


def tensorboard(folder: Path) -> Log:
    """Event files, for terminalboard."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    writer = EventFileWriter(str(folder), flush_secs=1)

    def log(step: int, values: dict[str, float]) -> None:
        summary = Summary(value=[Summary.Value(tag=name, simple_value=value) for name, value in values.items()])
        writer.add_event(Event(step=step, wall_time=time.time(), summary=summary))
        writer.flush()

    return log


def tlog(folder: Path) -> Log:
    """JSON lines, for tlog."""
    import tlog as library

    run = library.init(
        project="peers", name="live", dir=str(folder), new=True, capture_console=False, system_metrics=False
    )
    return lambda step, values: run.log(values, step=step)


def wandb(folder: Path) -> Log:
    """An offline run, for LEET."""
    import wandb as library

    settings = library.Settings(console="off", x_disable_stats=True)
    run = library.init(project="peers", dir=str(folder), mode="offline", settings=settings)
    return lambda step, values: run.log(values, step=step)


LOGGERS: dict[str, Callable[[Path], Log]] = {"terminalboard": tensorboard, "tlog": tlog, "leet": wandb}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=LOGGERS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--series", type=int, required=True)
    parser.add_argument("--history", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True)
    options = parser.parse_args()
    log = LOGGERS[options.name](options.folder)
    for step in range(options.history):
        log(step, series(options.series, step))
    print("ready", flush=True)
    if not options.rate:
        return
    began, step = time.monotonic(), options.history
    while True:
        log(step, series(options.series, step))
        step += 1
        time.sleep(max(0.0, began + (step - options.history) / options.rate - time.monotonic()))


if __name__ == "__main__":
    main()
