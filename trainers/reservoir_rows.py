"""From the raw sums of a measurement to the rows of `reservoir`: on the host, in float64."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from thermotui.probe.measurement import component_moments, running_mean, scatter_error

Array = NDArray[np.float64]

RAW = (
    "noise",  # Σ_i Var(η_i)
    "gradient",  # ‖g‖²
    "pairing",  # θ·g
    "drift",  # ‖θ − θ_0‖²/‖θ_0‖²
    "force",  # ‖∇U_B‖², from two independent estimates where it is sampled
    "noise_full",  # ‖η‖², likewise
    "eta_1",  # Σ_i η_i
    "eta_2",  # Σ_i η_i²
    "eta_3",  # Σ_i η_i³
    "eta_4",  # Σ_i η_i⁴
    "force_max",  # max_i |∂_i U_B|
    "gap",  # ‖θ† − θ_t‖²/‖θ_{t+1} − θ_t‖²
    "mobility",  # of the layer, by the optimizer's state
)
"""What the device adds up per member and layer in one measurement; NaN where it was not measured."""


class ReservoirRows:
    """Keeps the little history that Yaida's ratio and a single run's standard errors need."""

    def __init__(self, dtype: np.dtype[np.void], sizes: Array, *, averaged: int) -> None:
        """Start empty.

        dtype: of a row of `reservoir`. sizes: parameters per layer of one member, [L]. averaged: measurements that
        Yaida's ratio averages.
        """
        self.dtype = dtype
        self.sizes = sizes
        self.averaged = averaged
        self.temperatures = np.empty((0, sizes.size))
        self.temperatures_full = np.empty((0, sizes.size))
        self.balance = np.empty((0, 2, sizes.size))

    def rows(self, steps: list[int], times: list[float], raw: Array) -> NDArray[np.void]:
        """Rows of n measurements. raw: [n, len(RAW), K, L]."""
        rows = np.zeros(len(steps), self.dtype)
        rows["step"], rows["time"] = steps, times
        value = {name: raw[:, index] for index, name in enumerate(RAW)}
        mobility = value["mobility"]
        rows["mobility"] = np.average(mobility.mean(axis=1), weights=self.sizes, axis=1)
        per_parameter = mobility / (2.0 * self.sizes)

        noise = value["noise"]
        rows["temperature"], rows["temperature_se"], self.temperatures = _mean_and_error(
            per_parameter * noise, self.temperatures
        )
        measured = ~np.isnan(value["noise_full"]).all(axis=(1, 2))
        rows["temperature_full"] = rows["temperature_full_se"] = np.nan
        rows["temperature_full"][measured], rows["temperature_full_se"][measured], self.temperatures_full = (
            _mean_and_error((per_parameter * value["noise_full"])[measured], self.temperatures_full)
        )
        force = np.maximum(value["force"].mean(axis=1), 0.0)
        rows["force"] = np.sqrt(force)
        rows["force_max"] = value["force_max"].mean(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            rows["signal_to_noise"] = force / noise.mean(axis=1)
            skew, kurtosis = component_moments(value, self.sizes)
            rows["noise_skew"], rows["noise_kurtosis"] = skew.mean(axis=1), kurtosis.mean(axis=1)
        # A layer that starts at zero has no relative drift.
        rows["drift"] = np.sqrt(np.where(np.isinf(value["drift"]), np.nan, value["drift"])).mean(axis=1)
        rows["reversibility_gap"] = np.sqrt(value["gap"]).mean(axis=1)
        rows["fluctuation_dissipation"] = self._yaida(value["pairing"], mobility / 2.0 * value["gradient"])
        return rows

    def state_dict(self) -> dict[str, Array]:
        """The history."""
        return {
            "temperatures": self.temperatures,
            "temperatures_full": self.temperatures_full,
            "balance": self.balance,
        }

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Continue from a history."""
        self.temperatures = np.asarray(state["temperatures"])
        self.temperatures_full = np.asarray(state["temperatures_full"])
        self.balance = np.asarray(state["balance"])

    def _yaida(self, pairing: Array, dissipation: Array) -> Array:
        """⟨θ·∇U⟩ / ⟨r/2 g²⟩ over the ensemble and the last `averaged` measurements, [n, L]."""
        new = np.stack([pairing.mean(axis=1), dissipation.mean(axis=1)], axis=1)
        means, self.balance = running_mean(new, self.balance, self.averaged)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(means[:, 0] / means[:, 1])


def _mean_and_error(members: Array, history: Array) -> tuple[Array, Array, Array]:
    """Mean over the ensemble, its standard error (both [n, L]), and the history after these n measurements.

    members: [n, K, L]. The error is the members' spread / √K. A single run has no ensemble: there it is that of one
    measurement, from the scatter of its last ones.
    """
    mean = members.mean(axis=1)
    ensemble = members.shape[1]
    if ensemble > 1:
        return mean, members.std(axis=1, ddof=1) / np.sqrt(ensemble), history
    error, history = scatter_error(mean, history)
    return mean, error, history
