"""Processor time to list a directory of runs, and to look at it again; prints a table.

Usage: PYTHONPATH=. python tests/benchmarks/workspace_listing.py [--runs 500] [--live 5]
Most runs are finished, `--live` of them are being written. The first line is what the list needs before it can be
shown: every run's state, step, age, rate and loss; the second adds curves and alerts of all; the third is a tick after
that.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from tests.tui import scripted
from thermotui.analysis.snapshot import Query, Tick
from thermotui.analysis.workspace import Workspace


def timed(workspace: Workspace) -> tuple[float, float, Tick]:
    """Processor and wall seconds of a tick, and the tick."""
    processor, wall = time.process_time(), time.perf_counter()
    tick = workspace.tick(Query())
    return time.process_time() - processor, time.perf_counter() - wall, tick


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--live", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place, ExitStack() as stack:
        directory = Path(place)
        first = scripted.scripted_log(directory / "run.h5")
        for index in range(1, arguments.runs - arguments.live):
            shutil.copy(first, directory / f"run-{index}.h5")
        for index in range(arguments.live):
            stack.callback(scripted.live_log(directory / f"live-{index}.h5").close)
        print("                     | runs | processor s | wall s")
        for _ in range(3):
            with Workspace([directory], detail_seconds=0) as listing:
                processor, wall, tick = timed(listing)
                print(f"the list             | {len(tick.summaries):4} | {processor:11.2f} | {wall:6.2f}")
            with Workspace([directory]) as workspace:
                for name in ("with curves, alerts", "once more"):
                    processor, wall, tick = timed(workspace)
                    print(f"{name:20} | {len(tick.summaries):4} | {processor:11.2f} | {wall:6.2f}")


if __name__ == "__main__":
    main()
