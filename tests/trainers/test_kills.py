"""SIGKILL at random moments, creation, checkpoint and resume included: each death is resumed, and nothing shows."""

import multiprocessing
import random
from pathlib import Path
from typing import Any

import pytest

from thermotui.runlog.reader import RunLogReader
from thermotui.runlog.schema import STREAMS
from trainers.checkpoint import checkpoint_path
from trainers.config import resolve
from trainers.loop import resume, train

FAMILIES: dict[str, dict[str, Any]] = {
    "softmax": {"widths": "8,6", "probe_size": 16, "ensemble": 3, "reservoir_stride": 7, "full_stride": 500},
    "gaussian": {"dimension": 2, "probe_size": 16, "ensemble": 3, "dataset_size": 50},
    "rbm": {"data": "bars-and-stripes", "hidden": 4, "learning_chains": 16, "probe_size": 64, "batch_size": 10},
}
KILLS = 70
LIFE_SECONDS = 1.0
"""Longest life before a kill: a process that starts from a warmed server has logged for most of it."""


def live(family: str, log: Path) -> None:
    """Train from the start, or go on where the last life left the run."""
    if log.exists():
        resume(log, None, lambda progress: None)
        return
    common = {"device": "cpu", "steps": 8000, "checkpoint_every": 100}
    train(family, *resolve(family, FAMILIES[family] | common), log, lambda progress: None)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_run_killed_again_and_again_is_the_straight_run(family: str, tmp_path: Path) -> None:
    # A server that has imported torch forks the lives: each is a process of its own, and most of it is training.
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["trainers.loop", f"trainers.families.{family}"])

    def start(log: Path) -> Any:
        process = processes.Process(target=live, args=(family, log))
        process.start()
        return process

    straight, log = tmp_path / "straight.h5", tmp_path / "killed.h5"
    moments = random.Random(family)
    kills = 0
    while kills < KILLS:
        process = start(log)
        process.join(moments.uniform(0.0, LIFE_SECONDS))
        process.kill()
        process.join()
        if process.exitcode == 0:
            break
        kills += 1
        if log.exists():
            with RunLogReader(log) as reader:
                state, steps = reader.state().state, reader.read("steps")["step"].tolist()
            assert steps == list(range(1, len(steps) + 1))
            if state == "finished":
                break
    else:
        process = start(log)
        process.join()
        assert process.exitcode == 0
    print(f"{family}: {kills} kills")
    assert kills > 5
    last = start(straight)
    last.join()
    with RunLogReader(straight) as first, RunLogReader(log) as second:
        assert first.state().state == second.state().state == "finished"
        for stream in set(STREAMS) - {"heartbeat", "alerts"}:
            a, b = first.read(stream), second.read(stream)
            assert len(a) == len(b), stream
            for name in a.dtype.names or ():
                if name != "time":
                    assert a[name].tobytes() == b[name].tobytes(), f"{stream}.{name}"
    left = {path.name for path in tmp_path.iterdir() if not path.name.startswith(".")}
    assert left == {path.name for run in (straight, log) for path in (run, checkpoint_path(run))}
