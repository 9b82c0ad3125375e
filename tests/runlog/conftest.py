"""Headers and logs for the tests of the run log."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from thermotui.runlog.schema import STREAMS, Header, Layer, Stream, row_dtype
from thermotui.runlog.writer import RunLogWriter


def make_header(layers: int = 3, ensemble: int = 2, **values: object) -> Header:
    names = tuple(Layer(f"layer {index}", 10 * (index + 1), "within the batch") for index in range(layers))
    known = {"run_id": "test", "created": time.time(), "family": "softmax", "steps": 1000, "config": {"seed": 1}}
    return Header(**{**known, "layers": names, "ensemble": ensemble, "lags": 4, **values})


def random_rows(stream: Stream, header: Header, count: int, seed: int = 0) -> np.ndarray:
    """Rows with rising steps and, elsewhere, anything that fits, NaN and infinities included."""
    generator = np.random.default_rng(seed)
    rows = np.zeros(count, row_dtype(stream, header))
    for field in stream.fields:
        kind, shape = np.dtype(field.dtype).kind, rows[field.name].shape
        if field.name == "step":
            rows["step"] = np.arange(count)
        elif kind == "f":
            values = generator.normal(size=shape) * 10.0 ** generator.integers(-3, 4, shape)
            values[generator.random(shape) < 0.1] = np.nan
            values[generator.random(shape) < 0.01] = np.inf
            rows[field.name] = values
        elif kind == "i":
            rows[field.name] = generator.integers(-1, 1000, shape)
        else:
            rows[field.name] = generator.choice([b"", b"loss_spike", "Σ rose".encode()], shape)
    return rows


def same_rows(left: np.ndarray, right: np.ndarray) -> bool:
    """Bitwise equality, so that NaN equals NaN."""
    return left.dtype == right.dtype and left.tobytes() == right.tobytes()


@pytest.fixture
def header() -> Callable[..., Header]:
    return make_header


@pytest.fixture
def rows() -> Callable[..., np.ndarray]:
    return random_rows


@pytest.fixture
def same() -> Callable[[np.ndarray, np.ndarray], bool]:
    return same_rows


@pytest.fixture
def log(tmp_path: Path) -> Callable[..., Path]:
    """Writes a finished log with `count` random rows in every stream but `heartbeat` and returns its path."""

    def write(count: int = 1000, name: str = "run.h5", **values: object) -> Path:
        path = tmp_path / name
        with RunLogWriter.create(path, make_header(**values)) as writer:
            for stream in STREAMS.values():
                if stream.name != "heartbeat":
                    writer.append_rows(stream.name, random_rows(stream, writer.header, count))
            writer.heartbeat(count)
        return path

    return write
