"""Runs of rows made one in halves: as numpy's `reduceat` has it, whatever their lengths and the number of fields."""

from __future__ import annotations

import numpy as np
import pytest

from thermotui.runlog import buckets
from thermotui.runlog.buckets import Piece, in_buckets, kinds_of, merged

ROW = np.dtype([("step", "i8"), ("work", "f8"), ("loss", "f4"), ("heat", "f8"), ("layered", "f4", (3,))])
FIELDS = ("loss", "layered", "work", "heat")


def rows_of(count: int, missing: float, seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    rows = np.zeros(count, ROW)
    rows["step"] = np.arange(count)
    for name in FIELDS:
        rows[name] = generator.standard_normal(rows[name].shape)
        rows[name][generator.random(rows[name].shape) < missing] = np.nan
    return rows


@pytest.mark.parametrize("seed", range(50))
@pytest.mark.parametrize("missing", [0.0, 0.3, 1.0])
def test_values_are_those_of_reduceat(seed: int, missing: float, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = np.random.default_rng(seed)
    count = int(chance.integers(1, 200))
    # Of uneven runs too, as where pieces of several levels meet.
    number = np.sort(chance.integers(0, chance.integers(1, 100), count))
    rows, kinds = rows_of(count, missing, seed), kinds_of(ROW, FIELDS)
    starts = np.flatnonzero(np.diff(number, prepend=-1))
    for cached in (buckets.CACHED, 0):
        monkeypatch.setattr(buckets, "CACHED", cached)
        found = in_buckets(Piece(number, rows, 1), kinds, 1)
        assert found.number.tolist() == number[starts].tolist()
        assert found.rows.tolist() == np.diff(starts, append=count).tolist()
        assert found.step_first.tolist() == rows["step"][starts].tolist()
        assert found.step_last.tolist() == (np.append(starts[1:], count) - 1).tolist()
        for kind, values in zip(kinds, found.values, strict=True):
            matrix = kind.matrix(rows)
            np.testing.assert_array_equal(values.minimum, np.fmin.reduceat(matrix, starts, axis=1))
            np.testing.assert_array_equal(values.maximum, np.fmax.reduceat(matrix, starts, axis=1))
            known = np.nan_to_num(matrix).astype(np.float64)
            np.testing.assert_allclose(values.total, np.add.reduceat(known, starts, axis=1), atol=1e-12)
            np.testing.assert_array_equal(values.measured, np.add.reduceat((matrix == matrix).astype(int), starts, 1))


@pytest.mark.parametrize("cut", [1, 7, 63, 64, 100, 199])
def test_pieces_that_meet_in_a_bucket_are_one(cut: int) -> None:
    rows, kinds, number = rows_of(200, 0.1, 0), kinds_of(ROW, FIELDS), np.arange(200)
    whole = in_buckets(Piece(number, rows, 1), kinds, 16)
    parts = [in_buckets(Piece(number[part], rows[part], 1), kinds, 16) for part in (slice(cut), slice(cut, None))]
    found = merged(parts)
    for one, other in zip(found[:4], whole[:4], strict=True):
        assert one.tolist() == other.tolist()
    for values, expected in zip(found.values, whole.values, strict=True):
        for one, other in zip(values, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-14)


def test_fields_without_values_have_none() -> None:
    nothing = np.dtype([("step", "i8"), ("layered", "f4", (0,))])
    found = in_buckets(Piece(np.arange(10), np.zeros(10, nothing), 1), kinds_of(nothing, ["layered"]), 3)
    assert found.values[0].minimum.shape == (0, 4)
