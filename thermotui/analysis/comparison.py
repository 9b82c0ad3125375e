"""Where runs differ: configuration, balance sheet, temperatures, alerts. The answer of `compare`, as data."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from thermotui.analysis.balance import TOTALS
from thermotui.analysis.inspection import Inspection
from thermotui.analysis.temperatures import ratio
from thermotui.detect.alert import OF_STATE

NOT_COMPARED = {"layers", "config", "versions", "notes", "figures", "detectors", "run_id", "created", "host", "pid"}
"""Header fields that differ between any two runs, or are compared in their own right."""


@dataclass(frozen=True)
class FigureComparison:
    """One figure in every run: values and standard errors in nats, NaN where a run lacks it.

    `deviation` is the largest difference from the first run in units of its standard error; NaN without errors.
    `comparable` is False where the runs' strides differ and the figure depends on the stride.
    """

    name: str
    values: tuple[float, ...]
    standard_errors: tuple[float, ...]
    deviation: float
    comparable: bool


@dataclass(frozen=True)
class TemperatureComparison:
    """Mean temperature of one layer in every run with its standard error, nats; NaN where a run lacks the layer.

    The error is an upper bound in an ensemble that varies the data.
    """

    values: tuple[float, ...]
    standard_errors: tuple[float, ...]

    def ratio(self, run: int) -> tuple[float, float]:
        """The temperature in a run over that in the first, with its standard error."""
        figures = list(zip(self.values, self.standard_errors, strict=True))
        return ratio(figures[run], figures[0])


@dataclass(frozen=True)
class Comparison:
    """Runs side by side, in the order given.

    temperatures: by the layer's name. alerts: how many of each kind, None where a run was not searched for them.
    """

    files: tuple[str, ...]
    steps: tuple[int, ...]
    configuration: dict[str, tuple[Any, ...]]
    figures: tuple[FigureComparison, ...]
    temperatures: dict[str, TemperatureComparison]
    alerts: dict[str, tuple[int | None, ...]]
    remarks: tuple[str, ...]


def compare_runs(inspections: Sequence[Inspection]) -> Comparison:
    """Compare two runs or more."""
    strides = {inspection.header.stride for inspection in inspections}
    return Comparison(
        files=tuple(str(inspection.path) for inspection in inspections),
        steps=tuple(inspection.state.step for inspection in inspections),
        configuration=_configuration(inspections),
        figures=_figures(inspections, same_stride=len(strides) == 1),
        temperatures=_temperatures(inspections),
        alerts=_alerts(inspections),
        remarks=_remarks(inspections),
    )


def _configuration(inspections: Sequence[Inspection]) -> dict[str, tuple[Any, ...]]:
    described = []
    for inspection in inspections:
        header = {name: value for name, value in asdict(inspection.header).items() if name not in NOT_COMPARED}
        described.append(header | {f"config.{name}": value for name, value in inspection.header.config.items()})
    names = dict.fromkeys(name for description in described for name in description)
    rows = {name: tuple(description.get(name) for description in described) for name in names}
    return {name: values for name, values in rows.items() if any(value != values[0] for value in values[1:])}


def _figures(inspections: Sequence[Inspection], *, same_stride: bool) -> tuple[FigureComparison, ...]:
    sheets = [
        {} if inspection.balance is None else {figure.name: figure for figure in inspection.balance.figures}
        for inspection in inspections
    ]
    comparisons = []
    for name in dict.fromkeys(name for sheet in sheets for name in sheet):
        values = tuple(sheet[name].value if name in sheet else math.nan for sheet in sheets)
        errors = tuple(sheet[name].standard_error if name in sheet else math.nan for sheet in sheets)
        deviations = [
            abs(value - values[0]) / math.hypot(error, errors[0])
            for value, error in zip(values[1:], errors[1:], strict=True)
            if math.hypot(error, errors[0]) > 0
        ]
        comparable = same_stride or name not in (*TOTALS, "learning_efficiency")
        deviation = max(deviations, default=math.nan) if comparable else math.nan
        comparisons.append(FigureComparison(name, values, errors, deviation, comparable))
    return tuple(comparisons)


def _temperatures(inspections: Sequence[Inspection]) -> dict[str, TemperatureComparison]:
    by_layer = [{t.name: (t.mean, t.mean_se) for t in inspection.temperatures} for inspection in inspections]
    names = dict.fromkeys(name for layers in by_layer for name in layers)
    missing = math.nan, math.nan
    return {
        name: TemperatureComparison(*zip(*(layers.get(name, missing) for layers in by_layer), strict=True))
        for name in names
    }


def _alerts(inspections: Sequence[Inspection]) -> dict[str, tuple[int | None, ...]]:
    counts = [Counter(alert.kind for alert in inspection.alerts) for inspection in inspections]
    searched = [inspection.alerts_searched_to is None for inspection in inspections]
    return {
        kind: tuple(
            count[kind] if kind in count or all_found or kind in OF_STATE else None
            for count, all_found in zip(counts, searched, strict=True)
        )
        for kind in sorted(set().union(*counts))
    }


def _remarks(inspections: Sequence[Inspection]) -> tuple[str, ...]:
    headers = [inspection.header for inspection in inspections]
    remarks = []
    strides = sorted({header.stride for header in headers})
    if len(strides) > 1:
        remarks.append(
            f"strides differ ({', '.join(map(str, strides))}): work, heat and entropy productions belong to different "
            "processes and are not compared; W + Q, the entropies and L-info are"
        )
    if len({header.ensemble for header in headers}) > 1:
        remarks.append("ensemble sizes differ: the lower bound of L-info is capped at ln K of each")
    if len({header.ensemble_varies for header in headers}) > 1:
        remarks.append("one ensemble varies the seed (I(X;Θ|B)), another the data (I(X;Θ)): different informations")
    bounded = [str(run.path) for run in inspections if any(layer.errors_bound for layer in run.temperatures)]
    if bounded:
        remarks.append(
            f"members have data of their own in {', '.join(bounded)}: the errors of the mean temperatures and of their "
            "ratios are upper bounds"
        )
    if len({inspection.state.step for inspection in inspections}) > 1:
        remarks.append("the runs stand at different steps: running totals are compared as they stand")
    run_ids = [header.run_id for header in headers if header.world_size > 1]
    if len(set(run_ids)) < len(run_ids):
        which = ", ".join(f"{run.path} is rank {run.header.rank}" for run in inspections if run.header.world_size > 1)
        remarks.append(f"some are ranks of one run, not runs of their own: {which}")
    unsearched = [str(inspection.path) for inspection in inspections if inspection.alerts_searched_to is not None]
    if unsearched:
        remarks.append(
            f"no alerts were recorded, nor searched, in {', '.join(unsearched)}: `thermotui scan` finds them"
        )
    return tuple(remarks)
