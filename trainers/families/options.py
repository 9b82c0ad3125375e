"""The typed options that each family adds to the common ones; free of torch, so that `train --help` stays quick."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal


def option(default: Any, help: str) -> Any:
    """A dataclass field that the command line shows as an option with this help text."""
    return dataclasses.field(default=default, metadata={"help": help})


@dataclass(frozen=True)
class ImageOptions:
    """For families that learn from images."""

    data: Literal["digits", "mnist", "fashion-mnist"] = option("digits", "Data set; digits is bundled.")
    data_dir: Path | None = option(None, "Directory of the data set's IDX files; default: download to a cache.")


@dataclass(frozen=True)
class GaussianOptions:
    """Options of the Gaussian-mean family."""

    dimension: int = option(8, "Dimension d of x.")
    sigma: float = option(1.0, "Standard deviation σ of the model; where it starts with --learn-scale.")
    learn_scale: bool = option(False, "Learn ln σ as well as the mean, so that the entropy changes.")
    data_sigma: float = option(1.0, "Standard deviation √C of the data in each dimension.")
    start: float = option(2.0, "Where θ starts, in each dimension; the mean of the data is 0.")
    dataset_size: int = option(2000, "Samples in the data set B.")


@dataclass(frozen=True)
class SoftmaxOptions(ImageOptions):
    """Options of the softmax classifier."""

    widths: str = option("200,200,200,200", "Widths of the hidden layers, comma-separated; empty for none.")


@dataclass(frozen=True)
class RBMOptions:
    """Options of the restricted Boltzmann machine."""

    data: Literal["digits", "mnist", "fashion-mnist", "bars-and-stripes"] = option(
        "digits", "Data set, binarised at one half; digits is bundled."
    )
    data_dir: Path | None = option(None, "Directory of the data set's IDX files; default: download to a cache.")
    hidden: int = option(12, "Hidden units.")
    tau: int = option(1, "Gibbs sweeps τ of the chains per optimizer step: PCD-τ or CD-τ.")
    persistent: bool = option(True, "Let the chains go on from step to step (PCD) or start at the data (CD).")
    learning_chains: int = option(100, "Persistent chains behind the gradient.")
    chains: int = option(1024, "Chains that measure where nothing is enumerated; a multiple of 64.")
    partition: Literal["auto", "exact", "sampled"] = option(
        "auto", "Z by summing over states or by sampling; auto sums where the smaller side has at most 20 units."
    )
    check_every: int = option(
        100, "Transitions from one check of a sampled Z, by annealing forwards and in reverse, to the next; 0: none."
    )
    check_temperatures: int = option(1000, "Temperatures of these checks.")
    initial_scale: float = option(0.01, "Standard deviation of the initial weights.")


@dataclass(frozen=True)
class EBMOptions:
    """Options of the deep energy-based model."""

    data: Literal["digits", "mnist", "fashion-mnist", "rings", "moons", "eight-gaussians"] = option(
        "eight-gaussians", "A density in the plane, or images."
    )
    data_dir: Path | None = option(None, "Directory of the data set's IDX files; default: download to a cache.")
    data_noise: float = option(0.1, "Standard deviation of the Gaussian noise added to images, once.")
    widths: str = option("64,64", "Widths of the hidden layers, comma-separated; empty for none.")
    tau: int = option(10, "Langevin steps τ of the chains per optimizer step.")
    step_size: float = option(0.2, "Langevin step size ε in units of the base variance; where it starts with MALA.")
    metropolis: bool = option(True, "Metropolis' correction (MALA), which also tunes ε; without it plain Langevin.")
    learning_chains: int = option(256, "Persistent chains behind the gradient.")
    chains: int = option(1024, "Chains that measure; a multiple of 64.")


@dataclass(frozen=True)
class VAEOptions(ImageOptions):
    """Options of the variational autoencoder."""

    pixels: Literal["bernoulli", "gaussian"] = option(
        "bernoulli", "Law of the pixels given z; bernoulli binarises the images at one half."
    )
    pixel_sigma: float = option(0.2, "Standard deviation of Gaussian pixels.")
    latent: int = option(8, "Dimension of z.")
    widths: str = option("128", "Hidden widths of the encoder, reversed in the decoder; empty: linear.")
    variables: Literal["joint", "visible"] = option(
        "joint", "What X is: the pair (x, z), whose figures are exact, or x alone, whose figures rest on bounds."
    )
    importance_samples: int = option(32, "Draws of z behind each bound, with --variables visible.")


@dataclass(frozen=True)
class TransformerOptions:
    """Options of the autoregressive transformer."""

    text: Path | None = option(None, "Any file, read as bytes; default: the bundled Alice in Wonderland.")
    context_length: int = option(32, "Bytes in a sequence x.")
    width: int = option(48, "Width of the residual stream.")
    depth: int = option(2, "Blocks.")
    heads: int = option(4, "Attention heads; must divide the width.")
