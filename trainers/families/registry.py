"""Which families there are. Adding one is a line here, its options beside it, and its module."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from trainers.families import options as of

if TYPE_CHECKING:
    from trainers.families.ppm import PPM
    from trainers.setup import Setup


@dataclass(frozen=True)
class Family:
    """One family of the command line.

    module: imported only when the family is trained; holds `build(options, setup) -> PPM`. options: dataclass of the
    options it adds. defaults: common options (`trainers.config.TrainConfig`) for which it has better defaults.
    """

    help: str
    module: str
    options: type[Any]
    defaults: Mapping[str, Any] = field(default_factory=dict)

    def build(self, options: Any, setup: Setup) -> PPM:
        """The family's model, K members side by side; InputError for options that do not fit together."""
        build = cast("Callable[[Any, Setup], PPM]", importlib.import_module(self.module).build)
        return build(options, setup)


FAMILIES: dict[str, Family] = {
    "gaussian": Family(
        "The mean of a Gaussian: every figure has a closed form.",
        "trainers.families.gaussian",
        of.GaussianOptions,
        {"stride": 1, "probe_size": 512, "steps": 5000, "batch_size": 4, "learning_rate": 0.1},
    ),
    "softmax": Family("A multilayer softmax classifier.", "trainers.families.softmax", of.SoftmaxOptions),
    "rbm": Family(
        "A restricted Boltzmann machine on binarised images.",
        "trainers.families.rbm",
        of.RBMOptions,
        {"steps": 3000, "batch_size": 100, "learning_rate": 0.05, "ensemble": 4, "probe_size": 1024},
    ),
    "ebm": Family(
        "A deep energy-based model with Langevin chains.",
        "trainers.families.ebm",
        of.EBMOptions,
        {
            "steps": 800,
            "batch_size": 100,
            "learning_rate": 0.002,
            "optimizer": "adam",
            "ensemble": 4,
            "stride": 5,
        },
    ),
    "vae": Family(
        "A variational autoencoder.",
        "trainers.families.vae",
        of.VAEOptions,
        {"steps": 3000, "batch_size": 32, "learning_rate": 0.002, "optimizer": "adam", "ensemble": 4},
    ),
    "transformer": Family(
        "An autoregressive transformer on the bytes of a text.",
        "trainers.families.transformer",
        of.TransformerOptions,
        {
            "steps": 800,
            "batch_size": 16,
            "learning_rate": 0.003,
            "optimizer": "adam",
            "ensemble": 4,
            "stride": 20,
            "probe_size": 64,
        },
    ),
}
