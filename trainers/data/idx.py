"""IDX files of MNIST and Fashion-MNIST: found, or downloaded where they are not, checked, and read."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import io
import os
import struct
import sys
import urllib.request
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from thermotui.errors import InputError
from thermotui.runlog.paths import is_there

FILES = {
    "train-images": "train-images-idx3-ubyte",
    "train-labels": "train-labels-idx1-ubyte",
    "t10k-images": "t10k-images-idx3-ubyte",
    "t10k-labels": "t10k-labels-idx1-ubyte",
}
MIRRORS = {
    "mnist": (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    "fashion-mnist": (
        "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    ),
}
SHA256 = {
    "mnist": {
        "train-images": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "train-labels": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "t10k-images": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "t10k-labels": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    },
    "fashion-mnist": {
        "train-images": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "train-labels": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "t10k-images": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "t10k-labels": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    },
}
"""Of the uncompressed files, whose bytes do not depend on how they were packed."""

LARGEST = 48 * 1024 * 1024
"""Bytes of the largest of these files uncompressed, rounded up: a bound for what is read."""
TIMEOUT_SECONDS = 30.0


def load_idx(name: str, directory: Path | None) -> dict[str, NDArray[np.uint8]]:
    """The four arrays of a data set, by the keys of `FILES`: images [N, 28, 28], labels [N].

    From `directory`, where the files lie as they are or gzipped; without one from the cache, filled by download.
    InputError for a file that is missing, cannot be fetched, or is not the one that it should be.
    """
    arrays = {}
    for key, file in FILES.items():
        if directory is not None:
            content, source = _read(directory, file)
            _check(content, name, key, source)
        else:
            content, source = _cached(name, key)
        arrays[key] = parse_idx(content, source)
    return arrays


def parse_idx(content: bytes, source: str) -> NDArray[np.uint8]:
    """The array of unsigned bytes in an IDX file; InputError, naming `source`, if it is none."""
    if len(content) < 4 or content[:3] != b"\0\0\x08" or len(content) < 4 + 4 * content[3]:
        raise InputError(f"{source}: is no IDX file of unsigned bytes.")
    shape = struct.unpack(f">{content[3]}I", content[4 : 4 + 4 * content[3]])
    values = np.frombuffer(content, np.uint8, offset=4 + 4 * content[3])
    if values.size != int(np.prod(shape, dtype=object)):
        raise InputError(f"{source}: is cut short: {values.size} values where its header says {shape}.")
    return values.reshape(shape)


def _read(directory: Path, file: str) -> tuple[bytes, str]:
    for path in (directory / file, directory / f"{file}.gz"):
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror}).") from error
        return (_unpack(content, str(path)) if path.suffix == ".gz" else content), str(path)
    raise InputError(f"{directory}: has no {file}, nor {file}.gz; --data-dir names the directory of the IDX files.")


def _cached(name: str, key: str) -> tuple[bytes, str]:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "thermotui" / name
    path = cache / FILES[key]
    if is_there(path):
        content, _ = _read(cache, FILES[key])
        _check(content, name, key, str(path))
        return content, str(path)
    content = _download(name, key)
    try:
        cache.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError as error:
        raise InputError(f"{cache}: cannot be written ({error.strerror}); set XDG_CACHE_HOME or --data-dir.") from error
    return content, str(path)


def _download(name: str, key: str) -> bytes:
    failures = []
    for mirror in MIRRORS[name]:
        address = f"{mirror}{FILES[key]}.gz"
        sys.stderr.write(f"downloading {address}\n")
        try:
            with urllib.request.urlopen(address, timeout=TIMEOUT_SECONDS) as response:
                packed = response.read(LARGEST)
            content = _unpack(packed, address)
            _check(content, name, key, address)
        except (OSError, http.client.HTTPException, InputError) as error:
            # URLError, HTTPError, timeouts and broken connections are all OSErrors; a mirror that answers with
            # something else, a captive portal's page perhaps, is as good as none.
            failures.append(f"{mirror}: {error}")
            continue
        return content
    raise InputError(f"{FILES[key]} of {name} cannot be downloaded ({'; '.join(failures)}); use --data-dir.")


def _unpack(packed: bytes, source: str) -> bytes:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(packed)) as file:
            content = file.read(LARGEST + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{source}: is no gzip file, or a damaged one.") from error
    return content


def _check(content: bytes, name: str, key: str, source: str) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256[name][key]:
        raise InputError(
            f"{source}: is not the file {FILES[key]} of {name} (SHA-256 {found[:12]}…, not {SHA256[name][key][:12]}…)."
        )
