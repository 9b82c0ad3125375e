"""Time to open, to the first frame's data and to any zoom, as the run grows; prints a table.

Usage: python tests/benchmarks/runlog_reading.py [--rows 1e5 1e6 1e7] [--directory DIRECTORY | --keep DIRECTORY]
       python tests/benchmarks/runlog_reading.py --commands 1e7 [--directory DIRECTORY | --keep DIRECTORY]
       python tests/benchmarks/runlog_reading.py --tensorboard 1e6
A log of 10^7 steps takes 0.7 GB of DIRECTORY while it is measured. With --keep it stays there and is not made again.
Times are medians over files that are in the page cache, in milliseconds.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np

from thermotui.detect.settings import Settings
from thermotui.runlog.reader import RunLogReader
from thermotui.runlog.schema import STREAMS, Header, Layer, row_dtype
from thermotui.runlog.storage import new_storage, own_header
from thermotui.runlog.writer import begin

BLOCK = 65_536
LAYERS = 50
RESERVOIR_STRIDE = 100
BUCKETS = 320
"""Pixels of a chart of 160 columns."""


def write_log(path: Path, rows: int, *, recorded: bool = True) -> float:
    """A log of `rows` steps and a hundredth of it of measurements on 50 layers, all of them noisy; returns seconds.

    recorded: whether its writer ran the detectors, so that `alerts` says what there was to be found.
    """
    layers = tuple(Layer(str(index), 1) for index in range(LAYERS))
    detectors = asdict(Settings()) if recorded else {}
    header = own_header(Header("benchmark", time.time(), "softmax", layers, detectors=detectors))
    generator = np.random.default_rng(0)
    blocks = {"steps": BLOCK, "reservoir": BLOCK // RESERVOIR_STRIDE}
    filled = {}
    for name, count in blocks.items():
        filled[name] = np.zeros(count, row_dtype(STREAMS[name], header))
        for field in filled[name].dtype.names or ():
            filled[name][field] = generator.normal(1.0, 0.1, size=filled[name][field].shape)
    start = time.perf_counter()
    with new_storage(path, header, replace_existing=False) as storage:
        for at in range(0, rows, BLOCK):
            count = min(BLOCK, rows - at)
            for name, stride in (("steps", 1), ("reservoir", RESERVOIR_STRIDE)):
                block = filled[name][: count // stride]
                block["step"] = at + stride * np.arange(len(block))
                block["time"] = header.created + 0.001 * block["step"]
                storage.store(name, [block])
        begin(storage, header, rows)
    storage.close()
    return time.perf_counter() - start


def first_frame(path: Path) -> None:
    """Open, state, and the overviews that the screen's first frame shows."""
    with RunLogReader(path) as reader:
        reader.state()
        reader.overview("steps", ["loss", "accuracy"], 0, None, BUCKETS)
        reader.overview("reservoir", ["temperature"], 0, None, 64)
        reader.read("alerts")


def zooms(reader: RunLogReader, stream: str, fields: list[str]) -> list[float]:
    """Sorted durations of 300 pans and zooms to random windows of random widths; each the best of three.

    The worst is then of a window that costs most, not of a moment at which the machine did something else.
    """
    generator = np.random.default_rng(1)
    length = reader.length(stream)
    taken = []
    for _ in range(300):
        width = int(length ** generator.uniform(0.3, 1))
        start = int(generator.integers(0, length - width + 1))
        zoom = partial(reader.overview, stream, fields, start, start + width, BUCKETS)
        taken.append(milliseconds(zoom, 3)[0])
    return sorted(taken)


def milliseconds(action: Callable[[], object], times: int) -> list[float]:
    """Sorted durations."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        action()
        taken.append(1000 * (time.perf_counter() - start))
    return sorted(taken)


def against_tensorboard(directory: Path, rows: int) -> None:
    """Five curves of `rows` points each, all points and at first sight, from a run log and from an event file."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from thermotui.runlog.exchange.selection import select
    from thermotui.runlog.exchange.tensorboard_events import write_events

    fields = ["loss", "accuracy", "learning_rate", "gradient_norm", "loss_spread"]
    write_log(directory / "run.h5", rows)
    with RunLogReader(directory / "run.h5") as reader:
        write_events(select(reader, ["steps"], fields, None), directory / "events")

    def load_events() -> None:
        events = EventAccumulator(str(directory / "events"), size_guidance={"scalars": 0}).Reload()
        assert all(len(events.Scalars(f"steps/{field}")) == rows for field in fields)

    def load_rows() -> None:
        with RunLogReader(directory / "run.h5") as reader:
            assert len(reader.read("steps", fields)) == rows

    def first_sight() -> None:
        with RunLogReader(directory / "run.h5") as reader:
            reader.overview("steps", fields, 0, None, BUCKETS)

    for name, action, times in (
        ("TensorBoard's loader, all points", load_events, 1),
        ("run log, all points", load_rows, 10),
        ("run log, overview", first_sight, 10),
    ):
        print(f"{name:32} | 5 curves of {rows:.0e} points | {statistics.median(milliseconds(action, times)):9.1f} ms")


