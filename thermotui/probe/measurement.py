"""From what the hooks added up in a step to the rows of the log: on the host, in float64."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from thermotui.probe.gradient_norms import finite_population

Array = NDArray[np.float64]

RAW = (
    "squares",  # Σ_n ‖G_n‖², G_n the part of sample n in the gradient
    "variance",  # variance of that sum as an estimate
    "contributing",  # samples with a gradient other than zero
    "gradient",  # ‖g‖²
    "pairing",  # θ·g
    "drift",  # ‖θ − θ_0‖²/‖θ_0‖²
    "rate",  # learning rate by layer, where it lies on the device
    "preconditioner",  # mean of what the optimizer multiplies the gradient by
    "force",  # ‖∇U_B‖²
    "force_max",  # max_i |∂_i U_B|
    "eta_1",  # Σ_i η_i and its powers
    "eta_2",
    "eta_3",
    "eta_4",
    "gap",  # ‖θ† − θ_t‖²/‖θ_{t+1} − θ_t‖²
    "from_steps",  # ½‖g_t − g_{t−1}‖², without the loss scale
    "disagreement",  # of g with Σ_n G_n: more than 1 is too much
)
"""Rows of the device tensor [len(RAW), L] of one measured step; NaN where not measured."""

AVERAGED = 16
"""Measurements behind the batch estimate of the force, which one batch alone hardly sees."""


SCATTER = 16
"""Consecutive values whose differences give the standard error of a single one."""


@dataclass(frozen=True)
class Sampling:
    """How batches come about: what turns per-sample variances into that of the gradient."""

    dataset_size: int
    replacement: bool
    world_size: int
    summed: bool
    """The loss is a sum over the batch instead of a mean."""
    ignored: bool = False
    """The loss leaves out samples: those without a gradient do not count."""


@dataclass(frozen=True)
class Measurements:
    """n measured steps on the host; gradients in `raw`, [n, len(RAW), L], still carry the loss scale."""

    steps: NDArray[np.int64]
    times: Array
    samples: NDArray[np.int64]
    rates: Array
    """Learning rate by layer, [n, L]."""
    scales: Array
    raw: Array


def unmeasured(*, full_gradient: bool, world_size: int) -> tuple[str, ...]:
    """Fields of `reservoir` that a probe never measures: there is no second estimate of an error of `temperature_full`,
    η needs the full gradient, and the gap the step of one rank alone.
    """
    from_full = ("temperature_full", "force_max", "noise_skew", "noise_kurtosis")
    gap = ("reversibility_gap",)
    return ("temperature_full_se", *(() if full_gradient else from_full), *(gap if world_size > 1 else ()))


@dataclass
class MeasurementRows:
    """Turns measurements into rows of `reservoir`, with the little history that averages need."""

    dtype: np.dtype[np.void]
    sizes: Array
    sampling: Sampling
    averaged: int
    """Readings of θ·g that Yaida's ratio averages."""
    preconditioned: bool = False
    """The optimizer has a preconditioner, and the mobility is unknown until that was read."""

    def __post_init__(self) -> None:
        self._force = np.empty((0, 3, self.sizes.size))
        self._balance = np.empty((0, 2, self.sizes.size))
        self._from_steps = np.empty((0, self.sizes.size))
        self._preconditioner = np.full_like(self.sizes, np.nan if self.preconditioned else 1.0)

    def rows(self, measured: Measurements) -> NDArray[np.void]:
        """Rows of `reservoir`, one a measurement."""
        rows = np.zeros(len(measured.steps), self.dtype)
        if not len(rows):
            return rows
        raw = {name: measured.raw[:, index] for index, name in enumerate(RAW)}
        # In units of the mean loss: a gradient of the sum over b samples is b times, its learning rate 1/b of it. The
        # ranks' gradients are averaged, so b is one rank's.
        samples = measured.samples[:, None]
        summed = np.where(self.sampling.summed, samples, 1)
        unit = measured.scales[:, None] * summed
        with np.errstate(divide="ignore", invalid="ignore"):
            mobility = measured.rates * summed * self._preconditioners(raw["preconditioner"])
            averaging = self._averaging(samples)
            noise, error = self._noise(raw, samples, unit, summed, averaging)
            # What is read is this rank's gradient, with more noise than the average over the ranks that moves θ.
            own_gradient, own_noise = raw["gradient"] / unit**2, noise / averaging
            force = own_gradient - own_noise
            per_parameter = mobility / (2.0 * self.sizes)
            rows["step"], rows["time"] = measured.steps, measured.times
            known = np.isfinite(mobility)
            rows["mobility"] = np.where(known, mobility, 0.0) @ self.sizes / (known @ self.sizes)
            rows["temperature"], rows["temperature_se"] = per_parameter * noise, per_parameter * error
            rows["temperature_full"] = per_parameter * averaging * raw["eta_2"]
            rows["temperature_full_se"] = np.nan
            rows["noise_skew"], rows["noise_kurtosis"] = component_moments(raw, self.sizes)
            rows["drift"] = np.sqrt(raw["drift"])
            rows["reversibility_gap"] = np.sqrt(raw["gap"])
            rows["force_max"] = raw["force_max"]
            rows["force"], rows["signal_to_noise"] = self._forces(raw["force"], force, noise)
            rows["fluctuation_dissipation"] = self._yaida(raw["pairing"] / unit, mobility / 2.0 * (force + noise))
        return rows

    def _preconditioners(self, values: Array) -> Array:
        """[n, L]: the last ones read; before these 1, or NaN where there is one to read. NaN in layers without one."""
        filled = np.concatenate([self._preconditioner[None], np.where(np.isfinite(values), values, np.nan)])
        read = np.isfinite(filled).any(axis=1)
        filled = filled[np.maximum.accumulate(np.where(read, np.arange(len(filled)), 0))]
        self._preconditioner = filled[-1]
        return np.asarray(filled[1:])

    def _averaging(self, samples: NDArray[np.int64]) -> Array:
        """Variance of the gradient averaged over the ranks as a share of that of one rank's own, [n, 1]."""
        one, all_ranks = (self._population_factors(samples * ranks) for ranks in (1, self.sampling.world_size))
        return np.where(one > 0, all_ranks / np.where(one > 0, one, 1.0), 1.0) / self.sampling.world_size

    def _population_factors(self, batch: NDArray[np.int64]) -> Array:
        size, replacement = self.sampling.dataset_size, self.sampling.replacement
        sizes, places = np.unique(batch[:, 0], return_inverse=True)
        factors = [finite_population(min(int(b), size), size, replacement) for b in sizes]
        return np.array(factors)[places].reshape(-1, 1)

    def _noise(
        self,
        raw: dict[str, Array],
        samples: NDArray[np.int64],
        unit: Array,
        summed: NDArray[np.int64],
        averaging: Array,
    ) -> tuple[Array, Array]:
        """Σ_i Var(η_i) by layer and its standard error, [n, L], of the gradient that moves θ.

        Where the batch tells nothing, the difference of successive gradients does, with the scatter of the last ones as
        its error.
        """
        count = np.asarray(samples, dtype=np.float64)
        if self.sampling.ignored:
            count = np.nanmax(raw["contributing"], axis=1, initial=0.0, keepdims=True)
        count = np.where(count > 1, count, np.nan)
        factor = count / (count - 1.0) * self._population_factors(samples) * averaging / unit**2
        noise, error = factor * (raw["squares"] - raw["gradient"] / count), factor * np.sqrt(raw["variance"])
        from_steps = averaging * raw["from_steps"] / summed**2
        scatter, self._from_steps = scatter_error(from_steps, self._from_steps)
        missing = ~np.isfinite(noise)
        return np.where(missing, from_steps, noise), np.where(missing, scatter, error)

    def _forces(self, exact: Array, estimate: Array, noise: Array) -> tuple[Array, Array]:
        """Force and signal-to-noise ratio, [n, L]: exact where the full gradient was there, else a running mean."""
        there = np.isfinite(estimate) & np.isfinite(noise)
        new = np.stack([np.where(there, estimate, 0.0), np.where(there, noise, 0.0), there], axis=1)
        sums, self._force = running_mean(new, self._force, AVERAGED)
        # Of the measurements that there are, where this one is among them.
        mean = np.where(there, 1.0, np.nan)[:, None] * sums[:, :2] / sums[:, 2:]
        known = np.isfinite(exact)
        squared = np.where(known, exact, np.maximum(mean[:, 0], 0.0))
        spread = np.where(known, noise, mean[:, 1])
        return np.where(spread > 0, np.sqrt(squared), np.nan), np.where(spread > 0, squared / spread, np.nan)

    def _yaida(self, pairing: Array, dissipation: Array) -> Array:
        """⟨θ·∇U⟩/⟨r/2 g²⟩ over the last readings, [n, L]; NaN where θ·g was not read."""
        read = np.isfinite(pairing[:, 0])
        readings = np.stack([pairing, dissipation], axis=1)[read]
        means, self._balance = running_mean(readings, self._balance, self.averaged)
        result = np.full_like(pairing, np.nan)
        result[read] = means[:, 0] / means[:, 1]
        return result


