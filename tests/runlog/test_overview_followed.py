"""Overviews of windows that grow and move: of what was read before only whole buckets are taken, and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import SAMPLE_RUNS
from tests.runlog.conftest import make_header
from thermotui.runlog import reader as reading
from thermotui.runlog.kept_overviews import KEPT
from thermotui.runlog.overview import Overview
from thermotui.runlog.reader import RunLogReader
from thermotui.runlog.rollup import rolled_fields
from thermotui.runlog.schema import STREAMS
from thermotui.runlog.table import Table
from thermotui.runlog.writer import RunLogWriter

ROWS = 40_000


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noise with gaps, so that a bucket that is not its own shows."""
    path = tmp_path_factory.mktemp("followed") / "run.h5"
    with RunLogWriter.create(path, make_header()) as writer:
        append(writer, 0, ROWS)
    return path


def append(writer: RunLogWriter, first: int, last: int, add: float = 0.0) -> None:
    rows = np.zeros(last - first, writer.dtype("steps"))
    rows["step"] = np.arange(first, last)
    generator = np.random.default_rng(first)
    for name in ("loss", "accuracy"):
        rows[name] = add + generator.normal(size=len(rows))
    rows["loss"][generator.random(len(rows)) < 0.2] = np.nan
    writer.append_rows("steps", rows)
    writer.flush()


def assert_same(found: Overview, expected: Overview) -> None:
    assert found.width == expected.width
    for name in ("step_first", "step_last", "count"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    for name in ("minimum", "maximum"):
        for field, values in getattr(expected, name).items():
            np.testing.assert_array_equal(getattr(found, name)[field], values)
    # Of rows or of their rollups: the last digit may differ.
    for field, values in expected.mean.items():
        np.testing.assert_allclose(found.mean[field], values, rtol=1e-5, atol=1e-7)
        assert found.mean[field].dtype == values.dtype


windows = st.tuples(st.integers(0, ROWS), st.integers(0, ROWS)).map(sorted)


@settings(max_examples=40)
@given(asked=st.lists(st.tuples(windows, st.sampled_from([2, 50, 300]), st.booleans()), min_size=2, max_size=8))
def test_any_window_after_any_others_is_as_if_read_alone(noisy: Path, asked) -> None:
    with RunLogReader(noisy) as reader:
        for (start, stop), buckets, keep in asked:
            found = reader.overview_followed("steps", ["loss", "accuracy"], start, stop, buckets, keep=keep)
            assert_same(found, reader.overview("steps", ["loss", "accuracy"], start, stop, buckets))


@pytest.mark.parametrize("stream", [name for name, schema in STREAMS.items() if schema.ordered])
def test_it_takes_every_stream_in_the_order_of_steps(stream: str) -> None:
    with RunLogReader(SAMPLE_RUNS / "softmax-batch-10.h5") as reader:
        fields = sorted(rolled_fields(reader.read(stream, stop=1).dtype))
        for stop in (reader.length(stream) // 2, None):
            assert_same(
                reader.overview_followed(stream, fields, 0, stop, 16), reader.overview(stream, fields, 0, stop, 16)
            )


def test_of_a_log_that_grows_only_new_rows_are_read(tmp_path: Path, header, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.h5"
    read: list[int] = []
    plain = Table.read

    def noted(table: Table, fields: tuple[str, ...] | None, start: int, stop: int) -> np.ndarray:
        read.append(stop - start)
        return plain(table, fields, start, stop)

    with RunLogWriter.create(path, header()) as writer, RunLogReader(path) as reader:
        append(writer, 0, 1000)
        for last in range(1010, 1400, 10):
            append(writer, last - 10, last)
            reader.refresh()
            expected = reader.overview("steps", ["loss"], 0, None, 512)
            if last > 1030:
                monkeypatch.setattr(Table, "read", noted)
            assert_same(reader.overview_followed("steps", ["loss"], 0, None, 512), expected)
            monkeypatch.setattr(Table, "read", plain)
            # What may be asked next leaves what is shown where it is.
            reader.overview_followed("steps", ["loss"], last - 5, None, 512, keep=False)
    # The new ones, and those of a last bucket that was not yet whole.
    assert max(read) <= 12


def test_rollups_that_are_not_read_are_closed_and_opened_again_as_they_have_become(
    tmp_path: Path, header, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run.h5"
    with RunLogWriter.create(path, header()) as writer, RunLogReader(path) as reader:

        def rollups() -> dict[str, int]:
            """Those that are open, and their rows."""
            # What counts is HDF5's: a table of ours that is gone may leave its table open.
            assert {name for name, (_, table) in reader._tables.items() if table} == set(reader._log._tables)
            return {name: len(table) for name, (_, table) in reader._tables.items() if "/" in name and table}

        append(writer, 0, 3000)
        reader.refresh()
        reader.overview_followed("steps", ["loss"], 0, None, 40)
        (level,) = rollups()
        assert rollups()[level] == 3000 // 128
        # Following needs the new rows alone.
        for last in range(3010, 3100, 10):
            append(writer, last - 10, last)
            reader.refresh()
            reader.overview_followed("steps", ["loss"], 0, None, 40)
        assert level in rollups()
        monkeypatch.setattr(reading, "UNUSED_SECONDS", 0.0)
        reader.refresh()
        assert not rollups()
        append(writer, 3090, 30_000)
        reader.refresh()
        found = reader.overview("steps", ["loss", "accuracy"], 0, None, 300)
        assert rollups()[level] == 30_000 // 128
        with RunLogReader(path) as fresh:
            assert_same(found, fresh.overview("steps", ["loss", "accuracy"], 0, None, 300))


def test_a_file_put_in_the_place_of_another_shows_nothing_of_it(tmp_path: Path, header) -> None:
    path, other = tmp_path / "run.h5", tmp_path / "other.h5"
    for file, add in ((path, 0.0), (other, 100.0)):
        with RunLogWriter.create(file, header()) as writer:
            append(writer, 0, 1000, add)
    with RunLogReader(path) as reader:
        reader.overview_followed("steps", ["loss"], 0, None, 100)
        other.replace(path)
        reader.refresh()
        assert reader.overview_followed("steps", ["loss"], 0, None, 100).minimum["loss"].min() > 50


def test_a_file_overwritten_in_place_shows_nothing_of_what_it_was(tmp_path: Path, header) -> None:
    path, other = tmp_path / "run.h5", tmp_path / "other.h5"
    for file, rows, add in ((path, 9000, 0.0), (other, 12_000, 10.0)):
        with RunLogWriter.create(file, header()) as writer:
            append(writer, 0, 5000)
            append(writer, 5000, rows, add)
    with RunLogReader(path) as reader:
        reader.overview_followed("steps", ["loss"], 0, None, 100)
        # As scp or rsync --inplace do: the file stays the same one.
        path.write_bytes(other.read_bytes())
        reader.refresh()
        with RunLogReader(path) as fresh:
            expected = fresh.overview("steps", ["loss"], 0, None, 100)
        assert_same(reader.overview_followed("steps", ["loss"], 0, None, 100), expected)


def test_few_windows_are_kept(noisy: Path) -> None:
    with RunLogReader(noisy) as reader:
        for width in range(20):
            reader.overview_followed("steps", ["loss"], 0, 100 << width % 9, 100)
            reader.overview_followed("steps", ["accuracy"], 0, 100 << width % 9, 100)
        assert len(reader._kept._kept) == KEPT
