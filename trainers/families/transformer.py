"""Autoregressive transformer: X is a sequence of bytes, φ = −Σ_i ln p(x_i | x_<i), exact like its ancestral draws.

Given the context every sum over the next byte is exact, so that the step KL is Σ_i <KL(p_{t−1}(·|x_<i) ‖ p_t(·|x_<i))>:
only the contexts are sampled. Every slot draws its sequence from uniform numbers of its own, the same at every reading.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional as F

from thermotui.errors import InputError
from thermotui.probe.gradient_norms import gram_squared_norms, sample_noise_trace
from thermotui.runlog.schema import Layer
from thermotui.thermo.information import log_mixture, sampled_reading
from thermotui.thermo.statistics import Array
from thermotui.thermo.transition import Reading, Transition
from trainers.batched import fill_gradients
from trainers.data.text import Windows, load_windows
from trainers.families.draws import Parameters, double
from trainers.families.options import TransformerOptions
from trainers.families.ppm import Batch
from trainers.families.transformer_model import Tape, Transformer
from trainers.setup import Setup
from trainers.state import on_device

CHUNK = 512
"""Sequences of one member in a forward pass over the whole data set."""

WINDOW = 16
"""Past θ in the mixture of a single run."""


def build(options: TransformerOptions, setup: Setup) -> TransformerFamily:
    """The transformers of these options; InputError for those that cannot be."""
    for name in ("context_length", "width", "depth", "heads"):
        if getattr(options, name) < 1:
            raise InputError(f"--{name.replace('_', '-')} {getattr(options, name)} must be at least 1.")
    if options.width % options.heads:
        raise InputError(f"--width {options.width} must be a multiple of --heads {options.heads}.")
    return TransformerFamily(load_windows(options.text, options.context_length), options, setup)


class TransformerFamily:
    """K transformers side by side (protocol `trainers.families.ppm.PPM`)."""

    name = "transformer"
    accuracy_name = "fraction of the mini-batch's bytes that are the likeliest given those before them"

    def __init__(self, windows: Windows, options: TransformerOptions, setup: Setup) -> None:
        device = setup.device
        self.ensemble = setup.ensemble
        self._data = torch.from_numpy(windows.tokens).to(device)
        count, length = windows.tokens.shape
        samples = setup.member_samples(count)
        self._samples = None if samples is None else torch.from_numpy(samples).to(device)
        self.dataset_size = count if samples is None else samples.shape[1]
        self.module = Transformer(
            setup.ensemble,
            len(windows.alphabet),
            length,
            options.width,
            options.depth,
            options.heads,
            setup.generator("parameters"),
        )
        groups = self.module.layer_parameters()
        sizes = {name: parameter[0].numel() for name, parameter in self.module.named_parameters()}
        self.layers = tuple(Layer(layer, sum(sizes[name] for name in names)) for layer, names in groups.items())
        self.layer_parameters = tuple(groups.values())
        self.figures: Mapping[str, str] = setup.figures | {"log_partition": "none"}
        self._uniform = torch.rand(
            setup.ensemble, setup.probe_size, length, generator=setup.generator("measurement"), device=device
        )
        self._drawn: Tensor | None = None
        self._log_p: Tensor | None = None
        self._window: list[Parameters] = []

    def gradient(self, indices: Tensor, *, measure_noise: bool) -> Batch:
        """−ln p of the sequences [K, b], summed over their bytes, and its gradient."""
        tokens = self._rows(indices)
        noise = None
        if measure_noise and indices.shape[1] > 1:
            with self.module.recording() as tape:
                losses, logits = self._losses(tokens)
            noise = self._backward_with_noise(losses, tape)
        else:
            losses, logits = self._losses(tokens)
            fill_gradients(self.module, losses)
        likeliest = (logits.detach().argmax(-1) == tokens).float().mean((1, 2))
        return Batch(losses.detach().mean(1), likeliest, noise)

    def full_gradient(self) -> dict[str, Tensor]:
        """∇U_B in chunks of the data set."""
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

    def begin(self) -> Reading:
        """Entropies and informations at the present θ."""
        return self._draw_and_read(double(dict(self.module.named_parameters())))

    def transition(self) -> tuple[Transition, Reading]:
        """Work and heat since the remembered θ, sums over the next byte exact; RuntimeError before `begin`."""
        if self._drawn is None or self._log_p is None:
            raise RuntimeError("a transition needs a beginning")
        theta = double(dict(self.module.named_parameters()))
        before = self._log_p
        carried = self._log_probabilities(theta, self._drawn)
        work = _host((before.exp() * (before - carried)).sum((-2, -1)))
        crossed = _host(-(before.exp() * carried).sum((-2, -1)))
        reading = self._draw_and_read(theta)
        return Transition(work=work, heat=reading.entropy_conditional - crossed), reading

    def state_dict(self) -> dict[str, Any]:
        """The slots' numbers and draws, what is remembered, and the window."""
        return {
            "uniform": self._uniform,
            "drawn": self._drawn,
            "log_p": self._log_p,
            "window": list(self._window),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`."""
        state = on_device(dict(state), self._data.device)
        self._uniform, self._drawn, self._log_p = state["uniform"], state["drawn"], state["log_p"]
        self._window = list(state["window"])

    def _draw_and_read(self, theta: Parameters) -> Reading:
        drawn = self.module.generate(self._uniform)
        log_p = self._log_probabilities(theta, drawn)
        self._drawn, self._log_p = drawn, log_p
        conditional = _host(-(log_p.exp() * log_p).sum((-2, -1)))
        own = _host(_of_tokens(log_p, drawn))
        if self.ensemble > 1:
            rows = [self._sequence_log_p(theta, sequences.expand_as(drawn)) for sequences in drawn]
            return sampled_reading(np.stack(rows), conditional)
        self._window = [*self._window, theta][-WINDOW:]
        past = np.concatenate([self._sequence_log_p(of, drawn) for of in self._window])
        return Reading(conditional, conditional + own - log_mixture(past)[None])

    def _sequence_log_p(self, theta: Parameters, tokens: Tensor) -> Array:
        """ln p(x), [K, P]."""
        return _host(_of_tokens(self._log_probabilities(theta, tokens), tokens))

    @torch.no_grad()
    def _log_probabilities(self, theta: Parameters, tokens: Tensor) -> Tensor:
        """ln p(·|x_<i), [K, P, T, V], float64."""
        logits: Tensor = functional_call(self.module, theta, (tokens,))
        return logits.log_softmax(-1)

    def _losses(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.module(tokens)
        losses = F.cross_entropy(logits.flatten(0, 2), tokens.flatten(), reduction="none")
        return losses.view(tokens.shape).sum(2), logits

    def _backward_with_noise(self, losses: Tensor, tape: Tape) -> Tensor:
        """Fill `.grad`; the trace of the per-sequence gradient covariance of each layer, exact, [K, L]."""
        parameters = dict(self.module.named_parameters())
        batch_size = losses.shape[1]
        gradients = torch.autograd.grad(
            losses.mean(1).sum(), [*parameters.values(), *(outputs for _, _, _, outputs in tape.taps)]
        )
        for parameter, gradient in zip(parameters.values(), gradients, strict=False):
            parameter.grad = gradient
        squared = losses.new_zeros(len(self.layers), self.ensemble)
        for (layer, kind, inputs, _), deltas in zip(tape.taps, gradients[len(parameters) :], strict=True):
            squared[layer] += _squared_norms(kind, inputs, deltas * batch_size).sum(1)
        of_means = torch.stack([self._layer_square(parameters, names) for names in self.layer_parameters])
        return sample_noise_trace(squared, of_means, batch_size).T

    def _layer_square(self, parameters: Mapping[str, Tensor], names: tuple[str, ...]) -> Tensor:
        total = torch.zeros(self.ensemble, device=self._data.device)
        for name in names:
            gradient = parameters[name].grad
            if gradient is not None:
                total = total + gradient.flatten(1).square().sum(1)
        return total

    def _rows(self, indices: Tensor) -> Tensor:
        return self._data[indices if self._samples is None else self._samples.gather(1, indices)]


def _squared_norms(kind: str, inputs: Tensor, deltas: Tensor) -> Tensor:
    """‖g_n‖² of the parameters behind one tap for each sequence, [K, b]; deltas: [K, b, T, o]."""
    if kind == "linear":
        return gram_squared_norms(inputs, deltas, bias=True)
    if kind == "norm":
        return (inputs * deltas).sum(2).square().sum(-1) + deltas.sum(2).square().sum(-1)
    if kind == "tokens":
        same = inputs.unsqueeze(-1) == inputs.unsqueeze(-2)
        return (same * (deltas @ deltas.mT)).sum((-2, -1))
    return deltas.square().sum((-2, -1))


def _of_tokens(log_p: Tensor, tokens: Tensor) -> Tensor:
    """ln p of whole sequences from [K, P, T, V] and tokens [K, P, T]: [K, P]."""
    return log_p.gather(-1, tokens.unsqueeze(-1)).squeeze(-1).sum(-1)


def _host(values: Tensor) -> Array:
    return np.asarray(values.detach().cpu().numpy())
