"""The colour of η: judged by the bound that the log gives for white noise."""

import numpy as np

from thermotui.detect.colour import coloured_layers
from thermotui.detect.settings import Settings

WINDOW, LAGS = 256, 16


def test_a_colour_beyond_the_narrow_bound_of_many_projections_is_seen() -> None:
    echo = np.eye(1, LAGS)[0]
    correlation = np.tile(echo, (2, 1))
    correlation[1, 3] = 0.2
    narrow, wide = (1.96 / np.sqrt(WINDOW * independent) for independent in (4, 1))
    (found,) = coloured_layers(correlation, echo, WINDOW, Settings(), narrow)
    assert (found.layer, found.lag) == (1, 3)
    assert not coloured_layers(correlation, echo, WINDOW, Settings(), wide)
    # A log without a bound is judged as one series.
    assert not coloured_layers(correlation, echo, WINDOW, Settings())


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
