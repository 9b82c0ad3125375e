"""SIGKILL at random moments: every death is resumed, and in the end nothing shows."""

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from thermotui.runlog.reader import RunLogReader
from thermotui.runlog.schema import STREAMS
from trainers.checkpoint import checkpoint_path

FAMILIES = {
    "softmax": ["--widths", "8,6", "--probe-size", "16", "--ensemble", "3", "--reservoir-stride", "7"],
    "gaussian": ["--dimension", "2", "--probe-size", "16", "--ensemble", "3"],
}
STEPS = ["--steps", "2500", "--checkpoint-every", "150", "--device", "cpu"]


def start(*arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "thermotui", "train", *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )


def inode(log: Path) -> int:
    """Of the file at that name; 0 where there is none. A resumed run puts a fresh file in the place of the old."""
    return log.stat().st_ino if log.exists() else 0


def killed(process: subprocess.Popen[bytes], log: Path, old: int, seconds: float) -> bool:
    """Kill the process some time after it has put its log into place; False where it ended before that."""
    while inode(log) == old and process.poll() is None:
        time.sleep(0.005)
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return True
    return False


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_run_killed_again_and_again_is_the_straight_run(family: str, tmp_path: Path) -> None:
    straight, log = tmp_path / "straight.h5", tmp_path / "killed.h5"
    assert start(family, *FAMILIES[family], *STEPS, "--log", str(straight)).wait() == 0
    moments = random.Random(family)
    kills, old = 0, 0
    # The first life dies right after the log has got its name, before or during the first checkpoint.
    process = start(family, *FAMILIES[family], *STEPS, "--log", str(log))
    while killed(process, log, old, 0.001 if kills == 0 else moments.uniform(0.0, 1.5)):
        kills += 1
        with RunLogReader(log) as reader:
            state = reader.state().state
            before = reader.read("steps")["step"].tolist()
        assert before == list(range(1, len(before) + 1))
        if state == "finished":
            break
        assert state in ("starting", "running", "crashed", "stalled")
        old = inode(log)
        process = start(family, "--resume", str(log))
    else:
        assert process.returncode == 0, process.stderr and process.stderr.read()
    assert kills >= 2
    with RunLogReader(straight) as first, RunLogReader(log) as second:
        assert second.state().state == "finished"
        for stream in set(STREAMS) - {"heartbeat", "alerts"}:
            a, b = first.read(stream), second.read(stream)
            assert len(a) == len(b), stream
            for name in a.dtype.names or ():
                if name != "time":
                    assert a[name].tobytes() == b[name].tobytes(), f"{stream}.{name}"
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(
        path.name for log in (straight, log) for path in (log, checkpoint_path(log))
    )
