"""From what the hooks added up in a step to the rows of the log: on the host, in float64."""

from __future__ import annotations

from dataclasses import dataclass, field

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
    "preconditioner",  # mean of 1/(√v̂ + ε)
    "force",  # ‖∇U_B‖²
    "force_max",  # max_i |∂_i U_B|
    "eta_1",  # Σ_i η_i and its powers
    "eta_2",
    "eta_3",
    "eta_4",
    "gap",  # ‖θ† − θ_t‖²/‖θ_{t+1} − θ_t‖²
    "over_time",  # Σ_i Var(η_i) from the projections of a window
    "over_time_se",
)
"""Rows of the device tensor [len(RAW), L] of one measured step; NaN where not measured."""

AVERAGED = 16
"""Measurements behind the batch estimate of the force, which one batch alone hardly sees."""


@dataclass(frozen=True)
class Sampling:
    """How batches come about: what turns per-sample variances into that of the gradient."""

    dataset_size: int
    replacement: bool
    world_size: int
    summed: bool
    """The loss is a sum over the batch instead of a mean."""


@dataclass(frozen=True)
class Measurement:
    """One measured step on the host: `raw` is [len(RAW), L], gradients in it still carry the loss scale."""

    step: int
    time: float
    samples: int
    rates: Array
    scale: float
    raw: Array


@dataclass
class MeasurementRows:
    """Turns measurements into rows of `reservoir`, with the little history that averages need."""

    dtype: np.dtype[np.void]
    sizes: Array
    sampling: Sampling
    averaged: int
    _force: list[Array] = field(default_factory=list)
    _balance: list[Array] = field(default_factory=list)
    _preconditioner: Array | None = None

    def rows(self, measurements: list[Measurement]) -> NDArray[np.void]:
        """Rows of `reservoir`, one a measurement."""
        rows = np.zeros(len(measurements), self.dtype)
        with np.errstate(divide="ignore", invalid="ignore"):
            for row, measurement in zip(rows, measurements, strict=True):
                self._fill(row, measurement)
        return rows

    def _fill(self, row: np.void, measured: Measurement) -> None:
        raw = dict(zip(RAW, measured.raw, strict=True))
        # In units of the mean loss: a gradient of the sum over b samples is b times, its learning rate 1/b of it.
        batch = measured.samples * self.sampling.world_size
        unit = measured.scale * (batch if self.sampling.summed else 1.0)
        mobility = measured.rates * (batch if self.sampling.summed else 1.0)
        if np.isfinite(raw["preconditioner"]).any():
            self._preconditioner = raw["preconditioner"]
        if self._preconditioner is not None:
            mobility = mobility * self._preconditioner
        row["step"], row["time"] = measured.step, measured.time
        row["mobility"] = np.average(mobility, weights=self.sizes)

        noise, error = self._noise(raw, measured)
        over_time = np.isfinite(raw["over_time"]) & ~np.isfinite(noise)
        noise = np.where(over_time, raw["over_time"], noise) / unit**2
        error = np.where(over_time, raw["over_time_se"], error) / unit**2
        per_parameter = mobility / (2.0 * self.sizes)
        row["temperature"], row["temperature_se"] = per_parameter * noise, per_parameter * error
        row["temperature_full"] = per_parameter * raw["eta_2"]
        row["temperature_full_se"] = np.nan
        row["noise_skew"], row["noise_kurtosis"] = self._shape_of_noise(raw)
        row["drift"] = np.sqrt(raw["drift"])
        row["reversibility_gap"] = np.sqrt(raw["gap"])
        row["force_max"] = raw["force_max"]
        gradient = raw["gradient"] / unit**2
        self._fill_force(row, raw["force"], gradient - noise, noise)
        row["fluctuation_dissipation"] = self._yaida(raw["pairing"] / unit, mobility / 2.0 * gradient)

    def _noise(self, raw: dict[str, Array], measured: Measurement) -> tuple[Array, Array]:
        """Σ_i Var(η_i) by layer and its standard error, with the loss scale still in it.

        Samples without any gradient (ignored targets) are not part of the mean that the loss takes.
        """
        count = np.nanmax(raw["contributing"], initial=0.0)
        if not count > 1:
            missing = np.full_like(self.sizes, np.nan)
            return missing, missing
        factor = count / (count - 1.0) / self.sampling.world_size
        size = self.sampling.dataset_size
        batch = min(measured.samples * self.sampling.world_size, size)
        factor *= finite_population(batch, size, self.sampling.replacement)
        # Of one rank's own gradient; the mean over the ranks has 1/W of its variance.
        return factor * (raw["squares"] - raw["gradient"] / count), factor * np.sqrt(raw["variance"])

    def _fill_force(self, row: np.void, exact: Array, estimate: Array, noise: Array) -> None:
        if np.isfinite(exact).any():
            row["force"], row["signal_to_noise"] = np.sqrt(exact), exact / noise
            return
        self._force = [*self._force, np.stack([estimate, noise])][-AVERAGED:]
        force, spread = np.mean(self._force, axis=0)
        row["force"] = np.sqrt(np.maximum(force, 0.0))
        row["signal_to_noise"] = np.maximum(force, 0.0) / spread

    def _shape_of_noise(self, raw: dict[str, Array]) -> tuple[Array, Array]:
        m1, m2, m3, m4 = (raw[f"eta_{power}"] / self.sizes for power in (1, 2, 3, 4))
        variance = m2 - m1**2
        third = m3 - 3 * m1 * m2 + 2 * m1**3
        fourth = m4 - 4 * m1 * m3 + 6 * m1**2 * m2 - 3 * m1**4
        return third / variance**1.5, fourth / variance**2 - 3

    def _yaida(self, pairing: Array, dissipation: Array) -> Array:
        if np.isfinite(pairing).any():
            self._balance = [*self._balance, np.stack([pairing, dissipation])][-self.averaged :]
        if not self._balance:
            return np.full_like(pairing, np.nan)
        totals = np.sum(self._balance, axis=0)
        return np.asarray(totals[0] / totals[1])
