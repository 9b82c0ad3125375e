"""What a run is and whether its thermodynamics adds up: the answer of `inspect`, as data."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from thermotui.analysis.balance import BalanceSheet, balance_sheet
from thermotui.analysis.monitoring import AlertFollower, alert_of_state
from thermotui.analysis.ranks import Rank, ranks_beside
from thermotui.analysis.temperatures import LayerTemperature, layer_temperatures
from thermotui.detect.alert import Alert
from thermotui.runlog.reader import RunLogReader
from thermotui.runlog.schema import STREAMS, Header
from thermotui.runlog.state import RunState


@dataclass(frozen=True)
class Inspection:
    """One run log read once. `loss` is the mean of the last 64 rows of `steps`; NaN while there is none.

    alerts_searched_to: None where `alerts` are all that there are. −1 for a long log whose writer recorded none: no row
    of it is searched here, since searching all of them is the work of `scan`.
    """

    path: Path
    header: Header
    state: RunState
    rows: dict[str, int]
    loss: float
    loss_first: float
    balance: BalanceSheet | None
    temperatures: tuple[LayerTemperature, ...]
    alerts: tuple[Alert, ...]
    alerts_searched_to: int | None
    ranks: tuple[Rank, ...]
    """All ranks of a distributed run, this one included; empty for a run of one process."""


def inspect_run(path: Path) -> Inspection:
    """Read the log at `path`. Raises RunLogError (an InputError) where it cannot be read."""
    with RunLogReader(path) as log:
        state = log.state()
        follower = AlertFollower(log.header)
        searched = follower.one_call_does(log)
        if searched:
            follower.follow(log, state)
        state_alert = alert_of_state(state)
        rows = {name: log.length(name) for name in STREAMS}
        steps = rows["steps"]
        first = log.read("steps", ["loss"], 0, min(64, steps))["loss"]
        last = log.read("steps", ["loss"], max(0, steps - 64), steps)["loss"]
        return Inspection(
            path=path,
            header=log.header,
            state=state,
            rows=rows,
            loss=float(last.mean()) if len(last) else math.nan,
            loss_first=float(first.mean()) if len(first) else math.nan,
            balance=balance_sheet(log),
            temperatures=layer_temperatures(log),
            alerts=follower.alerts if searched else (state_alert,) if state_alert else (),
            alerts_searched_to=None if searched else -1,
            ranks=ranks_beside(Path(path), log.header),
        )


def to_json(inspection: Inspection) -> dict[str, Any]:
    """Stable keys, the schema's names; numbers that are not finite become null."""
    balance = inspection.balance
    document = {
        "file": str(inspection.path),
        "state": asdict(inspection.state),
        "header": asdict(inspection.header),
        "rows": inspection.rows,
        "loss": inspection.loss,
        "balance": None
        if balance is None
        else {
            "step": balance.step,
            "stride": balance.stride,
            "adds_up": balance.adds_up,
            "figures": {
                figure.name: {
                    "value": figure.value,
                    "standard_error": figure.standard_error,
                    "unit": figure.unit,
                    "kind": figure.kind,
                }
                for figure in balance.figures
            },
            "checks": [asdict(check) for check in balance.checks],
        },
        "temperatures": [asdict(temperature) for temperature in inspection.temperatures],
        "alerts": [asdict(alert) for alert in inspection.alerts],
        "alerts_searched_to": inspection.alerts_searched_to,
        "ranks": [asdict(rank) for rank in inspection.ranks],
    }
    cleaned: dict[str, Any] = finite(document)
    return cleaned


def finite(value: Any) -> Any:
    """JSON has no NaN and no infinity."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
