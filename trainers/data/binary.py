"""Rows of 0 and 1 for machines with binary units."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from trainers.data.images import load_images, refuse_directory

Name = Literal["digits", "mnist", "fashion-mnist", "bars-and-stripes"]


def load_binary(name: Name, directory: Path | None) -> NDArray[np.float32]:
    """Training rows [n, d] of that data set: pixels above one half are 1; InputError where it cannot be had."""
    if name == "bars-and-stripes":
        refuse_directory(name, directory)
        return bars_and_stripes(4)
    return (load_images(name, directory).train > 0.5).astype(np.float32)


def bars_and_stripes(side: int) -> NDArray[np.float32]:
    """All 2^(side+1) − 2 distinct images of side² pixels whose rows, or whose columns, are each all 0 or all 1."""
    patterns = np.array(list(itertools.product((0, 1), repeat=side)), dtype=np.float32)
    bars = np.repeat(patterns[:, :, None], side, axis=2)
    return np.unique(np.concatenate([bars, bars.swapaxes(1, 2)]).reshape(-1, side * side), axis=0)