def blank_disagreeing(raw: Array) -> None:
    """Take back the samples' figures of layers whose gradient is not the sum of the samples' parts, in place.

    raw: [n, len(RAW), L]. All measurements up to the next look that agrees, and back to the last one, may be wrong too.
    """
    look = raw[:, RAW.index("disagreement")]
    wrong = look > 1.0
    looked = np.flatnonzero(np.isfinite(look).any(axis=1))
    if wrong.any():
        rows = np.arange(len(raw))
        before, after = (np.searchsorted(looked, rows, side=side) for side in ("right", "left"))
        for index in (before - 1, after):
            there = (index >= 0) & (index < len(looked))
            hit = wrong[looked[np.clip(index, 0, len(looked) - 1)]] & there[:, None]
            raw[:, RAW.index("squares")][hit] = np.nan


def running_mean(values: Array, history: Array, window: int) -> tuple[Array, Array]:
    """Mean of the last `window` rows at each of n rows, [n, …], and the history [≤ window, …] to go on with."""
    series = np.concatenate([history, values])
    totals = np.concatenate([np.zeros_like(series[:1]), np.cumsum(series, axis=0)])
    last = np.arange(len(history) + 1, len(series) + 1)
    first = np.maximum(last - window, 0)
    width = (last - first).reshape(-1, *[1] * (series.ndim - 1))
    return (totals[last] - totals[first]) / width, series[-window:]


