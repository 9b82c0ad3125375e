"""Sums over whole tensors against float64, also where tensors are larger than a piece."""

import pytest
import torch
from torch import Tensor

from thermotui.probe.sums import PIECE, Drift, dot, square


def tensors() -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    sizes = [(), (0,), (7,), (40, 30), (2 * PIECE + 5,), (3, PIECE)]
    drawn = [torch.randn(size, generator=generator) for size in sizes]
    return [*drawn, drawn[3].t(), drawn[3].double(), drawn[3].bfloat16()]


def test_squares_and_products_keep_their_digits() -> None:
    for one in tensors()[:-1]:
        other = one.flip(0) if one.dim() else 2 * one
        torch.testing.assert_close(square(one).double(), one.double().square().sum(), rtol=2e-6, atol=0)
        expected, scale = (one.double() * other.double()).sum(), one.double().square().sum()
        assert abs(dot(one, other) - expected) <= 2e-6 * scale


def test_millions_of_numbers_add_up() -> None:
    """A plain sum of float32 squares is wrong by more."""
    numbers = torch.randn(8 * PIECE, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(square(numbers).double(), numbers.double().square().sum(), rtol=1e-6, atol=0)


@pytest.mark.parametrize("factor", [0.0, 1e-3, 1.0])
def test_drift_is_the_distance_from_the_start(factor: float) -> None:
    parameters = tensors()
    start = [parameter.clone() for parameter in parameters]
    drift = Drift(parameters)
    for parameter in parameters:
        parameter.mul_(1 + factor)
    for found, now, before, squared in zip(drift.squared(), parameters, start, drift.start, strict=True):
        difference = now.double() - before.double()
        # Half precision rounds the difference itself.
        digits = 1e-2 if now.dtype == torch.bfloat16 else 1e-5
        torch.testing.assert_close(found.double(), difference.square().sum(), rtol=digits, atol=0)
        torch.testing.assert_close(squared.double(), before.double().square().sum(), rtol=1e-5, atol=0)
