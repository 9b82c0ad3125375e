"""A replay is the same run on the live path, at its pace."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest

from thermotui.runlog.errors import RunLogError
from thermotui.runlog.reader import RunLogReader
from thermotui.runlog.replaying import replay
from thermotui.runlog.schema import STREAMS
from thermotui.runlog.writer import RunLogWriter


@pytest.fixture
def recorded(tmp_path: Path, header, rows) -> Path:
    """4,000 steps at 1,000 steps a second, other streams every tenth step, an alert that lasts 1,000 steps."""
    path = tmp_path / "recorded.h5"
    with RunLogWriter.create(path, header()) as writer:
        for stream in STREAMS.values():
            if stream.name in ("alerts", "heartbeat"):
                continue
            stride = 1 if stream.name == "steps" else 10
            block = rows(stream, writer.header, 4000 // stride)
            block["step"] *= stride
            if "time" in block.dtype.names:
                block["time"] = 1e9 + block["step"] / 1000
            writer.append_rows(stream.name, block)
        writer.append("alerts", step=2000, time=1e9, kind="loss_spike", start=1990, end=-1)
        writer.append("alerts", step=2000, time=1e9, kind="loss_spike", start=1990, end=3000)
    return path


def test_a_replay_comes_live_and_ends_the_same(recorded: Path, tmp_path: Path) -> None:
    live = tmp_path / "live.h5"
    begin = time.monotonic()
    thread = threading.Thread(target=replay, args=(recorded, live, 0.5, None))
    thread.start()
    while not live.exists():
        assert thread.is_alive()
        time.sleep(0.01)
    alerts_at: dict[int, int] = {}
    states = set()
    with RunLogReader(live) as reader:
        while thread.is_alive():
            reader.refresh()
            states.add(reader.state().state)
            alerts_at.setdefault(reader.length("alerts"), reader.state().step)
            time.sleep(0.02)
    thread.join()
    taken = time.monotonic() - begin
    assert taken > 7.2
    assert states >= {"running"}
    assert alerts_at[0] < 2000 <= alerts_at[1] < 3000 <= alerts_at[2]
    with RunLogReader(recorded) as old, RunLogReader(live) as new:
        for name in STREAMS:
            if name == "heartbeat":
                continue
            before, after = old.read(name), new.read(name)
            for field in before.dtype.names or ():
                if field != "time":
                    np.testing.assert_array_equal(before[field], after[field])
        times = new.read("steps")["time"]
        assert times[-1] - times[0] == pytest.approx(3.999 / 0.5, abs=1e-5)
        assert abs(times[0] - new.header.created) < 1
        state = new.state()
        assert (state.state, state.message) == ("finished", "replay of recorded.h5")
        assert new.header.run_id != old.header.run_id


def test_an_even_pace_for_rows_without_times(tmp_path: Path, header) -> None:
    path = tmp_path / "timeless.h5"
    with RunLogWriter.create(path, header()) as writer:
        for step in range(5, 100):
            writer.append("steps", step=step, loss=step)
    with pytest.raises(RunLogError, match="no times; say --rate"):
        replay(path, tmp_path / "a.h5", 1.0, None)
    assert replay(path, tmp_path / "b.h5", 1.0, 1000.0) == 99
    with RunLogReader(tmp_path / "b.h5") as reader:
        rows = reader.read("steps")
        assert len(rows) == 95
        assert rows["time"][-1] - rows["time"][0] == pytest.approx(0.094, abs=1e-5)


def test_nothing_to_replay(log, tmp_path: Path, header) -> None:
    RunLogWriter.create(tmp_path / "none.h5", header()).close()
    with pytest.raises(RunLogError, match="no rows of steps to replay"):
        replay(tmp_path / "none.h5", tmp_path / "a.h5", 1.0, None)
    with pytest.raises(RunLogError, match="exists already"):
        replay(log(10), tmp_path / "none.h5", 1.0, 1e6)
