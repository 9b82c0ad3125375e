"""Text as windows of byte tokens."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from thermotui.errors import InputError


@dataclass(frozen=True)
class Windows:
    """Consecutive windows of a text, int64 [n, length], as indices into `alphabet`, the bytes that occur in it."""

    tokens: NDArray[np.int64]
    alphabet: bytes

    def decode(self, tokens: NDArray[np.int64]) -> str:
        """One window [length] as text; bytes that are no UTF-8 as replacement characters."""
        return bytes(self.alphabet[token] for token in tokens).decode("utf-8", errors="replace")


def load_windows(path: Path | None, length: int) -> Windows:
    """The file's text, or the bundled Alice's Adventures in Wonderland, cut into windows of `length` bytes.

    InputError for a file that cannot be read or holds fewer than two windows, or less than two different bytes.
    """
    source = "the bundled text" if path is None else f"--text {path}"
    if path is None:
        text = (files("trainers.data") / "alice.txt").read_bytes()
    else:
        try:
            text = path.read_bytes()
        except OSError as error:
            raise InputError(f"--text {path}: {error.strerror}.") from error
    count = len(text) // length
    if count < 2:
        raise InputError(f"{source}: {len(text)} bytes are too few for two windows of --context-length {length}.")
    alphabet, tokens = np.unique(np.frombuffer(text[: count * length], np.uint8), return_inverse=True)
    if len(alphabet) < 2:
        raise InputError(f"{source}: all its bytes are the same; there is nothing to learn.")
    return Windows(tokens.reshape(count, length).astype(np.int64), alphabet.tobytes())
