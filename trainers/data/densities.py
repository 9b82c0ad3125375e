"""Samples of densities in the plane, for models of x ∈ R²."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Density = Literal["rings", "moons", "eight-gaussians"]


def draw_density(name: Density, count: int, generator: np.random.Generator) -> NDArray[np.float32]:
    """`count` samples of a density in the plane, float32 [count, 2].

    rings: radii 1 and 2. moons: two interleaved half circles. eight-gaussians: on a circle of radius 2. Each with
    Gaussian noise of standard deviation 0.15.
    """
    noise = 0.15 * generator.standard_normal((count, 2))
    which = generator.integers(8, size=count)
    if name == "eight-gaussians":
        angle = which * (np.pi / 4)
        points = 2 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    elif name == "rings":
        angle = generator.uniform(0, 2 * np.pi, count)
        points = (1 + which % 2)[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    else:
        angle = generator.uniform(0, np.pi, count)
        upper = which % 2 == 0
        x = np.where(upper, np.cos(angle) - 0.5, 0.5 - np.cos(angle))
        points = np.stack([x, np.where(upper, np.sin(angle) - 0.25, 0.25 - np.sin(angle))], axis=1)
    return np.asarray(points + noise, dtype=np.float32)
