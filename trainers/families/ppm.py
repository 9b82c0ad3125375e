"""The one protocol of the families: K members of a parametric probabilistic model p(x|θ) = exp(−φ_θ(x)), batched.

Every parameter tensor carries a leading member axis [K, …]; one optimizer step moves all members at once, each by its
own batch. The loop owns the optimizer, the schedule of batches, the ledger and the log; a family owns its model, its
data set, its samplers and its estimators.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from thermotui.runlog.schema import Layer
from thermotui.thermo.transition import Reading, Transition


@dataclass(frozen=True)
class Batch:
    """What one gradient evaluation yields, on the device: nothing here may force a synchronisation.

    loss, accuracy: [K], detached. noise: [K, L], the unbiased within-batch estimate of the trace of the per-sample
    gradient covariance of each layer, Σ_i Var_sample(∂_i φ); None where it was not asked for or |b| = 1.
    sampler_noise: [K, L], the trace of the covariance that the model's own samples (chains) add to the gradient of the
    batch, whatever the batch's size; None for families whose gradient draws none.
    sampled: each sample's gradient has randomness of its own (a z, a chain started at it), which `noise` holds as well.
    """

    loss: Tensor
    accuracy: Tensor
    noise: Tensor | None = None
    sampler_noise: Tensor | None = None
    sampled: bool = False


class PPM(Protocol):
    """One family, K members side by side."""

    name: str
    ensemble: int
    dataset_size: int
    """Samples in one member's training set B."""
    layers: tuple[Layer, ...]
    figures: Mapping[str, str]
    """Kinds of the columns of `thermo`, as in `Header.figures`."""
    module: nn.Module
    """Holds the parameters; each has the member axis first."""
    layer_parameters: tuple[tuple[str, ...], ...]
    """For each layer the names of its parameters in `module`."""
    accuracy_name: str
    """What the `accuracy` column means for this family, in words."""

    def gradient(self, indices: Tensor, *, measure_noise: bool) -> Batch:
        """Fill `.grad` of every parameter from the samples `indices` [K, b] (int64, into each member's B)."""
        ...

    def full_gradient(self) -> dict[str, Tensor]:
        """∇U_B of every parameter over each member's whole data set, [K, …]; leaves `.grad` untouched."""
        ...

    def begin(self) -> Reading:
        """The reading at the present θ; remembers θ and its samples as the start of the next transition."""
        ...

    def transition(self) -> tuple[Transition, Reading]:
        """From the remembered θ to the present one; the present one becomes the remembered."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """All that `begin`, `transition` and the samplers remember, generators included; not the parameters."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue exactly where `state_dict` was taken."""
        ...


@runtime_checkable
class SampledGradient(Protocol):
    """A family whose full gradient needs samples of its own (chains, z), whose noise is then left in it."""

    def full_gradient_halves(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Two estimates of ∇U_B from independent samples: <F_a, F_b> is ‖∇U_B‖² on average.

        The same one twice where it is exact.
        """
        ...


def member_norms(tensors: Sequence[Tensor]) -> Tensor:
    """Euclidean norm over all tensors [K, …] together, [K], on the device."""
    norms = torch.stack([torch.linalg.vector_norm(t.flatten(1), dim=1) for t in tensors])
    total: Tensor = torch.linalg.vector_norm(norms, dim=0)
    return total
