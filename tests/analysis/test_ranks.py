"""The logs of a distributed run's ranks, listed, inspected and compared as the one run that they are."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.tui import scripted
from thermotui.analysis.comparison import compare_runs
from thermotui.analysis.inspection import inspect_run, to_json
from thermotui.analysis.ranks import as_one_run, group_ranks
from thermotui.analysis.run_state import RunSummary
from thermotui.analysis.snapshot import Query
from thermotui.analysis.workspace import Workspace
from thermotui.runlog.schema import State
from thermotui.tui.plain_frame import frame_data, plain_frame, read_once


def rank_log(
    path: Path, rank: int, loss: float, step: int = 10, state: State = "finished", world_size: int = 2
) -> Path:
    header = scripted.header("distributed", rank=rank, world_size=world_size)
    with scripted.RunLogWriter.create(path, header) as writer:
        writer.append("steps", step=step, time=1000.0 + rank, loss=loss)
        writer.heartbeat(step)
        writer.close(state, "" if state == "finished" else "out of memory")
    return path


@pytest.fixture
def run(tmp_path: Path) -> Path:
    rank_log(tmp_path / "mine.h5", 0, 0.5)
    rank_log(tmp_path / "mine-rank1.h5", 1, 0.75, step=8, state="failed")
    return tmp_path


def test_ranks_are_one_run_in_the_list(run: Path) -> None:
    scripted.scripted_log(run / "other.h5", rows=10)
    with Workspace([run]) as workspace:
        (mine, other) = sorted(workspace.tick(Query()).summaries, key=lambda summary: summary.name)
    assert (mine.name, mine.path) == ("mine (2 ranks)", str(run / "mine.h5"))
    assert (mine.state, mine.step) == ("failed", 8)
    assert mine.message == "rank 1: out of memory; loss 0.5 to 0.75 over 2 ranks"
    assert mine.last_loss == 0.625
    assert mine.age == max(rank.age for rank in mine.ranks)
    assert [rank.rank for rank in mine.ranks] == [0, 1]
    assert (other.name, other.ranks) == ("other", ())


def test_the_plain_frame_says_it(run: Path) -> None:
    tick = read_once([run], 80)
    first = next(iter(plain_frame(tick, 120, "ascii")))
    assert first.startswith("failed       mine (2 ranks): step 8")
    assert "loss 0.5 to 0.75 over 2 ranks" in first
    (data,) = frame_data(tick)["runs"]
    assert [(rank["rank"], rank["state"], rank["loss"]) for rank in data["ranks"]] == [
        (0, "finished", 0.5),
        (1, "failed", 0.75),
    ]


def test_the_plain_frame_tells_the_alerts_of_all_ranks(run: Path) -> None:
    with scripted.RunLogWriter.resume(run / "mine-rank1.h5", 8) as writer:
        told = {"kind": "divergence", "layer": -1, "start": 5, "end": -1, "step": 7, "severity": "critical"}
        writer.append("alerts", time=1000.0, message="the loss rises", **told)
    tick = read_once([run], 80)
    lines = list(plain_frame(tick, 120, "ascii"))
    assert "critical 5–  rank 1: divergence: the loss rises" in lines
    (data,) = frame_data(tick)["runs"]
    assert [(alert["rank"], alert["kind"], alert["step"]) for alert in data["alerts"]] == [(1, "divergence", 7)]


def test_the_plain_frame_says_how_far_each_rank_was_searched(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thermotui.analysis.monitoring.ROWS_A_TICK", 10)
    header = scripted.header("distributed", rank=1, world_size=2, detectors={})
    (run / "mine-rank1.h5").unlink()
    with scripted.RunLogWriter.create(run / "mine-rank1.h5", header) as writer:
        for step in range(50):
            writer.append("steps", step=step, loss=1.0)
    tick = read_once([run], 80)
    (line,) = [line for line in plain_frame(tick, 120, "ascii") if "searched up to" in line]
    assert "step 19," in line and line.endswith(str(run / "mine-rank1.h5"))
    assert frame_data(tick)["runs"][0]["alerts_searched_to"] == 19


def test_the_mean_of_opposite_infinities_is_not_a_number() -> None:
    each = [
        RunSummary(f"{rank}", "x", run_id="i", rank=rank, world_size=2, last_loss=loss)
        for rank, loss in enumerate((math.inf, -math.inf))
    ]
    (one,) = group_ranks(each)
    assert math.isnan(one.last_loss)
    assert as_one_run([replace(each[1], last_loss=1.0), each[0]]).last_loss == math.inf


def test_a_copy_a_missing_rank_and_another_directory(run: Path) -> None:
    shutil.copy(run / "mine.h5", run / "copy.h5")
    (run / "elsewhere").mkdir()
    shutil.copy(run / "mine-rank1.h5", run / "elsewhere")
    rank_log(run / "alone.h5", 3, 0.1, world_size=4).rename(run / "elsewhere" / "alone.h5")
    with Workspace([run]) as workspace:
        names = sorted(summary.name for summary in workspace.tick(Query()).summaries)
    # The first file of a rank, by name, is taken for the rank; the other one stays by itself.
    assert names == [
        "copy (2 ranks)",
        "elsewhere/alone (rank 3 of 4)",
        "elsewhere/mine-rank1 (rank 1 of 2)",
        "mine (rank 0 of 2)",
    ]


@pytest.mark.parametrize("name", ["mine.h5", "mine-rank1.h5"])
def test_inspecting_any_rank_names_the_others(run: Path, name: str) -> None:
    (run / "mine-rank2.h5").write_bytes(b"no log")
    inspection = inspect_run(run / name)
    assert [(rank.rank, Path(rank.file).name, rank.loss) for rank in inspection.ranks] == [
        (0, "mine.h5", 0.5),
        (1, "mine-rank1.h5", 0.75),
    ]
    assert len(json.loads(json.dumps(to_json(inspection)))["ranks"]) == 2


def test_comparing_ranks_says_that_they_are_one_run(run: Path) -> None:
    comparison = compare_runs([inspect_run(run / "mine.h5"), inspect_run(run / "mine-rank1.h5")])
    assert any("ranks of one run" in remark for remark in comparison.remarks)
    assert comparison.configuration["rank"] == (0, 1)
