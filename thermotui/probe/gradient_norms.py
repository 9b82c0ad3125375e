"""From activations and deltas to the temperature: squared norms of per-sample gradients without the gradients.

Throughout, g_n is the gradient of φ of sample n, b the batch size, N the size of the data set. `deltas` are gradients
of the *per-sample* φ with respect to a layer's output: with a mean loss, b times what backpropagation delivers.
"""

from __future__ import annotations

from typing import Literal, overload

import torch
from torch import Tensor


def linear_squared_norms(activations: Tensor, deltas: Tensor, *, bias: bool) -> Tensor:
    """‖g_n‖² of a linear layer that each sample passes once: ‖a_n‖²‖δ_n‖², plus ‖δ_n‖² for the bias.

    activations: [..., n, i]. deltas: [..., n, o]. Returns [..., n], of their dtype.
    """
    delta_norms = torch.linalg.vector_norm(deltas, dim=-1).square()
    activation_norms = torch.linalg.vector_norm(activations, dim=-1).square()
    return torch.addcmul(delta_norms, activation_norms, delta_norms) if bias else activation_norms * delta_norms


def gram_squared_norms(activations: Tensor, deltas: Tensor, *, bias: bool) -> Tensor:
    """‖g_n‖² of a linear layer that each sample passes at t positions, exactly: ⟨A_n A_nᵀ, Δ_n Δ_nᵀ⟩.

    activations: [..., n, t, i]. deltas: [..., n, t, o]. Returns [..., n]. Costs t²(i + o) multiplications a sample.
    """
    kernel = activations @ activations.mT
    if bias:
        kernel = kernel + 1
    return (kernel * (deltas @ deltas.mT)).sum((-2, -1))


def sketched_squared_norms(activations: Tensor, deltas: Tensor, sketch: Tensor, *, bias: bool) -> Tensor:
    """‖g_n R‖², an unbiased estimate of ‖g_n‖² at k/o of the cost of a weight gradient.

    activations: [..., n, t, i]. deltas: [..., n, t, o]. sketch R: [o, k], independent entries of mean 0 and variance
    1/k, drawn independently of the data. Returns [..., n]; the relative variance over sketches is at most 2/k.
    """
    sketched = deltas @ sketch
    norms = (activations.mT @ sketched).square().sum((-2, -1))
    return norms + sketched.sum(-2).square().sum(-1) if bias else norms


def sample_noise_trace(sum_squared_norms: Tensor, mean_squared_norm: Tensor, batch_size: int) -> Tensor:
    """Σ_i Var_sample(∂_i φ) from one batch: (Σ_n ‖g_n‖² − b‖ḡ‖²)/(b − 1).

    sum_squared_norms: Σ_n ‖g_n‖², any shape. mean_squared_norm: ‖ḡ‖² of the batch mean ḡ, same shape. Unbiased for
    the population variance (divisor N) when the batch is drawn with replacement and for the variance with divisor
    N − 1 when it is drawn without; `finite_population` knows both. Raises ValueError for b < 2, where it is undefined.
    """
    if batch_size < 2:
        raise ValueError(f"the within-batch variance needs at least two samples, got a batch of {batch_size}")
    return (sum_squared_norms - batch_size * mean_squared_norm) / (batch_size - 1)


def finite_population(
    batch_size: int,
    dataset_size: int,
    replacement: bool,
    *,
    variance: Literal["sample", "population"] = "sample",
) -> float:
    """The factor f in Var(η_i) = f · Var(∂_i φ)/b for batches of b from a data set of N.

    With replacement f = 1. Without, for the population variance (divisor N): f = (1 − b/N)·N/(N − 1); for the unbiased
    within-batch estimate, whose expectation then has the divisor N − 1: f = 1 − b/N. For a data set of unknown size
    (`dataset_size` 0) f = 1, the limit N → ∞.
    """
    if replacement or dataset_size == 0:
        return 1.0
    if batch_size > dataset_size:
        raise ValueError(f"cannot draw {batch_size} samples from {dataset_size} without replacement")
    if dataset_size == 1:
        return 0.0
    remaining = 1.0 - batch_size / dataset_size
    return remaining if variance == "sample" else remaining * dataset_size / (dataset_size - 1)


@overload
def temperature(
    trace: Tensor, mobility: float | Tensor, batch_size: int, size: int | Tensor, factor: float
) -> Tensor: ...
@overload
def temperature(trace: float, mobility: float, batch_size: int, size: int, factor: float) -> float: ...
def temperature(
    trace: Tensor | float, mobility: float | Tensor, batch_size: int, size: int | Tensor, factor: float
) -> Tensor | float:
    """k_B T = μ/2 · mean_i Var(η_i) in nats (eq. 34), with Σ_i Var(η_i) = factor · trace / b.

    trace: Σ_i Var_sample(∂_i φ) over the layer's `size` parameters. mobility: μ = r/α. factor: `finite_population`.
    """
    return trace * (mobility * factor / (2.0 * batch_size)) / size
