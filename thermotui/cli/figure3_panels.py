"""Figure 3 in the terminal: four panels for each batch size, drawn by the charts of the screen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from rich.text import Text

from thermotui.analysis.figure3 import BatchSizeCurves
from thermotui.tui.charts.model import ChartData, Scale, SeriesData, raw_series
from thermotui.tui.charts.render import columns_of, draw, layout, value_range
from thermotui.tui.charts.scales import fit_axis

HEIGHT = 12
SMALLEST_WIDTH = 40


def render_panels(curves: Sequence[BatchSizeCurves], width: int) -> list[Text]:
    """The panels a to d as lines of at most `width` cells, two panels side by side where there is room."""
    panels: list[tuple[ChartData, Scale]] = [(_parameters(curves), "linear"), (_accuracy(curves), "linear")]
    panels += [(_noise(curves), "log"), (_autocorrelation(curves), "linear")]
    across = 2 if width >= 2 * SMALLEST_WIDTH + 2 else 1
    cells = max((width - 2 * (across - 1)) // across, 1)
    blocks = [_draw(data, scale, cells) for data, scale in panels]
    lines = []
    for first in range(0, len(blocks), across):
        rows = zip(*blocks[first : first + across], strict=True)
        lines += [Text("  ".join(part.ljust(cells) for part in row).rstrip()) for row in rows]
    return lines


def _draw(data: ChartData, scale: Scale, width: int) -> list[str]:
    place, extent = layout(width, HEIGHT), data.extent()
    columns = columns_of(data, extent, place.cells, "braille")
    axis = fit_axis(*value_range(columns)[:2], scale, value_range(columns)[2])
    return [data.title, *draw(replace(data, title=""), columns, place, axis, extent).text()]


def _chart(title: str, series: Sequence[SeriesData], x_label: str = "step") -> ChartData:
    coloured = [replace(one, colour_role=f"series_{index % 8 + 1}") for index, one in enumerate(series)]
    return ChartData(title, series=tuple(coloured), x_label=x_label, growing=False)


def _parameters(curves: Sequence[BatchSizeCurves]) -> ChartData:
    series = [
        raw_series(f"|b|={c.batch_size}", c.steps, c.parameters[:, member])
        for c in curves
        for member in range(c.parameters.shape[1])
    ]
    return _chart("(a) a parameter of the last layer", series)


def _accuracy(curves: Sequence[BatchSizeCurves]) -> ChartData:
    series = [raw_series(f"|b|={c.batch_size}", c.steps, c.accuracy, c.accuracy_spread) for c in curves]
    return _chart("(b) accuracy", series)


def _noise(curves: Sequence[BatchSizeCurves]) -> ChartData:
    return _chart("(c) noise variance", [raw_series(f"|b|={c.batch_size}", c.steps, c.noise_variance) for c in curves])


def _autocorrelation(curves: Sequence[BatchSizeCurves]) -> ChartData:
    series = [
        raw_series(f"|b|={c.batch_size}", np.arange(c.autocorrelation.size), c.autocorrelation)
        for c in curves
        if c.correlation_step is not None
    ]
    return _chart("(d) C(t, lag)", series, "lag")
