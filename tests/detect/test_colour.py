"""The colour of η: judged by the bound that the log gives for white noise."""

import numpy as np

from thermotui.detect.colour import coloured_layers
from thermotui.detect.settings import Settings

WINDOW, LAGS = 256, 16


def test_a_wide_bound_is_heeded_and_a_narrow_one_gives_no_more_alerts_than_one_series() -> None:
    echo = np.eye(1, LAGS)[0]
    correlation = np.tile(echo, (2, 1))
    correlation[0, 2], correlation[1, 3] = 0.2, 0.4

    def layers(bound: float) -> list[tuple[int, int]]:
        return [(c.layer, c.lag) for c in coloured_layers(correlation, echo, WINDOW, Settings(), bound)]

    one_series = 1.96 / np.sqrt(WINDOW)
    assert layers(one_series / 4) == layers(one_series) == layers(np.nan) == [(1, 3)]
    # A window whose noise changes its strength carries less.
    assert layers(2 * one_series) == []


def test_white_noise_at_its_bound_raises_no_more_than_its_share_of_alerts() -> None:
    rng = np.random.default_rng(0)
    echo = np.eye(1, LAGS)[0]
    error = 0.1
    looks = 4000
    noise = error * rng.standard_normal((looks, 5, LAGS))
    settings = Settings()
    found = [coloured_layers(echo + values * (echo == 0), echo, WINDOW, settings, 1.96 * error) for values in noise]
    raised = sum(map(bool, found))
    assert raised <= 2 * looks * settings.fdr / 50
