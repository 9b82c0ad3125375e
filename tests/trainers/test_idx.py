"""IDX files: read, checked, found plain or packed; mirrors tried in turn."""

import gzip
import hashlib
import http.server
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from thermotui.errors import InputError
from trainers.data import idx
from trainers.data.images import load_images


def packed(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """A small data set of the right form, with its own checksums."""
    generator = np.random.default_rng(0)
    contents = {}
    for key in idx.FILES:
        count = 30 if key.startswith("train") else 10
        shape = (count, 28, 28) if key.endswith("images") else (count,)
        contents[key] = packed(generator.integers(0, 10, shape, dtype=np.uint8))
    sums = {key: hashlib.sha256(content).hexdigest() for key, content in contents.items()}
    monkeypatch.setitem(idx.SHA256, "mnist", sums)
    return contents


def test_arrays_are_read_and_scaled_plain_or_gzipped(files: dict[str, bytes], tmp_path: Path) -> None:
    for number, (key, content) in enumerate(files.items()):
        name = idx.FILES[key]
        if number % 2:
            (tmp_path / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (tmp_path / name).write_bytes(content)
    images = load_images("mnist", tmp_path)
    assert images.train.shape == (30, 784) and images.train.dtype == np.float32
    assert images.train.max() == np.float32(9 / 255)
    assert images.held_out_labels.shape == (10,)


def test_another_file_under_the_name_is_refused(files: dict[str, bytes], tmp_path: Path) -> None:
    for key, content in files.items():
        (tmp_path / idx.FILES[key]).write_bytes(content[:-1] + b"\xff")
    with pytest.raises(InputError, match=r"train-images-idx3-ubyte: is not the file .* of mnist \(SHA-256"):
        load_images("mnist", tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no train-images-idx3-ubyte, nor .*\.gz; --data-dir"):
        load_images("fashion-mnist", tmp_path)


def test_a_damaged_gzip_file_is_named(files: dict[str, bytes], tmp_path: Path) -> None:
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(files["train-images"])[:100])
    with pytest.raises(InputError, match=r"train-images-idx3-ubyte\.gz: is no gzip file, or a damaged one"):
        load_images("mnist", tmp_path)


@pytest.mark.parametrize("content", [b"", b"\0\0\x09\x01", b"\0\0\x08\x03\0\0", packed(np.zeros(9, np.uint8))[:-1]])
def test_what_is_no_idx_file_is_named(content: bytes) -> None:
    with pytest.raises(InputError, match=r"a\.idx: is"):
        idx.parse_idx(content, "a.idx")


@pytest.fixture
def mirror(files: dict[str, bytes]) -> Iterator[tuple[str, list[str]]]:
    """A local mirror whose /bad/ answers with a page instead of the file."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            name = self.path.rsplit("/", 1)[1].removesuffix(".gz")
            key = next(key for key, file in idx.FILES.items() if file == name)
            body = b"<html>please log in</html>" if "/bad/" in self.path else gzip.compress(files[key])
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()
        thread.join()


def test_download_tries_the_next_mirror_and_fills_the_cache(
    mirror: tuple[str, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, asked = mirror
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setitem(idx.MIRRORS, "mnist", (f"{address}/bad/", f"{address}/good/"))
    first = load_images("mnist", None)
    assert len(asked) == 8
    again = load_images("mnist", None)
    assert len(asked) == 8
    np.testing.assert_array_equal(first.train, again.train)
    assert sorted(p.name for p in (tmp_path / "thermotui" / "mnist").iterdir()) == sorted(idx.FILES.values())


def test_where_no_mirror_answers_the_mend_is_said(
    files: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setitem(idx.MIRRORS, "mnist", ("http://127.0.0.1:9/",))
    with pytest.raises(InputError, match=r"cannot be downloaded .* use --data-dir"):
        load_images("mnist", None)
    assert not (tmp_path / "thermotui").exists()
