"""What the screen costs on a live run: processor, bytes to the terminal, latency from flush to screen; start-up time.

    python -m tests.benchmarks.screen_live

Every row follows one run that flushes ten steps a second apart, in a pseudo-terminal of 160×48 cells.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from pathlib import Path

import psutil

from tests.tui import scripted
from tests.tui.terminal import watching

SECONDS = 20
STARTS = 7


def processor_seconds(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def follow(folder: Path, interval: float, layers: int) -> str:
    path = folder / f"live-{interval}-{layers}.h5"
    writer = scripted.live_log(path, rows=1000, layers=layers, steps=100_000)
    with watching(str(path), "--fresh", "--interval", str(interval), columns=160, lines=48) as terminal:
        terminal.wait_for("running")
        terminal.read(2)
        readers = [child.pid for child in psutil.Process(terminal.pid).children()]
        screen, reading = processor_seconds(terminal.pid), sum(map(processor_seconds, readers))
        sent, began, step, latencies = len(terminal.raw), time.time(), 1000, []
        while time.time() - began < SECONDS:
            scripted.write_rows(writer, step, step + 10, start_time=time.time() - step * 0.01)
            step += 10
            writer.heartbeat(step - 1)
            writer.flush()
            flushed = time.perf_counter()
            while f"running {step - 1}" not in terminal.text and time.perf_counter() - flushed < 5:
                terminal.read(0.01)
            latencies.append(time.perf_counter() - flushed)
            terminal.read(max(0.0, 1 - latencies[-1]))
        passed = time.time() - began
        screen, reading = processor_seconds(terminal.pid) - screen, sum(map(processor_seconds, readers)) - reading
        rate = (len(terminal.raw) - sent) / passed
        terminal.press("q")
        terminal.wait_for_end()
    writer.close()
    return (
        f"{interval:8.1f} s {layers:7d} {100 * screen / passed:8.1f} % {100 * reading / passed:8.1f} % {rate:8.0f} "
        f"{statistics.median(latencies):8.3f} s {max(latencies):8.3f} s"
    )


def start(folder: Path) -> float:
    path = folder / "finished.h5"
    if not path.exists():
        scripted.scripted_log(path)
    began = time.perf_counter()
    with watching(str(path), "--fresh", columns=160, lines=48) as terminal:
        while "⣀" not in terminal.text:
            terminal.read(0.01)
        passed = time.perf_counter() - began
        terminal.press("q")
        terminal.wait_for_end()
    return passed


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print(f"processors: {os.cpu_count()}, load: {os.getloadavg()[0]:.1f}")
        print("interval    layers   screen     reader   bytes/s   latency: median, maximum")
        for interval, layers in ((1.0, 4), (0.1, 4), (0.5, 200)):
            print(follow(folder, interval, layers))
        starts = [start(folder) for _ in range(STARTS)]
        print(f"from start to curves: median {statistics.median(starts):.2f} s, fastest {min(starts):.2f} s")


if __name__ == "__main__":
    main()
