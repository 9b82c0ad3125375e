"""Variational autoencoder: X is the pair (x, z), φ = −ln p(z) − ln p(x|z), known exactly without any bound.

Given z the pixels are independent, so that work, heat and S_{X|Θ} are closed forms; their means over the prior, which
no update moves, run over fixed draws of z: the slots. The marginal of x alone has only importance-weighted bounds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from thermotui.errors import InputError
from thermotui.runlog.schema import Layer
from thermotui.thermo.transition import Reading, Transition
from trainers.batched import BatchedLinear, BatchedMLP, fill_gradients, fill_gradients_and_noise, recording
from trainers.data.images import load_images
from trainers.families.options import VAEOptions
from trainers.families.ppm import Batch
from trainers.families.softmax import parse_widths
from trainers.families.vae_measure import JointMeasure, MarginalMeasure
from trainers.families.vae_pixels import BernoulliPixels, GaussianPixels, Pixels
from trainers.setup import Setup
from trainers.state import on_device

CHUNK = 4096


def build(options: VAEOptions, setup: Setup) -> VAE:
    """The autoencoders of these options; InputError for those that cannot be."""
    for name in ("latent", "importance_samples"):
        if getattr(options, name) < 1:
            raise InputError(f"--{name.replace('_', '-')} {getattr(options, name)} must be at least 1.")
    if not options.pixel_sigma > 0:
        raise InputError(f"--pixel-sigma {options.pixel_sigma} must be positive.")
    data = load_images(options.data, options.data_dir).train
    return VAE((data > 0.5).astype(np.float32) if options.pixels == "bernoulli" else data, options, setup)


class Autoencoder(nn.Module):
    """Encoder x → (mean, ln variance) of q(z|x) and decoder z → the pixels' natural parameters, of K members."""

    def __init__(self, pixels: int, hidden: list[int], latent: int, setup: Setup) -> None:
        super().__init__()
        generator = setup.generator("parameters")
        self.encoder = BatchedMLP(setup.ensemble, [pixels, *hidden, 2 * latent], generator=generator)
        self.decoder = BatchedMLP(setup.ensemble, [latent, *reversed(hidden), pixels], generator=generator)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and ln variance of q(z|x), [K, N, latent] each."""
        mean, log_variance = self.encoder(x).chunk(2, dim=-1)
        return mean, log_variance

    def forward(self, z: Tensor) -> Tensor:
        """The decoder's outputs, [K, N, pixels]."""
        outputs: Tensor = self.decoder(z)
        return outputs


