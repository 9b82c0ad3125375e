"""What the loop hands to a family that is being built."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from thermotui.errors import InputError


@dataclass(frozen=True)
class Setup:
    """Ensemble, device and randomness of a run, as a family needs them."""

    ensemble: int
    ensemble_varies: Literal["seed", "data"]
    subsets: Literal["bootstrap", "disjoint"]
    probe_size: int
    seed: int
    device: torch.device

    def generator(self, purpose: str) -> torch.Generator:
        """A generator on the run's device, independent of those for other purposes ("parameters", "sampler", …)."""
        generator = torch.Generator(device=self.device)
        generator.manual_seed(int(self._sequence(purpose).generate_state(1, np.uint64)[0] >> 1))
        return generator

    def numpy_generator(self, purpose: str) -> np.random.Generator:
        """The same for numpy, on the host."""
        return np.random.default_rng(self._sequence(purpose))

    def member_samples(self, size: int) -> NDArray[np.int64] | None:
        """Which of `size` samples each member trains on, int64 [K, n]; None where all have the whole data set.

        Bootstrap: n = size, drawn with replacement. Disjoint: n = size // K, no sample in two members.
        """
        if self.ensemble_varies == "seed":
            return None
        generator = self.numpy_generator("subsets")
        if self.subsets == "bootstrap":
            return generator.integers(size, size=(self.ensemble, size))
        share = size // self.ensemble
        if share < 2:
            raise InputError(
                f"--ensemble {self.ensemble} is too many for disjoint subsets of {size} samples: "
                "take fewer members or --subsets bootstrap."
            )
        return generator.permutation(size)[: share * self.ensemble].reshape(self.ensemble, share)

    @property
    def figures(self) -> dict[str, str]:
        """What kind of number the columns are that depend on the mixture, for `PPM.figures`."""
        if self.ensemble == 1:
            bounds = {"l_info_lower": "none", "l_info_upper": "none"}
            window = ("entropy_marginal", "ep_marginal", "ep_ignorance", "l_info_window", "learning_efficiency")
            return bounds | dict.fromkeys(window, "substitute")
        upper = "upper bound" if self.ensemble >= 3 else "none"
        return {
            "l_info_lower": "lower bound",
            "l_info_upper": upper,
            "l_info_window": "none",
            # The mixture that holds the member itself makes S_X too low by as much as the L-info.
            "entropy_marginal": "lower bound",
            **dict.fromkeys(("ep_marginal", "ep_ignorance", "learning_efficiency"), "difference of bounds"),
        }

    def _sequence(self, purpose: str) -> np.random.SeedSequence:
        return np.random.SeedSequence([self.seed, *purpose.encode()])


def pick_device(name: str) -> torch.device:
    """The device of `--device auto|cpu|cuda`; InputError where there is no CUDA."""
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise InputError("--device cuda: PyTorch finds no CUDA device here; use --device cpu.")
    return torch.device("cuda")
