"""The recorded run with two disturbances, as somebody sees it who does not know where they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.tui.driving import screen
from thermotui.tui.charts.layers import LayerSparklines
from thermotui.tui.charts.raster import GLYPHS
from thermotui.tui.charts.rows import row_layout

DISTURBED = Path(__file__).parents[2] / "sample_runs" / "softmax-disturbed.h5"
STEPS = 4000
DISTURBANCES = ((1500, 1800), (2800, 3000))


def brightness(text: str) -> np.ndarray:
    """Mean height of the dots in each dot column of a row of braille, from the bottom; NaN where there are none."""
    glyphs = GLYPHS["braille"]
    bits = np.array([0 if character == " " else ord(character) - 0x2800 for character in text])
    dots = (bits[:, None, None] & glyphs.weights) > 0
    heights = np.arange(glyphs.down, 0, -1)[None, :, None]
    counts = dots.sum(axis=1)
    with np.errstate(invalid="ignore"):
        return np.asarray((dots * heights).sum(axis=1) / np.where(counts, counts, np.nan)).ravel()


@pytest.mark.parametrize("size", [(160, 48), (80, 24)])
async def test_both_disturbances_are_seen_in_the_temperature_of_every_layer(size: tuple[int, int]) -> None:
    async with screen([DISTURBED], size=size) as pilot:
        rows = pilot.app.screen.query_one(LayerSparklines)
        assert rows.data is not None
        layers = len(rows.data.series)
        names = rows.names(rows.size.width)
        place = row_layout(rows.size.width, names)
        tall = min(max(rows.size.height // layers, 1), rows.TALLEST)
        assert tall == 1, "the hardest case"
        for layer in range(layers):
            heights = brightness(rows.render_line(layer).text[place.name : place.name + place.plot])

            def level(first: float, last: float, heights: np.ndarray = heights) -> float:
                return float(
                    np.nanmean(heights[int(first / STEPS * heights.size) : round(last / STEPS * heights.size)])
                )

            for first, last in DISTURBANCES:
                before, during = level(first - 400, first - 150), level(first, last)
                after = level(last + 200, last + 600)
                assert during > max(before, after) + 0.25, (names[layer], first)
