"""Mutants whose checksums are right: HDF5 takes what they say of their tables for what the writer meant."""

from __future__ import annotations

import numpy as np

MASK = 0xFFFFFFFF
VALUES = (0x00, 0xFF, 0x7F, 0x80)


def _rotate(value: int, by: int) -> int:
    return ((value << by) | (value >> (32 - by))) & MASK


def checksum(data: bytes) -> int:
    """Jenkins' lookup3 of a metadata block, as HDF5 stores it behind the block (little endian, 4 bytes)."""
    a = b = c = (0xDEADBEEF + len(data)) & MASK
    for at in range(max(0, (len(data) - 1) // 12)):
        words = np.frombuffer(data, "<u4", 3, 12 * at).tolist()
        a, b, c = (a + words[0]) & MASK, (b + words[1]) & MASK, (c + words[2]) & MASK
        a, c = (a - c) & MASK ^ _rotate(c, 4), (c + b) & MASK
        b, a = (b - a) & MASK ^ _rotate(a, 6), (a + c) & MASK
        c, b = (c - b) & MASK ^ _rotate(b, 8), (b + a) & MASK
        a, c = (a - c) & MASK ^ _rotate(c, 16), (c + b) & MASK
        b, a = (b - a) & MASK ^ _rotate(a, 19), (a + c) & MASK
        c, b = (c - b) & MASK ^ _rotate(b, 4), (b + a) & MASK
    if not data:
        return c
    tail = data[12 * ((len(data) - 1) // 12) :].ljust(12, b"\0")
    words = np.frombuffer(tail, "<u4").tolist()
    a, b, c = (a + words[0]) & MASK, (b + words[1]) & MASK, (c + words[2]) & MASK
    for by, which in ((14, "cb"), (11, "ac"), (25, "ba"), (16, "cb"), (4, "ac"), (14, "ba"), (24, "cb")):
        if which == "cb":
            c = ((c ^ b) - _rotate(b, by)) & MASK
        elif which == "ac":
            a = ((a ^ c) - _rotate(c, by)) & MASK
        else:
            b = ((b ^ a) - _rotate(a, by)) & MASK
    return c


def object_headers(data: bytes) -> list[tuple[int, int]]:
    """Bytes [start, end) of each object header whose checksum, in the four bytes from `end` on, is right."""
    found = []
    start = data.find(b"OHDR")
    while start >= 0:
        flags = data[start + 5]
        at = start + 6 + (16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0)
        width = 1 << (flags & 3)
        end = at + width + int.from_bytes(data[at : at + width], "little")
        if checksum(data[start:end]) == int.from_bytes(data[end : end + 4], "little"):
            found.append((start, end))
        start = data.find(b"OHDR", start + 4)
    return found


def forge(original: bytes, seed: int) -> bytes:
    """The mutant of that number: one to six bytes of one or two object headers changed, their checksums made anew."""
    generator = np.random.default_rng(seed)
    headers = object_headers(original)
    data = bytearray(original)
    for _ in range(int(generator.integers(1, 3))):
        start, end = headers[int(generator.integers(0, len(headers)))]
        for _ in range(int(generator.integers(1, 4))):
            at = int(generator.integers(start + 4, end))
            values = (*VALUES, int(generator.integers(0, 256)), (data[at] + 1) % 256)
            data[at] = values[int(generator.integers(0, len(values)))]
        data[end : end + 4] = checksum(bytes(data[start:end])).to_bytes(4, "little")
    return bytes(data)
