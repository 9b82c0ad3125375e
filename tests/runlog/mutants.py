"""Damaged and hostile run logs, made from sound ones: mutation by number, so that each can be made again."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from thermotui.runlog.layout import rollup_path
from thermotui.runlog.schema import ROLLUP_FACTORS

SUPERBLOCK = 48


def mutate(original: bytes, seed: int) -> bytes:
    """The mutant of that number: bits flipped, bytes overwritten, blocks swapped, repeated or zeroed, ends cut."""
    generator = np.random.default_rng(seed)
    data = bytearray(original)
    size = len(data)
    # HDF5 keeps what describes the tables in the first kilobytes and between chunks; most mutations go there.
    reach = size if generator.random() < 0.3 else min(size, 65536)

    def place() -> int:
        return int(generator.integers(0, reach))

    for _ in range(int(generator.integers(1, 4))):
        kind = generator.integers(0, 8)
        at, other, length = place(), place(), int(2 ** generator.integers(0, 12))
        if kind == 0:
            for _ in range(int(generator.integers(1, 50))):
                data[place() % len(data)] ^= 1 << int(generator.integers(0, 8))
        elif kind == 1:
            data[at : at + length] = generator.bytes(len(data[at : at + length]))
        elif kind == 2:
            data[at : at + length] = bytes(len(data[at : at + length]))
        elif kind == 3:
            data[at : at + length] = b"\xff" * len(data[at : at + length])
        elif kind == 4:
            left, right = bytes(data[at : at + length]), bytes(data[other : other + length])
            data[at : at + len(right)], data[other : other + len(left)] = right, left
        elif kind == 5:
            del data[int(generator.integers(0, len(data))) :]
        elif kind == 6:
            data[8 + int(generator.integers(0, SUPERBLOCK - 8)) % max(1, len(data) - 8)] = int(
                generator.integers(0, 256)
            )
        else:
            del data[at : at + length]
        reach = max(1, min(reach, len(data)))
        if len(data) <= SUPERBLOCK:
            break
    return bytes(data)


def hostile_files(directory: Path, sound: Path) -> list[Path]:
    """Well-formed HDF5 files that want out of the log, or claim what they do not hold."""
    secret = directory / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["steps"] = np.arange(3)

    def variant(name: str) -> h5py.File:
        path = directory / f"{name}.h5"
        path.write_bytes(sound.read_bytes())
        return h5py.File(path, "r+")

    with variant("external-link") as file:
        del file["steps"]
        file["steps"] = h5py.ExternalLink(str(secret), "steps")
    with variant("soft-link") as file:
        del file["steps"]
        file["steps"] = h5py.SoftLink("/thermo")
    with variant("group-for-table") as file:
        del file["steps"]
        file.create_group("steps")
    with variant("looping-group") as file:
        del file["rollups/steps"]
        file["rollups/steps"] = file["rollups"]
    with variant("external-storage") as file:
        dtype = file["steps"].dtype
        del file["steps"]
        file.create_dataset("steps", (10,), dtype, external=[("/etc/passwd", 0, h5py.h5f.UNLIMITED)])
    with variant("virtual") as file:
        dtype = file["steps"].dtype
        del file["steps"]
        layout = h5py.VirtualLayout((10,), dtype)
        layout[:] = h5py.VirtualSource(str(secret), "steps", (10,), dtype=dtype)
        file.create_virtual_dataset("steps", layout)
    with variant("filtered") as file:
        rows = file["steps"][:]
        del file["steps"]
        file.create_dataset("steps", data=rows, maxshape=(None,), chunks=(64,), compression="gzip")
    with variant("huge-shape") as file:
        file["steps"].resize((10**15,))
    with variant("huge-rollup") as file:
        file[rollup_path("steps", ROLLUP_FACTORS[0])].resize((10**15,))
    with variant("huge-chunk") as file:
        dtype = file["steps"].dtype
        del file["steps"]
        file.create_dataset("steps", (10,), dtype, maxshape=(None,), chunks=(10**7,))
    with variant("wrong-types") as file:
        del file["steps"]
        file.create_dataset("steps", (10,), np.dtype([("step", "f4"), ("loss", "S5")]), maxshape=(None,), chunks=(4,))
    with variant("plain-numbers") as file:
        del file["steps"]
        file.create_dataset("steps", (10,), "f8", maxshape=(None,), chunks=(4,))
    with variant("no-table") as file:
        del file["steps"]
    for name, attribute, value in (
        ("many-members", "ensemble", 2**62),
        ("negative-members", "ensemble", -1),
        ("text-members", "ensemble", "two"),
        ("deep-json", "config", "[" * 100_000),
        ("layers-of-numbers", "layers", "[1, 2]"),
        ("many-layers", "layers", "[" + ", ".join(['{"name": "", "size": 1}'] * 200_000) + "]"),
        ("no-version", "format_version", 0),
        ("newer-version", "format_version", 3),
        ("infinite-creation", "created", float("inf")),
        ("vanished-family", "family", None),
        ("array-header", "steps", np.arange(10)),
    ):
        with variant(name) as file:
            del file.attrs[attribute]
            if value is not None:
                file.attrs[attribute] = value
    return sorted(path for path in directory.glob("*.h5") if path != secret and path != sound)
