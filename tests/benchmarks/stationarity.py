"""Size and power of the stationarity test of ln T, and what looking again and again costs.

    python -m tests.benchmarks.stationarity [--draws 4000] [--seed 100]

Size: the share of stationary series, in seven kinds, that are rejected at a nominal .05. Power: the share rejected of
AR(1) series with ρ = .9, n = 512, σ the standard deviation of ln T, whose T rises by a factor of 1.5, at once in the
middle or at a third, or along a ramp over the middle half. Beside it what a test of size .05 could do that knew ρ, σ,
the factor and that the change is abrupt, in the middle 80 %, but not where: the likelihood ratio averaged over places.
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.typing import NDArray

from tests.detect.test_stationarity import NULLS
from thermotui.detect.stationarity import kpss, scheduled_p_value

NOMINAL = 0.05
CRITICAL = 0.46136  # of the limit, at 5 % (Anderson & Darling 1952)
LENGTHS = (512, 1024, 4096)
SCATTERS = (0.15, 0.2, 0.25, 0.3)
SAMPLES, CORRELATION = 512, 0.9
RATIO = np.log(1.5)


def rejected(series: list[NDArray[np.float64]]) -> float:
    return float(np.mean([kpss(values).statistic > CRITICAL for values in series]))


def size(rng: np.random.Generator, draws: int) -> None:
    print(f"size at a nominal {NOMINAL}, ln T of scatter 0.3, {draws} draws each")
    print(f"{'series':<18}" + "".join(f"{f'n = {n}':>10}" for n in LENGTHS))
    for name, draw in NULLS.items():
        shares = [rejected([0.3 * draw(rng, n) for _ in range(draws)]) for n in LENGTHS]
        print(f"{name:<18}" + "".join(f"{share:>10.3f}" for share in shares))


def log_likelihood(series: NDArray[np.float64], scatter: float) -> NDArray[np.float64]:
    """Of AR(1) series [R, n] with ρ = .9, their mean integrated out, up to a constant."""

    def whitened(x: NDArray[np.float64]) -> NDArray[np.float64]:
        inner = (x[..., 1:] - CORRELATION * x[..., :-1]) / np.sqrt(1 - CORRELATION**2)
        return np.concatenate([x[..., :1], inner], axis=-1) / scatter

    level, white = whitened(np.ones(series.shape[-1])), whitened(series)
    return -0.5 * (np.sum(white**2, axis=-1) - (white @ level) ** 2 / (level @ level))


def oracle(rng: np.random.Generator, draws: int, scatter: float, change: NDArray[np.float64]) -> float:
    """Power of the averaged likelihood ratio against a rise or fall at an unknown place."""
    places = np.arange(SAMPLES // 10, SAMPLES - SAMPLES // 10, 4)

    def ratio(series: NDArray[np.float64]) -> NDArray[np.float64]:
        ratios = [
            log_likelihood(series - sign * RATIO * (np.arange(SAMPLES) >= at), scatter)
            for at in places
            for sign in (-1, 1)
        ]
        return np.logaddexp.reduce(ratios, axis=0) - log_likelihood(series, scatter)

    null = scatter * np.array([NULLS["AR .9"](rng, SAMPLES) for _ in range(draws)])
    other = scatter * np.array([NULLS["AR .9"](rng, SAMPLES) for _ in range(draws)]) + change
    return float(np.mean(ratio(other) > np.quantile(ratio(null), 1 - NOMINAL)))


def power(rng: np.random.Generator, draws: int) -> None:
    t = np.arange(SAMPLES)
    changes = {
        "middle": RATIO * (t >= SAMPLES // 2),
        "at a third": RATIO * (t >= SAMPLES // 3),
        "ramp": RATIO * np.clip((t - SAMPLES / 4) / (SAMPLES / 2), 0, 1),
    }
    print(f"power against T × 1.5, AR(1) with ρ = {CORRELATION}, n = {SAMPLES}")
    print(f"{'scatter of ln T':<18}" + "".join(f"{name:>12}" for name in changes) + f"{'all known but the place':>26}")
    for scatter in SCATTERS:
        shares = [
            rejected([scatter * NULLS["AR .9"](rng, SAMPLES) + change for _ in range(draws)])
            for change in changes.values()
        ]
        best = oracle(rng, min(draws, 1000), scatter, changes["middle"])
        print(f"{scatter:<18}" + "".join(f"{share:>12.3f}" for share in shares) + f"{best:>26.3f}")


def looks(rng: np.random.Generator, draws: int, samples: int = 8192) -> None:
    print(f"share of stationary series ever below {NOMINAL} under the scheduled looks up to n = {samples}")
    for name, draw in NULLS.items():
        share = np.mean([scheduled_p_value(0.3 * draw(rng, samples)) < NOMINAL for _ in range(draws)])
        print(f"{name:<18}{share:>10.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=100)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    size(rng, options.draws)
    power(rng, options.draws)
    looks(rng, options.draws // 2)


if __name__ == "__main__":
    main()
