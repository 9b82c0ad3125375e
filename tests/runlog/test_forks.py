"""A forked child of the trainer, a data loader's worker say, neither writes to the log nor holds its lock."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np

from thermotui.runlog.reader import RunLogReader
from thermotui.runlog.writer import RunLogWriter

BEGIN = """
import os, signal, sys, time
from pathlib import Path
from thermotui.runlog.schema import Header
from thermotui.runlog.writer import RunLogWriter
writer = RunLogWriter.create(Path(sys.argv[1]), Header("x", time.time(), "softmax", ()))
for step in range(1000):
    writer.append("steps", step=step, loss=float(step))
"""


def run(script: str, path: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", BEGIN + script, str(path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_a_child_that_ends_like_any_program_leaves_the_log_alone(tmp_path: Path) -> None:
    script = """
writer.flush()
with writer._io:
    writer.append("steps", step=1000, loss=1000.0)
    # Rows that HDF5 has and the file has not yet.
    storage = writer._storage
    storage.store("steps", [block.rows[: block.count] for block in writer._buffers["steps"].take()])
    before = Path(sys.argv[1]).read_bytes()
    child = os.fork()
    if child == 0:
        sys.exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert Path(sys.argv[1]).read_bytes() == before
for step in range(1001, 3000):
    writer.append("steps", step=step, loss=float(step))
writer.close()
assert writer.failure is None
"""
    ended = run(script, tmp_path / "run.h5")
    assert ended.returncode == 0, ended.stderr
    with RunLogReader(tmp_path / "run.h5") as reader:
        assert reader.state().state == "finished"
        np.testing.assert_array_equal(reader.read("steps")["loss"], np.arange(3000, dtype="f4"))


def test_a_child_that_outlives_a_killed_trainer_does_not_keep_the_log(tmp_path: Path) -> None:
    script = """
writer.flush()
child = os.fork()
if child == 0:
    os.close(1), os.close(2)
    time.sleep(60)
    os._exit(0)
print(child, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = run(script, tmp_path / "run.h5")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    child = int(killed.stdout)
    try:
        with RunLogWriter.resume(tmp_path / "run.h5", 499) as writer:
            writer.append("steps", step=500, loss=500.0)
    finally:
        os.kill(child, signal.SIGKILL)
    with RunLogReader(tmp_path / "run.h5") as reader:
        assert reader.length("steps") == 501
