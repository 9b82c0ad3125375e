"""Every threshold of the detectors in one typed table, and the presets that users choose by name."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from thermotui.errors import InputError


@dataclass(frozen=True)
class Settings:
    """Thresholds. Lengths count samples (rows), z-scores are in robust standard deviations of the local noise."""

    warm_up: int = 48
    """Samples before the loss has a level and a scale."""
    settle: int = 64
    """Samples after the warm-up (or a re-anchoring) in which the level still follows fast and alarms are harder."""
    spike: float = 5.5
    """Accumulated excess, in scales beyond 2.5, that raises a loss spike."""
    single: float = 15.0
    """Excess of one sample that is an alarm by itself; below it, one sample counts for `single_share` of an alarm."""
    single_share: float = 0.82
    spike_settling: float = 12.0
    spike_floor: float = 0.003
    """Smallest relative excess of the loss worth an alarm."""
    spike_release: float = 2.5
    spike_calm: int = 8
    """Consecutive samples below `spike_release` that end a spike."""
    step_after: int = 32
    """Samples after which an excursion that stays flat is a step up, and one that keeps rising a divergence."""
    spike_longest: int = 600
    """After so many samples a spike is a step up, whatever its shape."""
    outlier: float = 20.0
    """Height of an outlier that is worth a warning; smaller ones are minor."""
    outlier_longest: int = 2
    """Excursions of at most so many samples are outliers."""
    minor: float = 5.0
    """A single z-score worth a minor alert."""
    drop: float = 12.0
    """Accumulated excess, downwards, that starts the check for a sudden drop."""
    drop_confirm: int = 16
    """Samples that a sudden drop must last to be a step down."""
    step: float = 7.0
    """z-score of the difference of window means for a step of the loss."""
    stall: int = 25
    """Identical values in a row."""
    merge: int = 8
    """Excursions of one kind at most so many samples apart are one."""
    temperature_z: float = 5.2
    """z-score of a jump of the temperature of a single layer; for more, Benjamini–Hochberg at the same level."""
    noise_z: float = 4.6
    """The same for the size of the loss noise."""
    temperature_ratio: float = 1.45
    drift_ratio: float = 1.6
    drift_p: float = 0.01
    """Level of each scheduled look of the stationarity test."""
    colour: float = 0.45
    """Lag-1 autocorrelation of the loss noise."""
    colour_z: float = 6.0
    colour_lags: float = 0.1
    """Autocorrelation of η at any lag beyond the epoch echo that is worth an alert, if it is significant."""
    fdr: float = 0.05
    """Benjamini–Hochberg false-discovery rate across layers."""
    kurtosis: float = 100.0
    """Excess kurtosis of η's components, median over 4 measurements."""
    reversibility_gap: float = 1.0
    """Gap of the step back: at 1 it misses by the whole step forward."""
    standard_errors: float = 3.0
    """How far beyond its error a thermodynamic law must be broken."""
    saturation: float = 0.9
    """Fraction of ln K at which the lower bound of L-info counts as saturated."""
    sampler_disagreement: float = 0.5
    """Relative disagreement of the two estimates of the work over 16 rows."""
    sample_size: float = 10.0
    """Smallest effective sample size that still supports an average."""
    interval: int = 64
    """Shortest valid interval, in steps."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for the header of a run log."""
        return asdict(self)

    @staticmethod
    def from_dict(values: dict[str, Any]) -> Settings:
        """The inverse of `to_dict`; names that this version does not know are an InputError."""
        known = {field.name for field in fields(Settings)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise InputError(
                f"detector settings {', '.join(unknown)} are unknown; known are {', '.join(sorted(known))}."
            )
        return Settings(**values)


_DEFAULT = Settings()

PRESETS: dict[str, Settings] = {
    "quiet": replace(
        _DEFAULT, spike=9.0, spike_settling=18.0, spike_floor=0.01, step=9.0, temperature_z=7.0, noise_z=7.2,
        temperature_ratio=1.8, drift_ratio=2.0, drift_p=0.001, colour=0.6, colour_z=9.0, standard_errors=5.0,
    ),
    "default": _DEFAULT,
    "sensitive": replace(
        _DEFAULT, spike=4.0, spike_settling=9.0, spike_floor=0.001, step=6.0, temperature_z=5.0, noise_z=4.3,
        temperature_ratio=1.3, drift_ratio=1.4, drift_p=0.02, colour=0.35, colour_z=5.6,
    ),
}  # fmt: skip


def preset(name: str) -> Settings:
    """The preset of that name; InputError naming the known ones otherwise."""
    if name not in PRESETS:
        raise InputError(f"there is no preset '{name}'; use one of {', '.join(PRESETS)}.")
    return PRESETS[name]