class VAE:
    """K autoencoders side by side (protocol `trainers.families.ppm.PPM`)."""

    name = "vae"

    def __init__(self, data: NDArray[np.float32], options: VAEOptions, setup: Setup) -> None:
        """data: [n, d]; InputError where it does not suit the pixels."""
        self._pixels: Pixels = (
            BernoulliPixels() if options.pixels == "bernoulli" else GaussianPixels(options.pixel_sigma)
        )
        if data.ndim != 2 or not np.isfinite(data).all():
            raise InputError("a VAE learns from rows of finite numbers.")
        if options.pixels == "bernoulli" and not np.isin(data, (0, 1)).all():
            raise InputError("Bernoulli pixels are 0 or 1; binarise the data or take --pixels gaussian.")
        device = setup.device
        self.ensemble = setup.ensemble
        self.accuracy_name = self._pixels.accuracy_name
        self._data = torch.from_numpy(np.ascontiguousarray(data, dtype=np.float32)).to(device)
        samples = setup.member_samples(len(data))
        self._samples = None if samples is None else torch.from_numpy(samples).to(device)
        self.dataset_size = len(data) if samples is None else samples.shape[1]
        self._latent = options.latent
        self.module = Autoencoder(data.shape[1], parse_widths(options.widths), options.latent, setup)
        self._center(setup)
        coders = {"encoder": self.module.encoder, "decoder": self.module.decoder}
        self._linear = [
            layer for coder in coders.values() for layer in coder.layers if isinstance(layer, BatchedLinear)
        ]
        names = [(coder, index) for coder, mlp in coders.items() for index in range(len(mlp.layers))]
        self.layers = tuple(
            Layer(f"{coder} {index + 1}", (layer.weight.numel() + layer.bias.numel()) // setup.ensemble)
            for (coder, index), layer in zip(names, self._linear, strict=True)
        )
        self.layer_parameters = tuple(
            (f"{coder}.layers.{index}.weight", f"{coder}.layers.{index}.bias") for coder, index in names
        )
        self._generator = setup.generator("encoder noise")
        draws = setup.generator("measurement")
        self._measure: JointMeasure | MarginalMeasure
        if options.variables == "joint":
            self._measure = JointMeasure(self.module, self._pixels, options.latent, setup.probe_size, draws)
        else:
            self._measure = MarginalMeasure(
                self.module, self._pixels, options.latent, setup.probe_size, options.importance_samples, draws
            )
        self.figures: Mapping[str, str] = setup.figures | {"log_partition": "none"} | dict(self._measure.kinds)

    def gradient(self, indices: Tensor, *, measure_noise: bool) -> Batch:
        """Negative evidence lower bound of the samples [K, b] with one z each, and its gradient."""
        data = self._rows(indices)
        if measure_noise and indices.shape[1] > 1:
            with recording(self._linear) as tape:
                losses, outputs = self._losses(data)
            noise: Tensor | None = fill_gradients_and_noise(self.module, losses, tape)
        else:
            losses, outputs = self._losses(data)
            fill_gradients(self.module, losses)
            noise = None
        return Batch(losses.detach().mean(1), self._pixels.accuracy(outputs.detach(), data), noise, sampled=True)

    def full_gradient(self) -> dict[str, Tensor]:
        """∇U_B over the data set with one z for each sample: the noise of those z is left in it."""
        parameters = dict(self.module.named_parameters())
        totals = {name: torch.zeros_like(parameter) for name, parameter in parameters.items()}
        for start in range(0, self.dataset_size, CHUNK):
            stop = min(start + CHUNK, self.dataset_size)
            positions = torch.arange(start, stop, device=self._data.device).expand(self.ensemble, -1)
            losses, _ = self._losses(self._rows(positions))
            gradients = torch.autograd.grad(losses.sum() / self.dataset_size, list(parameters.values()))
            for total, gradient in zip(totals.values(), gradients, strict=True):
                total += gradient
        return totals

    def full_gradient_halves(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """∇U_B twice, each with fresh z."""
        return self.full_gradient(), self.full_gradient()

    def begin(self) -> Reading:
        """Entropies and informations at the present θ."""
        return self._measure.begin()

    def transition(self) -> tuple[Transition, Reading]:
        """Work and heat since the remembered θ."""
        return self._measure.transition()

    def state_dict(self) -> dict[str, Any]:
        """What the measure remembers, and the generator of the encoder's noise."""
        return {"measure": self._measure.state_dict(), "generator": self._generator.get_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`."""
        self._measure.load_state_dict(on_device(dict(state["measure"]), self._data.device))
        self._generator.set_state(state["generator"].cpu())

    def _center(self, setup: Setup) -> None:
        """Start the decoder at the data's mean, whatever z, so that learning begins with what differs from it."""
        *_, last = self.module.decoder.layers
        assert isinstance(last, BatchedLinear)
        mean = self._data.mean(0)
        if isinstance(self._pixels, BernoulliPixels):
            count = len(self._data)
            mean = ((mean * count + 0.5) / (count + 1)).logit()
        with torch.no_grad():
            last.bias.copy_(mean.expand(setup.ensemble, -1))

    def _losses(self, data: Tensor) -> tuple[Tensor, Tensor]:
        """−ELBO [K, b] with the KL divergence of q(z|x) from the prior in closed form; and the decoder's outputs."""
        mean, log_variance = self.module.encode(data)
        noise = torch.randn(mean.shape, generator=self._generator, device=mean.device)
        outputs = self.module(mean + (0.5 * log_variance).exp() * noise)
        divergence = 0.5 * (log_variance.exp() + mean.square() - 1 - log_variance).sum(-1)
        return divergence + self._pixels.negative_log_p(outputs, data), outputs

    def _rows(self, indices: Tensor) -> Tensor:
        return self._data[indices if self._samples is None else self._samples.gather(1, indices)]
