"""From a flush in the writer to the row in a reader's hands, with four readers polling; prints a table.

Usage: python tests/benchmarks/runlog_latency.py [--seconds 10] [--readers 4] [--poll 0.02]
"""

from __future__ import annotations

import argparse
import multiprocessing as mp
import tempfile
import time
from multiprocessing.synchronize import Event
from pathlib import Path

import numpy as np

from thermotui.runlog.reader import RunLogReader
from thermotui.runlog.schema import Header, Layer
from thermotui.runlog.writer import RunLogWriter


def watch(path: Path, poll: float, stop: Event, results: mp.Queue[tuple[list[float], int]]) -> None:
    """Poll the log; the age of each new block of rows when it is in hand, and rows that were not as written."""
    ages, torn, seen = [], 0, 0
    with RunLogReader(path) as reader:
        while not stop.is_set():
            reader.refresh()
            rows = reader.read("steps", ["step", "time", "loss"], seen)
            if len(rows):
                ages.append(time.time() - float(rows["time"][-1]))
                torn += int((rows["loss"] != rows["step"].astype("f4")).sum())
                torn += int((rows["step"] != np.arange(seen, seen + len(rows))).sum())
                seen += len(rows)
            time.sleep(poll)
    results.put((ages, torn))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--readers", type=int, default=4)
    parser.add_argument("--poll", type=float, default=0.02)
    arguments = parser.parse_args()
    context = mp.get_context("spawn")
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "run.h5"
        with RunLogWriter.create(path, Header("benchmark", time.time(), "softmax", (Layer("a", 1),))) as writer:
            stop, results = context.Event(), context.Queue()
            readers = [
                context.Process(target=watch, args=(path, arguments.poll, stop, results))
                for _ in range(arguments.readers)
            ]
            for process in readers:
                process.start()
            step, end = 0, time.monotonic() + arguments.seconds
            while time.monotonic() < end:
                for _ in range(32):
                    writer.append("steps", step=step, loss=step, time=time.time())
                    step += 1
                writer.flush()
                time.sleep(0.03)
            time.sleep(0.5)
            stop.set()
            found = [results.get() for _ in readers]
            for process in readers:
                process.join()
    ages = np.concatenate([ages for ages, _ in found]) * 1000
    print(f"{arguments.readers} readers, poll every {1000 * arguments.poll:.0f} ms, {step} rows, {len(ages)} sightings")
    print(f"age when seen, ms: median {np.median(ages):.1f}, p90 {np.percentile(ages, 90):.1f}, worst {ages.max():.1f}")
    print(f"rows not as written: {sum(torn for _, torn in found)}")


if __name__ == "__main__":
    main()