BYTE_CODE = {"PYTHONDONTWRITEBYTECODE": ""}
"""Without it on the disk, as where that variable is set, every command would compile what it imports."""
COMMANDS = (("inspect",), ("watch", "--once"), ("scan",))
LONGEST_SEARCH = 1_000_000
"""Steps of the longest log that is searched for alerts here: longer ones take minutes."""


def through_commands(directory: Path, rows: int) -> None:
    """Time and memory of whole commands on a log whose alerts are recorded, and on one where they are not."""
    for recorded in (True, False):
        path = directory / f"{rows:.0e}{'' if recorded else '-not-recorded'}.h5"
        if not path.exists():
            write_log(path, rows, recorded=recorded)
        for command in COMMANDS:
            if command == ("scan",) and not recorded and rows > LONGEST_SEARCH:
                continue
            start = time.perf_counter()
            program = [sys.executable, "-m", "thermotui", *command, str(path)]
            process = subprocess.Popen(program, stdout=subprocess.DEVNULL, env=os.environ | BYTE_CODE)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            print(
                f"{rows:9.0e} | {'' if recorded else 'not '}recorded | {' '.join(command):12} | "
                f"exit {process.returncode} | "
                f"{time.perf_counter() - start:6.2f} s | {usage.ru_utime + usage.ru_stime:6.2f} s processor | "
                f"{usage.ru_maxrss / 1024:4.0f} MB",
                flush=True,
            )


def through_library(directory: Path, rows: int) -> None:
    """A line of the table: opening, the first frame's data and zooms of a log of that many steps."""
    path = directory / f"{rows:.0e}.h5"
    written = f"{write_log(path, rows):7.1f}" if not path.exists() else "   kept"
    opening = statistics.median(milliseconds(lambda: RunLogReader(path).close(), 20))
    frame = statistics.median(milliseconds(lambda: first_frame(path), 20))
    with RunLogReader(path) as reader:
        zoom = zooms(reader, "steps", ["loss"])
        layers = zooms(reader, "reservoir", ["temperature"])
        search = milliseconds(lambda: reader.row_range("steps", 12_345, 67_890), 20)
    print(
        f"{rows:9.0e} | {written} | {path.stat().st_size / 1e6:6.0f} | {opening:4.1f} | {frame:11.1f} | "
        f"{statistics.median(zoom):10.2f}, {zoom[-1]:12.2f} | "
        f"{statistics.median(layers):5.2f}, {layers[-1]:7.2f} | "
        f"{statistics.median(search):5.2f}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=float, nargs="+", default=[1e5, 1e6, 1e7])
    parser.add_argument("--directory", type=Path, help="for logs that are deleted afterwards")
    parser.add_argument("--keep", type=Path, help="for logs that are kept, and taken from there a second time")
    parser.add_argument("--tensorboard", type=float, help="instead: TensorBoard's loader beside, on that many steps")
    parser.add_argument("--commands", type=float, nargs="+", help="instead: whole commands on logs of so many steps")
    arguments = parser.parse_args()
    with contextlib.ExitStack() as stack:
        directory = arguments.keep
        if directory is None:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=arguments.directory)))
        if arguments.commands:
            for rows in arguments.commands:
                through_commands(directory, int(rows))
        elif arguments.tensorboard:
            against_tensorboard(directory, int(arguments.tensorboard))
        else:
            print(
                "rows      | write s | MB     | open | first frame | zoom steps median, worst | 50 layers | row_range"
            )
            for rows in arguments.rows:
                through_library(directory, int(rows))


if __name__ == "__main__":
    main()
