"""What one takes away from the screen: the view as a picture and as text, its numbers as JSON, a value as a line."""

from __future__ import annotations

import json
import math
import re
import time
from pathlib import Path
from typing import Any

import numpy as np

from thermotui.analysis.format import printable
from thermotui.analysis.snapshot import RunSnapshot
from thermotui.errors import InputError
from thermotui.tui.charts.axes import read_out
from thermotui.tui.charts.chart import Chart
from thermotui.tui.charts.numbers import format_value


def snapshot_data(snapshot: RunSnapshot) -> dict[str, Any]:
    """The numbers behind a view: each stream's buckets with the schema's names; NaN and infinities as None."""
    header = snapshot.header
    return {
        "file": snapshot.path,
        "run_id": header.run_id,
        "family": header.family,
        "stride": header.stride,
        "ensemble": header.ensemble,
        "ensemble_varies": header.ensemble_varies,
        "marginal": header.marginal,
        "step": snapshot.summary.step,
        "smoothing": snapshot.smoothing,
        "curves": {
            stream: {
                "rows_per_bucket": overview.width,
                "step_first": overview.step_first.tolist(),
                "step_last": overview.step_last.tolist(),
                "fields": {
                    name: {
                        "mean": _plain(overview.mean[name]),
                        "minimum": _plain(overview.minimum[name]),
                        "maximum": _plain(overview.maximum[name]),
                    }
                    for name in overview.mean
                },
            }
            for stream, overview in snapshot.curves.items()
        },
        "alerts": [
            {
                "kind": alert.kind,
                "layer": alert.layer,
                "start": alert.start,
                "end": alert.end,
                "severity": alert.severity,
                "p_value": alert.p_value if math.isfinite(alert.p_value) else None,
                "message": alert.message,
            }
            for alert in snapshot.alerts
        ],
    }


def _plain(values: np.typing.NDArray[np.floating[Any]]) -> Any:
    plain = values.astype(object)
    plain[~np.isfinite(values)] = None
    return plain.tolist()


def save_view(folder: Path, view: str, svg: str, text: str, snapshots: tuple[RunSnapshot, ...]) -> tuple[Path, ...]:
    """Write picture, text and numbers beside each other, never over another file. InputError where that fails."""
    run = re.sub(r"[^\w.-]+", "_", snapshots[0].summary.name) if snapshots else "runs"
    stem = f"{run}-{view}-{time.strftime('%Y%m%d-%H%M%S')}"
    data = json.dumps([snapshot_data(snapshot) for snapshot in snapshots], allow_nan=False)
    files = tuple(folder / f"{stem}.{ending}" for ending in ("svg", "txt", "json"))
    try:
        for file, content in zip(files, (svg, text, data), strict=True):
            with file.open("x", encoding="utf-8") as out:
                out.write(content)
    except OSError as error:
        raise InputError(f"{folder}: cannot save the view there ({error.strerror})") from error
    return files


def values_line(chart: Chart) -> str:
    """The values that a chart's header shows, at the cursor or the newest, as one line of text."""
    if chart.data is None or not chart.data.series:
        return ""
    cursor = chart.view.cursor
    parts = []
    for series in chart.data.series:
        value, error = read_out(series, cursor)
        parts.append(f"{series.name} {format_value(value, error, chart.data.unit, exact=series.exact)}")
    place = float(chart.data.extent()[1]) if cursor is None else cursor
    notes = f" ({', '.join(chart.data.notes)})" if chart.data.notes else ""
    return printable(f"{chart.data.x_label} {place:.0f}: {', '.join(parts)}{notes}")
