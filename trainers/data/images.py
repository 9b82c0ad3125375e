"""Labelled images: the bundled digits, and MNIST and Fashion-MNIST as IDX files."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from thermotui.errors import InputError
from trainers.data.idx import load_idx

SPLIT_SEED = 20240126
"""Of the digits' held-out part, the same for every run so that runs can be compared."""


@dataclass(frozen=True)
class Images:
    """Images as float32 rows of pixels in [0, 1] and labels int64; `held_out` ones are never trained on."""

    train: NDArray[np.float32]
    train_labels: NDArray[np.int64]
    held_out: NDArray[np.float32]
    held_out_labels: NDArray[np.int64]
    classes: int = 10


def load_images(name: str, directory: Path | None) -> Images:
    """The data set of that name; InputError where it cannot be had or a file is not what it should be."""
    if name == "digits":
        refuse_directory(name, directory)
        return load_digits()
    return load_idx_images(name, directory)


def refuse_directory(name: str, directory: Path | None) -> None:
    """InputError where a data set that needs no files is asked for together with a directory of them."""
    if directory is not None:
        raise InputError(
            f"--data-dir {directory}: --data {name} needs no files; name the data set that lies there, such as "
            "--data mnist, or leave out --data-dir."
        )


def load_digits() -> Images:
    """1,797 images of 8×8 pixels, a quarter of them held out at random."""
    with as_file(files("trainers.data") / "digits.npz") as path, np.load(path) as archive:
        pixels = archive["images"].reshape(-1, 64).astype(np.float32) / 16
        labels = archive["labels"].astype(np.int64)
    order = np.random.default_rng(SPLIT_SEED).permutation(len(labels))
    held_out, train = np.split(order, [len(labels) // 4])
    return Images(pixels[train], labels[train], pixels[held_out], labels[held_out])


def load_idx_images(name: str, directory: Path | None) -> Images:
    """60,000 images of 28×28 pixels to train on and 10,000 held out, from IDX files."""
    arrays = load_idx(name, directory)

    def pixels(key: str) -> NDArray[np.float32]:
        return arrays[key].reshape(len(arrays[key]), -1).astype(np.float32) / np.float32(255)

    return Images(
        pixels("train-images"),
        arrays["train-labels"].astype(np.int64),
        pixels("t10k-images"),
        arrays["t10k-labels"].astype(np.int64),
    )