def scatter_error(values: Array, history: Array) -> tuple[Array, Array]:
    """Standard error of each of n single values, [n, L], from the differences of the last `SCATTER` ones.

    A slow drift does not enter it; NaN before the fourth value. Also the history [≤ SCATTER, L] to go on with.
    """
    series = np.concatenate([history, values])
    error = np.full_like(values, np.nan)
    if not np.isfinite(series).any():
        return error, series[-SCATTER:]
    for row in range(len(values)):
        recent = series[max(len(history) + row + 1 - SCATTER, 0) : len(history) + row + 1]
        if len(recent) >= 4:
            error[row] = np.sqrt(np.square(np.diff(recent, axis=0)).mean(axis=0) / 2)
    return error, series[-SCATTER:]


def component_moments(sums: dict[str, Array], sizes: Array) -> tuple[Array, Array]:
    """Skewness and excess kurtosis over components from `eta_1` … `eta_4` = Σ_i η_iᵖ, [..., L]; sizes: [L]."""
    m1, m2, m3, m4 = (sums[f"eta_{power}"] / sizes for power in (1, 2, 3, 4))
    variance = m2 - m1**2
    third = m3 - 3 * m1 * m2 + 2 * m1**3
    fourth = m4 - 4 * m1 * m3 + 6 * m1**2 * m2 - 3 * m1**4
    return third / variance**1.5, fourth / variance**2 - 3
