"""Files without the columns that a run never measures: smaller, and read like any other."""

from __future__ import annotations

import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from thermotui.analysis.inspection import inspect_run
from thermotui.analysis.scanning import scan_file
from thermotui.runlog.exchange.selection import select
from thermotui.runlog.layout import rollup_path
from thermotui.runlog.reader import RunLogReader
from thermotui.runlog.repair import repair
from thermotui.runlog.schema import RESERVOIR, ROLLUP_FACTORS, STREAMS, row_dtype
from thermotui.runlog.writer import RunLogWriter

UNMEASURED = {
    "reservoir": [field.name for field in RESERVOIR.fields if field.name not in ("step", "time", "temperature")],
    "thermo": ["heat", "heat_se"],
}


def narrow(path: Path, header, rows, count: int = 300) -> np.ndarray:
    """A log of `count` rows without UNMEASURED; returns the rows of `reservoir` that went in."""
    with RunLogWriter.create(path, header(), unmeasured=UNMEASURED) as writer:
        given = {name: rows(STREAMS[name], header(), count) for name in ("steps", "thermo", "reservoir")}
        for name, block in given.items():
            writer.append_rows(name, block)
    return given["reservoir"]


def test_what_the_file_lacks_reads_as_not_measured(tmp_path: Path, header, rows) -> None:
    given = narrow(tmp_path / "run.h5", header, rows)
    with h5py.File(tmp_path / "run.h5") as file:
        assert file["reservoir"].dtype.names == ("step", "time", "temperature")
        assert "heat_mean" not in file[rollup_path("thermo", ROLLUP_FACTORS[0])].dtype.names
        assert list(file["reservoir"].attrs["units"]) == ["step: steps", "time: s", "temperature: nats"]
    with RunLogReader(tmp_path / "run.h5") as reader:
        assert reader.held("reservoir") == ("step", "time", "temperature")
        found = reader.read("reservoir")
        assert found.dtype == row_dtype(RESERVOIR, header())
        np.testing.assert_array_equal(found["temperature"], given["temperature"])
        assert np.isnan(found["force"]).all()
        overview = reader.overview("reservoir", ["force", "temperature"], 0, None, 4)
        assert np.isnan(overview.mean["force"]).all()
        assert np.isfinite(overview.mean["temperature"]).any()
        columns = [column for selection in select(reader, ["thermo"], [], None) for column in selection.columns()]
        assert "heat" in [column.name for column in columns]


def test_the_commands_take_it(tmp_path: Path, header, rows) -> None:
    narrow(tmp_path / "run.h5", header, rows)
    inspection = inspect_run(tmp_path / "run.h5")
    assert len(inspection.temperatures) == 3
    assert "heat" not in [figure.name for figure in inspection.balance.figures]
    assert scan_file(tmp_path / "run.h5").last_step == 299


def test_a_value_for_a_column_left_out_is_refused_by_name(tmp_path: Path, header) -> None:
    with RunLogWriter.create(tmp_path / "run.h5", header(), unmeasured=UNMEASURED) as writer:
        assert "heat" not in writer.dtype("thermo").names
        with pytest.raises(ValueError, match="has no field 'heat'"):
            writer.append("thermo", step=0, heat=1.0)


@pytest.mark.parametrize(
    ("stream", "field"), [("thermo", "step"), ("alerts", "kind"), ("heartbeat", "time"), ("steps", "perplexity")]
)
def test_what_no_log_can_do_without(tmp_path: Path, header, stream: str, field: str) -> None:
    with pytest.raises(ValueError, match=f"cannot leave out '{field}'"):
        RunLogWriter.create(tmp_path / "run.h5", header(), unmeasured={stream: [field]})
    assert list(tmp_path.iterdir()) == []


def test_resuming_keeps_columns_and_adds_those_that_are_measured_now(tmp_path: Path, header, rows, same) -> None:
    path = tmp_path / "run.h5"
    narrow(path, header, rows)
    with RunLogReader(path) as reader:
        before = reader.read("reservoir", stop=101)
    with RunLogWriter.resume(path, 100, unmeasured={"thermo": ["heat", "work"]}) as writer:
        # The log has `work` already, and nobody says any longer that the force is not measured.
        assert "work" in writer.dtype("thermo").names
        assert "heat" not in writer.dtype("thermo").names
        writer.append("reservoir", step=101, force=np.float32([1, 2, 3]))
    with RunLogReader(path) as reader:
        assert same(reader.read("reservoir", stop=101), before)
        np.testing.assert_array_equal(reader.read("reservoir", ["force"], -1)["force"], [[1, 2, 3]])


def test_repair_keeps_the_columns(tmp_path: Path, header, rows, same) -> None:
    narrow(tmp_path / "run.h5", header, rows)
    whole = (tmp_path / "run.h5").read_bytes()
    (tmp_path / "cut.h5").write_bytes(whole[:-100])
    repair(tmp_path / "cut.h5", tmp_path / "saved.h5")
    with RunLogReader(tmp_path / "saved.h5") as saved, RunLogReader(tmp_path / "run.h5") as original:
        assert saved.held("reservoir") == original.held("reservoir")
        assert len(saved.read("reservoir")) > 0
        assert same(saved.read("reservoir"), original.read("reservoir")[: saved.length("reservoir")])


def test_age_of_a_run_whose_rows_have_no_times(tmp_path: Path, header, rows) -> None:
    from thermotui.analysis.run_state import summarise

    with RunLogWriter.create(tmp_path / "run.h5", header(), unmeasured={"steps": ["time"]}) as writer:
        writer.append("steps", step=0, loss=1.0)
    with RunLogReader(tmp_path / "run.h5") as reader:
        assert summarise(reader, "", "", time.time() + 100).age == pytest.approx(100, abs=10)
