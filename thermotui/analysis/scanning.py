"""What a file's anomalies and valid reservoir intervals are: the core of `scan`, over the same alerts as the screen."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from thermotui.analysis.evidence import Evidence, Transition, interval_evidence, transitions
from thermotui.analysis.monitoring import MONITORED, AlertFollower, monitor_of
from thermotui.analysis.series import COLUMN, Series, read_series
from thermotui.detect.alert import Alert
from thermotui.detect.book import AlertBook
from thermotui.detect.intervals import Interval, valid_intervals
from thermotui.detect.loss import LossDetector
from thermotui.detect.settings import Settings
from thermotui.runlog.paths import is_plain_file, unreadable
from thermotui.runlog.reader import RunLogReader

_LOG_SUFFIXES = (".h5", ".hdf5")
_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_BLOCK = 100_000


@dataclass(frozen=True)
class Scan:
    """What was found in one file. `layers` names what an alert's `layer` counts; `column` is "" for a run log."""

    file: Path
    column: str
    layers: tuple[str, ...]
    last_step: int
    alerts: tuple[Alert, ...]
    intervals: tuple[Interval, ...]
    evidence: tuple[Evidence, ...]
    """What the log says within each interval, in their order; for a run log alone."""
    transitions: tuple[Transition, ...] = ()
    """What was gained while alerts broke the reservoir assumption; for a run log alone."""


def is_run_log(path: Path) -> bool:
    """Whether `path` is to be read as a run log: by its name, or by the HDF5 signature."""
    if path.suffix in _LOG_SUFFIXES:
        return True
    if not is_plain_file(path):
        return False
    try:
        with path.open("rb") as file:
            return file.read(len(_SIGNATURE)) == _SIGNATURE
    except OSError as error:
        raise unreadable(path, error) from error


def scan_file(
    path: Path, *, settings: Settings | None = None, column: str = COLUMN, step_column: str | None = None
) -> Scan:
    """Scan a run log, or column `column` of another tool's file.

    `settings` None: a log's recorded alerts where its writer recorded any, the same as on the screen; else the
    detectors run over its rows with these settings. InputError for a file that is neither or cannot be read.
    """
    if is_run_log(path):
        return _scan_log(path, settings)
    return scan_series(path, read_series(path, column, step_column), settings or Settings())


def scan_series(path: Path, series: Series, settings: Settings) -> Scan:
    """Run the detectors of a scalar series over it."""
    book = AlertBook()
    LossDetector(settings, book, series.column).feed(series.steps, series.values)
    last = int(series.steps[-1])
    first = int(series.steps[0])
    spacing = max((last - first) // max(len(series.steps) - 1, 1), 1)
    intervals = valid_intervals(book.alerts, last, first_step=first, minimum=settings.interval * spacing)
    return Scan(path, series.column, (), last, book.alerts, tuple(intervals), ())


def _scan_log(path: Path, settings: Settings | None) -> Scan:
    with RunLogReader(path) as log:
        layers = tuple(layer.name for layer in log.header.layers)
        state = log.state()
        follower = AlertFollower(log.header)
        if settings is None:
            while not follower.follow(log, state):
                pass
            alerts, intervals = follower.alerts, follower.valid_intervals(state.step)
        else:
            monitor = monitor_of(log.header, settings)
            for stream in MONITORED:
                for start in range(0, log.length(stream), _BLOCK):
                    monitor.feed(stream, log.read(stream, start=start, stop=start + _BLOCK))
            alerts = monitor.alerts
            intervals = tuple(
                interval
                for layer in (None, *range(len(layers)))
                for interval in monitor.valid_intervals(state.step, layer)
            )
        evidence = tuple(
            interval_evidence(log, interval, grows=state.state == "running" and interval.end > state.step)
            for interval in intervals
        )
        broken = transitions(log, alerts, state.step)
    return Scan(path, "", layers, state.step, alerts, intervals, evidence, broken)


def to_json(scan: Scan) -> dict[str, Any]:
    """Stable keys; NaN as None, since JSON has no NaN."""
    intervals: list[dict[str, Any]] = [asdict(interval) for interval in scan.intervals]
    for interval, evidence in zip(intervals, scan.evidence, strict=False):
        interval |= {name: _plain(value) for name, value in asdict(evidence).items()}
    return {
        "file": str(scan.file),
        "alerts": [{name: _plain(value) for name, value in asdict(alert).items()} for alert in scan.alerts],
        "valid_intervals": intervals,
        "transitions": [
            {name: _plain(value) for name, value in asdict(transition).items()} for transition in scan.transitions
        ],
    }


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
