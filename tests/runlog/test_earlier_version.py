"""A log of format version 1, whose standard errors are float64 and whose rollups stand for 64, 512, … rows.

`version_1.h5`: `thermotui train gaussian --steps 300 --ensemble 2` of the last program that wrote that version.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from thermotui.runlog import overview
from thermotui.runlog.reader import RunLogReader
from thermotui.runlog.repair import repair
from thermotui.runlog.schema import FORMAT_VERSION, STREAMS, THERMO, row_dtype
from thermotui.runlog.writer import RunLogWriter

LOG = Path(__file__).parent / "version_1.h5"


def rows_of(path: Path) -> dict[str, np.ndarray]:
    with RunLogReader(path) as reader:
        return {name: reader.read(name) for name in STREAMS}


def test_it_is_of_version_1() -> None:
    with h5py.File(LOG) as file:
        assert file.attrs["format_version"] == 1
        assert file["thermo"].dtype["heat_se"] == np.float64
        assert set(file["rollups/thermo"]) == {"64", "512", "4096", "32768", "262144"}


def test_its_rows_are_those_of_today() -> None:
    with h5py.File(LOG) as file:
        raw = file["thermo"][:]
    with RunLogReader(LOG) as reader:
        rows = reader.read("thermo")
        assert rows.dtype == row_dtype(THERMO, reader.header)
    np.testing.assert_array_equal(rows["heat"], raw["heat"])
    np.testing.assert_array_equal(rows["heat_se"], raw["heat_se"].astype(np.float32))


def test_an_overview_comes_from_its_own_rollups(monkeypatch: pytest.MonkeyPatch) -> None:
    with RunLogReader(LOG) as reader:
        rows = reader.read("thermo")
        monkeypatch.setattr(overview, "RAW_BLOCK_ROWS", 0)  # no row can be read in blocks of none
        found = reader.overview("thermo", ["heat", "heat_se"], 0, len(rows) // 64 * 64, len(rows) // 64)
    assert found.width == 64
    for index in range(len(rows) // 64):
        bucket = rows[64 * index : 64 * (index + 1)]
        assert found.maximum["heat"][index] == bucket["heat"].max()
        assert found.maximum["heat_se"][index] == bucket["heat_se"].max()
        assert found.mean["heat_se"][index] == pytest.approx(bucket["heat_se"].mean(dtype=np.float64), rel=1e-6)


def test_repaired_it_is_of_the_version_of_today_with_the_same_rows(tmp_path: Path) -> None:
    damaged = tmp_path / "run.h5"
    shutil.copy(LOG, damaged)
    with damaged.open("r+b") as file:
        file.truncate(damaged.stat().st_size - 1)
    saved = repair(damaged).output
    before, after = rows_of(LOG), rows_of(saved)
    with h5py.File(saved) as file:
        assert file.attrs["format_version"] == FORMAT_VERSION
        assert file["thermo"].dtype["heat_se"] == np.float32
    for name in ("steps", "thermo", "reservoir"):
        assert len(after[name]) >= len(before[name]) - 64
        assert before[name][: len(after[name])].tobytes() == after[name].tobytes()


def test_resumed_it_goes_on_in_the_version_of_today(tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    shutil.copy(LOG, path)
    before = rows_of(LOG)["thermo"]
    last = int(before["step"][-1])
    with RunLogWriter.resume(path, last) as writer:
        writer.append("thermo", step=last + 1, heat=-1.0, heat_se=0.5)
    after = rows_of(path)["thermo"]
    assert after[:-1].tobytes() == before.tobytes()
    assert (after["heat"][-1], after["heat_se"][-1]) == (-1.0, 0.5)
    with h5py.File(path) as file:
        assert file.attrs["format_version"] == FORMAT_VERSION
