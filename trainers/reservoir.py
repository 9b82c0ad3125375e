"""The reservoir of the built-in families: temperatures, force, autocorrelation and reversibility of K members at once.

All figures of a measurement stay on the device until `drain`, which moves them to the host in one transfer.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from thermotui.detect.colour import epoch_echo
from thermotui.probe.autocorrelation import GradientProjection, white_bound, window_autocorrelation
from thermotui.probe.gradient_norms import finite_population
from thermotui.probe.mobility import Mobility
from thermotui.runlog.schema import AUTOCORRELATION, RESERVOIR, Header, row_dtype
from trainers.families.ppm import PPM, Batch, SampledGradient
from trainers.reservoir_rows import RAW, ReservoirRows

SIDE_BATCH = 32
"""Samples of the side batch that gives the noise where |b| = 1."""

Layers = Sequence[Sequence[Tensor]]
"""The tensors of each layer, each [K, …]."""


@dataclass(frozen=True)
class _Measurement:
    step: int
    time: float
    raw: Tensor
    """[len(RAW), K, L] on the device."""


class ReservoirMeter:
    """Measures the parameters of a family as a heat reservoir while the loop trains it.

    Every step: a random projection of the gradient, for the autocorrelation. Every `stride` steps: the temperature from
    the within-batch noise (from a side batch where |b| = 1), the drift, Yaida's ratio over the last `window` steps.
    Every `full_stride` steps (0: never): the full gradient and with it the force, η itself, its moments and the gap of
    reversibility. Standard errors are the spread over the ensemble / √K; those of a single run come from the
    differences of its last measurements. Yaida's ratio and the gap are defined for plain SGD and measured there alone.
    """

    def __init__(
        self,
        family: PPM,
        optimizer: torch.optim.Optimizer,
        *,
        batch_size: int,
        replacement: bool,
        stride: int,
        full_stride: int,
        lags: int,
        window: int,
        seed: int,
    ) -> None:
        """Start at the family's present θ, which is the θ_0 of the drift.

        Raises ValueError for strides below their minimum or a window too short for the lags.
        """
        if stride < 1 or full_stride < 0:
            raise ValueError(f"strides must be at least 1 (full stride: 0), got {stride} and {full_stride}")
        if window <= max(lags, 2):
            raise ValueError(f"a window of {window} steps is too short for {lags} lags")
        self.family = family
        self.batch_size = batch_size
        self.stride = stride
        self.full_stride = full_stride
        self.lags = lags
        self.window = window
        side = batch_size == 1
        self.estimator = f"side batch of {SIDE_BATCH}" if side else "within the batch, from exact norms"
        """How `temperature` is measured, for `Layer.estimator`."""
        parameters = dict(family.module.named_parameters())
        self._parameters = [[parameters[name] for name in names] for names in family.layer_parameters]
        self._start = _detached(self._parameters)
        self._mobility = Mobility(optimizer, self._parameters)
        self._project = GradientProjection(self._parameters, member_axis=True, seed=seed)
        self._generator = torch.Generator().manual_seed(seed + 1)
        self._echo = epoch_echo(lags, None if replacement else family.dataset_size / batch_size)
        header = Header("", 0.0, family.name, family.layers, ensemble=family.ensemble, lags=lags)
        self._autocorrelation_dtype = row_dtype(AUTOCORRELATION, header)
        # A single sample has the population's variance, as a side batch drawn with replacement estimates it.
        self._drawn = 1.0 if side else finite_population(batch_size, family.dataset_size, replacement)
        """What is left of the noise of drawing from a finite data set."""
        self._rows = ReservoirRows(
            row_dtype(RESERVOIR, header),
            np.array([layer.size for layer in family.layers], dtype=np.float64),
            averaged=max(window // stride, 1),
        )
        self._series: list[Tensor] = []
        self._last_step: int | None = None
        self._before: Layers | None = None
        self._measurements: list[_Measurement] = []
        self._windows: list[tuple[int, Tensor, Tensor]] = []

    @property
    def notes(self) -> tuple[str, ...]:
        """What has to be said of the figures in the log."""
        sampled = (
            "The force is read from two independent sets of the model's own samples, their inner product, and 0 where "
            "that is negative; force_max holds the noise of those samples."
        )
        notes = self._mobility.note(), sampled if isinstance(self.family, SampledGradient) else None
        return tuple(note for note in notes if note is not None)

    def due(self, step: int) -> bool:
        """Whether this step is measured: then `gradient` should be asked for the noise."""
        return step % self.stride == 0 or self._full_due(step)

    def observe(self, step: int, batch: Batch, indices: Tensor) -> None:
        """Take in one step, after `gradient` and before the optimizer moves θ. Never synchronises the device.

        indices: [K, b], those of `batch`.
        """
        gradients = self._gradients()
        self._record(step, gradients)
        if not self.due(step):
            return
        figures = {
            "gradient": _power_sum(gradients, 2),
            "drift": _power_sum(_difference(self._parameters, self._start), 2) / _power_sum(self._start, 2),
        }
        if self._mobility.plain:
            figures["pairing"] = _inner(self._parameters, gradients)
        source = self._side_batch() if self.batch_size == 1 else batch
        if source.noise is not None:
            # Only what is drawn from the data set knows the batch's size and the finite population.
            figures["noise"] = source.noise * (self._drawn / self.batch_size)
            if source.sampled and self._drawn < 1:
                figures["noise"] = figures["noise"] + (1 - self._drawn) * self._own_noise(gradients, indices)
            if source.sampler_noise is not None:
                figures["noise"] = figures["noise"] + source.sampler_noise
        if self._full_due(step):
            # Only the product of independent estimates is free of the noise that the model's own samples leave in them.
            first, second = self._forces()
            force = _mean(first, second)
            eta = _difference(force, gradients)
            figures["force"] = _inner(first, second)
            figures["noise_full"] = _inner(_difference(first, gradients), _difference(second, gradients))
            figures["force_max"] = torch.stack(
                [torch.stack([f.abs().flatten(1).amax(1) for f in layer]).amax(0) for layer in force], dim=1
            )
            figures |= {f"eta_{power}": _power_sum(eta, power) for power in (1, 2, 3, 4)}
            self._before = _detached(self._parameters) if self._mobility.plain else None
        missing = torch.full_like(figures["gradient"], torch.nan)
        raw = torch.stack([figures.get(name, missing) for name in RAW])
        self._measurements.append(_Measurement(step, time.time(), raw))

    def after_step(self, step: int, indices: Tensor) -> None:
        """After the optimizer moved θ: its mobility; and where the full gradient was due the gap of reversibility
        (Appendix A), by ascent at θ_{t+1} with the same batch.

        indices: [K, b], the batch of this step. θ, `.grad` and what the family remembers are left as they were. A
        family whose gradient draws samples of its own draws fresh ones here, and the gap then holds their noise too.
        """
        if not self._measurements or self._measurements[-1].step != step:
            return
        raw = self._measurements[-1].raw
        rates = self._mobility.rates()
        mobility = torch.from_numpy(rates).to(raw)
        preconditioner = self._mobility.preconditioner()
        raw[RAW.index("mobility")] = mobility if preconditioner is None else mobility * preconditioner
        if self._before is None:
            return
        before, self._before = self._before, None
        _, ascent = self._evaluate(indices, measure_noise=False)
        forward = _difference(self._parameters, before)
        backward = [
            [torch.add(f, g, alpha=rate) for f, g in zip(*pair, strict=True)]
            for *pair, rate in zip(forward, ascent, rates.tolist(), strict=True)
        ]
        raw[RAW.index("gap")] = _power_sum(backward, 2) / _power_sum(forward, 2)

    def drain(self) -> tuple[NDArray[np.void], NDArray[np.void]]:
        """Rows of `reservoir` and of `autocorrelation` since the last call, with one transfer from the device each."""
        members, layers = self.family.ensemble, len(self.family.layers)
        raw = np.empty((0, len(RAW), members, layers))
        if self._measurements:
            raw = torch.stack([m.raw for m in self._measurements]).double().cpu().numpy()
        reservoir = self._rows.rows(
            [m.step for m in self._measurements],
            [m.time for m in self._measurements],
            raw,
        )
        self._measurements.clear()
        autocorrelation = np.zeros(len(self._windows), self._autocorrelation_dtype)
        if self._windows:
            values = torch.stack([values for _, values, _ in self._windows]).cpu().numpy()
            autocorrelation["step"] = [step for step, _, _ in self._windows]
            autocorrelation["window"] = self.window
            autocorrelation["bound"] = white_bound(torch.stack([variance for _, _, variance in self._windows]))
            autocorrelation["autocorrelation"] = values
            autocorrelation["expected_echo"] = self._echo
            self._windows.clear()
        return reservoir, autocorrelation

    def state_dict(self) -> dict[str, Any]:
        """All that the next figures depend on; RuntimeError unless taken right after `drain`."""
        if self._measurements or self._windows:
            raise RuntimeError("take the state of the reservoir meter after drain, or its pending rows would be lost")
        return {
            "start": self._start,
            "series": list(self._series),
            "last_step": self._last_step,
            "generator": self._generator.get_state(),
            "rows": {name: torch.from_numpy(values) for name, values in self._rows.state_dict().items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        device = self._parameters[0][0].device
        self._start = [[tensor.to(device) for tensor in layer] for layer in state["start"]]
        self._series = [row.to(device) for row in state["series"]]
        self._last_step = state["last_step"]
        self._generator.set_state(state["generator"].cpu())
        self._rows.load_state_dict({name: values.cpu().numpy() for name, values in state["rows"].items()})
        self._before = None
        self._measurements.clear()
        self._windows.clear()

    def _forces(self) -> tuple[Layers, Layers]:
        """Two independent estimates of ∇U_B, one and the same where it is exact."""
        if isinstance(self.family, SampledGradient):
            first, second = self.family.full_gradient_halves()
        else:
            first = second = self.family.full_gradient()
        names = self.family.layer_parameters
        return [[first[name] for name in layer] for layer in names], [
            [second[name] for name in layer] for layer in names
        ]

    def _full_due(self, step: int) -> bool:
        return self.full_stride > 0 and step % self.full_stride == 0

    def _gradients(self) -> Layers:
        return [[torch.zeros_like(p) if p.grad is None else p.grad for p in layer] for layer in self._parameters]

    def _record(self, step: int, gradients: Layers) -> None:
        """One more step of the present window; a gap in the steps starts a new one."""
        if self._last_step is not None and step != self._last_step + 1:
            self._series.clear()
        self._last_step = step
        self._series.append(self._project(gradients))
        if len(self._series) == self.window:
            series = torch.stack(self._series)
            correlation, white = window_autocorrelation(series, self.lags)
            self._windows.append((step, correlation.mean(0), white.mean(0) / series.shape[1]))
            self._series.clear()

    def _side_batch(self) -> Batch:
        size = (self.family.ensemble, SIDE_BATCH)
        indices = torch.randint(self.family.dataset_size, size, generator=self._generator)
        return self._evaluate(indices.to(self._parameters[0][0].device), measure_noise=True)[0]

    def _own_noise(self, gradients: Layers, indices: Tensor) -> Tensor:
        """What the samples' own randomness adds to the variance of the mean over the batch, [K, L].

        ½‖ḡ − ḡ′‖² of two gradients of the same samples: the data set is finite, what they draw is not.
        """
        _, again = self._evaluate(indices, measure_noise=False)
        return _power_sum(_difference(gradients, again), 2) / 2

    def _evaluate(self, indices: Tensor, *, measure_noise: bool) -> tuple[Batch, Layers]:
        """A gradient beside the training: `.grad` and the state of the family's samplers are put back."""
        remembered = copy.deepcopy(self.family.state_dict())
        kept = [[p.grad for p in layer] for layer in self._parameters]
        for layer in self._parameters:
            for parameter in layer:
                parameter.grad = None
        batch = self.family.gradient(indices, measure_noise=measure_noise)
        gradients = self._gradients()
        for layer, saved in zip(self._parameters, kept, strict=True):
            for parameter, gradient in zip(layer, saved, strict=True):
                parameter.grad = gradient
        self.family.load_state_dict(remembered)
        return batch, gradients


def _detached(layers: Layers) -> Layers:
    return [[tensor.detach().clone() for tensor in layer] for layer in layers]


def _difference(left: Layers, right: Layers) -> Layers:
    return [[a.detach() - b for a, b in zip(*pair, strict=True)] for pair in zip(left, right, strict=True)]


def _mean(left: Layers, right: Layers) -> Layers:
    return [[(a + b) / 2 for a, b in zip(*pair, strict=True)] for pair in zip(left, right, strict=True)]


def _power_sum(layers: Layers, power: int) -> Tensor:
    """Σ_i x_i^power per member and layer, [K, L]."""
    return torch.stack([torch.stack([t.pow(power).flatten(1).sum(1) for t in layer]).sum(0) for layer in layers], 1)


def _inner(left: Layers, right: Layers) -> Tensor:
    """x·y per member and layer, [K, L]."""
    return torch.stack(
        [
            torch.stack([(a.detach() * b).flatten(1).sum(1) for a, b in zip(*pair, strict=True)]).sum(0)
            for pair in zip(left, right, strict=True)
        ],
        dim=1,
    )
