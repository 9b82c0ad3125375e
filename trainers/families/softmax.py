"""Softmax classifier: X is the label y given an input x, φ = −ln p(y|x, θ).

Averages over y are exact sums over the classes; averages over x are means over a fixed set of held-out probe inputs,
which are the slots of the ledger.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from thermotui.errors import InputError
from thermotui.runlog.schema import Layer
from thermotui.thermo.information import Array, WindowMixture, categorical_reading, categorical_transition
from thermotui.thermo.transition import Reading, Transition
from trainers.batched import BatchedLinear, BatchedMLP, fill_gradients, fill_gradients_and_noise, recording
from trainers.data.images import Images, load_images
from trainers.families.options import SoftmaxOptions
from trainers.families.ppm import Batch
from trainers.setup import Setup

CHUNK = 2048
"""Samples of one member in a forward pass over the whole data set: bounds its memory."""


def build(options: SoftmaxOptions, setup: Setup) -> Softmax:
    """The classifier of these options; InputError for widths or a probe set that cannot be."""
    images = load_images(options.data, options.data_dir)
    available = len(images.held_out)
    if setup.probe_size > available:
        raise InputError(f"--probe-size {setup.probe_size}: {options.data} has only {available} held-out inputs.")
    return Softmax(images, parse_widths(options.widths), setup)


def parse_widths(text: str) -> list[int]:
    """The hidden widths of "200,200"; InputError if it is not a list of positive integers."""
    try:
        widths = [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        widths = [0]
    if any(width < 1 for width in widths):
        raise InputError(f"--widths {text} is not a comma-separated list of positive integers, such as 200,200.")
    return widths


class Softmax:
    """K multilayer classifiers side by side (protocol `trainers.families.ppm.PPM`)."""

    name = "softmax"
    accuracy_name = "fraction of the mini-batch classified correctly"

    def __init__(self, images: Images, widths: list[int], setup: Setup) -> None:
        device = setup.device
        self.ensemble = setup.ensemble
        self._classes = images.classes
        self._inputs = torch.from_numpy(images.train).to(device)
        self._labels = self._clean_labels = torch.from_numpy(images.train_labels).to(device)
        self._probe = torch.from_numpy(images.held_out[: setup.probe_size]).to(device)
        samples = setup.member_samples(len(images.train))
        self._samples = None if samples is None else torch.from_numpy(samples).to(device)
        self.dataset_size = len(images.train) if samples is None else samples.shape[1]
        # A small last layer: the members start close to the uniform distribution, so that I(0) is close to zero.
        self.module = BatchedMLP(
            setup.ensemble,
            [images.train.shape[1], *widths, images.classes],
            generator=setup.generator("parameters"),
            output_gain=0.1,
        )
        self._layers = [layer for layer in self.module.layers if isinstance(layer, BatchedLinear)]
        names = [f"hidden {index + 1}" for index in range(len(widths))] + ["output"]
        self.layers = tuple(
            Layer(name, (layer.weight.numel() + layer.bias.numel()) // setup.ensemble)
            for name, layer in zip(names, self._layers, strict=True)
        )
        self.layer_parameters = tuple(
            (f"layers.{index}.weight", f"layers.{index}.bias") for index in range(len(self._layers))
        )
        self.figures: Mapping[str, str] = setup.figures | {"log_partition": "none"}
        self._window = WindowMixture() if setup.ensemble == 1 else None
        self._before: Array | None = None
        self._corruption = setup.generator("corruption")

    def gradient(self, indices: Tensor, *, measure_noise: bool) -> Batch:
        """Cross entropy of the samples [K, b] and its gradient."""
        positions = indices if self._samples is None else self._samples.gather(1, indices)
        labels = self._labels[positions]
        with recording(self._layers) as tape:
            logits = self.module(self._inputs[positions])
        losses = self._losses(logits, labels)
        noise = None
        if measure_noise and indices.shape[1] > 1:
            noise = fill_gradients_and_noise(self.module, losses, tape)
        else:
            fill_gradients(self.module, losses)
        correct = (logits.detach().argmax(-1) == labels).float()
        return Batch(losses.detach().mean(1), correct.mean(1), noise)

    def full_gradient(self) -> dict[str, Tensor]:
        """∇U_B in chunks of the data set."""
        names = [name for name, _ in self.module.named_parameters()]
        parameters = list(self.module.parameters())
        totals = [torch.zeros_like(parameter) for parameter in parameters]
        for start in range(0, self.dataset_size, CHUNK):
            stop = min(start + CHUNK, self.dataset_size)
            if self._samples is None:
                inputs = self._inputs[start:stop].expand(self.ensemble, -1, -1)
                labels = self._labels[start:stop].expand(self.ensemble, -1)
            else:
                inputs, labels = (table[self._samples[:, start:stop]] for table in (self._inputs, self._labels))
            loss = self._losses(self.module(inputs), labels).sum() / self.dataset_size
            for total, gradient in zip(totals, torch.autograd.grad(loss, parameters), strict=True):
                total += gradient
        return dict(zip(names, totals, strict=True))

    def begin(self) -> Reading:
        """Entropies and informations of the present θ on the probe inputs."""
        self._before = self._log_probabilities()
        return self._reading(self._before)

    def transition(self) -> tuple[Transition, Reading]:
        """Work and heat since the remembered θ; RuntimeError before `begin`."""
        if self._before is None:
            raise RuntimeError("a transition needs a beginning")
        before, self._before = self._before, self._log_probabilities()
        return categorical_transition(before, self._before), self._reading(self._before)

    def corrupt_labels(self, fraction: float) -> None:
        """From now on that fraction of the training labels, drawn at random, is wrong; 0 restores them."""
        self._labels = self._clean_labels
        if fraction == 0:
            return
        size, generator = len(self._labels), self._corruption
        wrong = torch.rand(size, generator=generator, device=generator.device) < fraction
        shift = torch.randint(1, self._classes, (size,), generator=generator, device=generator.device)
        self._labels = torch.where(wrong, (self._clean_labels + shift) % self._classes, self._clean_labels)

    def state_dict(self) -> dict[str, Any]:
        """The remembered probabilities, the window, the labels in force and their generator."""
        return {
            "before": self._before,
            "window": None if self._window is None else self._window.state_dict(),
            "labels": self._labels,
            "corruption": self._corruption.get_state(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`."""
        self._before = state["before"]
        if self._window is not None:
            self._window.load_state_dict(state["window"])
        self._labels = state["labels"].to(self._clean_labels.device)
        self._corruption.set_state(state["corruption"].cpu())

    def _losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view_as(labels)

    def _log_probabilities(self) -> Array:
        """ln p(y|x, θ_k) on the probe inputs, float64 [K, P, C]; one transfer from the device."""
        with torch.no_grad():
            logits = self.module(self._probe.expand(self.ensemble, -1, -1)).double()
            return np.asarray(torch.log_softmax(logits, dim=-1).cpu().numpy())

    def _reading(self, log_p: Array) -> Reading:
        return categorical_reading(log_p, None if self._window is None else self._window.push(log_p[0]))
