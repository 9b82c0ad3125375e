"""Time to open, to the first frame's data and to any zoom, as the run grows; prints a table.

Usage: python tests/benchmarks/runlog_reading.py [--rows 1e5 1e6 1e7] [--directory DIRECTORY] [--tensorboard 1e6]
       python tests/benchmarks/runlog_reading.py --commands 1e7
A log of 10^7 steps takes 0.6 GB of DIRECTORY while it is measured. Times are medians over fresh processes' files that
are in the page cache, in milliseconds.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
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


def zooms(reader: RunLogReader, stream: str, fields: list[str]) -> Callable[[], None]:
    """One pan or zoom to a random window of a random width."""
    generator = np.random.default_rng(1)
    length = reader.length(stream)

    def zoom() -> None:
        width = int(length ** generator.uniform(0.3, 1))
        start = int(generator.integers(0, length - width + 1))
        reader.overview(stream, fields, start, start + width, BUCKETS)

    return zoom


def milliseconds(action: Callable[[], None], times: int) -> list[float]:
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


def through_commands(directory: Path, rows: int) -> None:
    """Time and memory of whole commands on a log whose alerts are recorded, and on one where they are not."""
    for recorded in (True, False):
        path = directory / f"{'recorded' if recorded else 'not-recorded'}.h5"
        write_log(path, rows, recorded=recorded)
        for command in COMMANDS:
            start = time.perf_counter()
            program = [sys.executable, "-m", "thermotui", *command, str(path)]
            process = subprocess.Popen(program, stdout=subprocess.DEVNULL, env=os.environ | BYTE_CODE)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            print(
                f"{rows:9.0e} | alerts {path.stem:12} | {' '.join(command):12} | exit {process.returncode} | "
                f"{time.perf_counter() - start:6.2f} s | {usage.ru_utime + usage.ru_stime:6.2f} s processor | "
                f"{usage.ru_maxrss / 1024:4.0f} MB",
                flush=True,
            )
        path.unlink()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=float, nargs="+", default=[1e5, 1e6, 1e7])
    parser.add_argument("--directory", type=Path)
    parser.add_argument("--tensorboard", type=float, help="also compare with TensorBoard's loader, on that many steps")
    parser.add_argument("--commands", type=float, help="instead: whole commands on a log of that many steps")
    arguments = parser.parse_args()
    if arguments.commands:
        with tempfile.TemporaryDirectory(dir=arguments.directory) as directory:
            through_commands(Path(directory), int(arguments.commands))
        return
    if arguments.tensorboard:
        with tempfile.TemporaryDirectory(dir=arguments.directory) as directory:
            against_tensorboard(Path(directory), int(arguments.tensorboard))
    print("rows      | write s | MB     | open | first frame | zoom steps median, worst | zoom 50 layers | row_range")
    for rows in map(int, arguments.rows):
        with tempfile.TemporaryDirectory(dir=arguments.directory) as directory:
            path = Path(directory) / "run.h5"
            written = write_log(path, rows)
            opening = statistics.median(milliseconds(lambda path=path: RunLogReader(path).close(), 20))
            frame = statistics.median(milliseconds(lambda path=path: first_frame(path), 20))
            with RunLogReader(path) as reader:
                zoom = milliseconds(zooms(reader, "steps", ["loss"]), 300)
                layers = milliseconds(zooms(reader, "reservoir", ["temperature"]), 300)
                search = milliseconds(lambda reader=reader: reader.row_range("steps", 12_345, 67_890), 20)
            print(
                f"{rows:9.0e} | {written:7.1f} | {path.stat().st_size / 1e6:6.0f} | {opening:4.1f} | {frame:11.1f} | "
                f"{statistics.median(zoom):10.2f}, {zoom[-1]:12.2f} | "
                f"{statistics.median(layers):5.2f}, {layers[-1]:7.2f} | "
                f"{statistics.median(search):5.2f}"
            )


if __name__ == "__main__":
    main()
