"""What a chart is told: frozen data that a reading thread may hand to the screen."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from thermotui.errors import InputError

Floats = NDArray[np.float64]
Severity = Literal["minor", "warning", "critical"]
Scale = Literal["linear", "log", "symlog"]
SCALES: tuple[Scale, ...] = ("linear", "log", "symlog")


class RowValue(NamedTuple):
    """The value and standard error in one row of the log; a point may be the mean of many.

    at: the step asked for, under the cursor, at or before which the row is; None for the newest row shown.
    """

    value: float
    error: float | None
    at: int | None = None


@dataclass(frozen=True, eq=False)
class SeriesData:
    """One curve: points in order of x, each the summary of the rows from its x to the next point's.

    Every array has shape [n], float64. low, high, mean: minimum, maximum and mean of the rows of a point (equal where
    a point is one row); NaN where nothing was measured, which leaves a gap. se_low, se_high: lower and upper edge of
    the error band around the mean, in the unit of the data; None where the figure is exact or has no error.
    """

    name: str
    x: Floats
    low: Floats
    high: Floats
    mean: Floats
    se_low: Floats | None = None
    se_high: Floats | None = None
    colour_role: str = "series_1"
    exact: bool = False
    """Whether the figure is exact, so that its read-out says so instead of naming an error."""
    row: RowValue | None = None
    """What the header says; None, or where it is of another place than the cursor, takes it from the nearest point."""
    short: str = ""
    """The name where the chart is narrow; empty for the name itself."""

    def __post_init__(self) -> None:
        if (self.se_low is None) != (self.se_high is None):
            raise InputError(f"series {self.name}: give both edges of the error band, or neither")
        for field_name in ("low", "high", "mean", "se_low", "se_high"):
            values = getattr(self, field_name)
            if values is not None and values.shape != self.x.shape:
                raise InputError(f"series {self.name}: {field_name} has shape {values.shape}, x has {self.x.shape}")


class Mark(NamedTuple):
    """An alert on the axis: at the step `x`, drawn in the colour of its severity."""

    x: float
    severity: Severity = "warning"
    label: str = ""


class Shade(NamedTuple):
    """An interval [start, end) of x whose background is shaded: there the reservoir assumption holds."""

    start: float
    end: float


@dataclass(frozen=True, eq=False)
class ChartData:
    """All that one chart shows. `x_range` is the whole run, in steps; None takes it from the points.

    `growing` says that rows are still being appended: the right edge then moves in few large jumps, at last to the
    step `planned` where that is known, so that new data change only the rightmost cells; otherwise the data fill the
    width.
    """

    title: str
    unit: str = ""
    series: tuple[SeriesData, ...] = ()
    marks: tuple[Mark, ...] = ()
    shades: tuple[Shade, ...] = ()
    x_range: tuple[float, float] | None = None
    x_label: str = "step"
    growing: bool = True
    planned: float | None = None
    least: float = 0.0
    """Steps that the axis of a growing run covers at least, unless fewer are planned."""
    totals: bool = False
    """Whether these are running totals, which get room to grow into."""
    notes: tuple[str, ...] = field(default=())
    """Short remarks shown in the header, such as the stride."""
    short: str = ""
    """The title where the chart is narrow; empty for the title itself."""

    def extent(self) -> tuple[float, float]:
        """First and last x of the whole run; (0, 1) where there is no point yet."""
        if self.x_range is not None:
            return self.x_range
        filled = [series.x for series in self.series if series.x.size]
        if not filled:
            return 0.0, 1.0
        return min(float(x[0]) for x in filled), max(float(x[-1]) for x in filled)


def raw_series(
    name: str,
    x: ArrayLike,
    values: ArrayLike,
    standard_error: ArrayLike | None = None,
    *,
    colour_role: str = "series_1",
    exact: bool = False,
) -> SeriesData:
    """A series of plain points [n]; the error band is the value ± one standard error. Raises InputError on shapes."""
    position = np.ascontiguousarray(x, dtype=np.float64)
    value = np.ascontiguousarray(values, dtype=np.float64)
    if standard_error is None:
        return SeriesData(name, position, value, value, value, None, None, colour_role, exact)
    error = np.asarray(standard_error, dtype=np.float64)
    return SeriesData(name, position, value, value, value, value - error, value + error, colour_role, exact)


def colour_roles(names: Iterable[str], count: int = 8) -> dict[str, str]:
    """Stable colours: the i-th name takes series_{i+1}, and after `count` names the colours come round again."""
    return {name: f"series_{index % count + 1}" for index, name in enumerate(names)}
