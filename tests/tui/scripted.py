"""Run logs written to a script, small and exact, for tests of the screen."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from thermotui.detect.settings import Settings
from thermotui.runlog.schema import Header, Layer, State
from thermotui.runlog.writer import RunLogWriter

CREATED = 1_760_000_000.0


def header(
    run_id: str = "scripted", *, layers: int = 4, steps: int = 2000, stride: int = 10, **changes: object
) -> Header:
    values: dict[str, object] = {
        "run_id": run_id,
        "created": CREATED,
        "family": "softmax",
        "layers": tuple(Layer(f"linear{index}", 1000 * (index + 1), "within-batch") for index in range(layers)),
        "ensemble": 8,
        "ensemble_varies": "data",
        "stride": stride,
        "reservoir_stride": 5,
        "lags": 8,
        "steps": steps,
        "batch_size": 10,
        "dataset_size": 1797,
        "marginal": "ensemble",
        "figures": {"work": "exact", "l_info_lower": "lower bound", "l_info_upper": "upper bound"},
        "detectors": Settings().to_dict(),
        "config": {"family": "softmax", "learning_rate": 0.1, "seed": 3},
    }
    return Header(**(values | changes))


def write_rows(writer: RunLogWriter, first: int, last: int, *, start_time: float = CREATED) -> None:
    """Rows of the steps [first, last): an exponential learning curve, with noise from the step alone."""
    head = writer.header
    for step in range(first, last):
        decay = float(np.exp(-step / 500))
        noise = float(np.sin(step * 12.9898) * 0.05)
        writer.append(
            "steps", step=step, time=start_time + step * 0.01, loss=0.1 + 2.2 * decay + noise * decay,
            accuracy=0.98 - 0.88 * decay, learning_rate=0.1, gradient_norm=1 + decay,
            loss_spread=0.02, accuracy_spread=0.01,
        )  # fmt: skip
        if step % head.stride == 0:
            work, heat = 3 * (1 - decay), -5 * (1 - decay)
            ignorance = -0.2 * (1 - decay) - heat - work
            writer.append(
                "thermo", step=step, time=start_time + step * 0.01, work=work, work_se=0.0, heat=heat, heat_se=0.05,
                entropy_conditional=2.3 + work + heat, entropy_conditional_se=0.01,
                entropy_marginal=2.3 - 0.2 * (1 - decay), entropy_marginal_se=0.01, ep_conditional=work,
                ep_conditional_se=0.0, ep_marginal=ignorance + work, ep_marginal_se=0.05, ep_ignorance=ignorance,
                ep_ignorance_se=0.05, l_info_lower=ignorance, l_info_lower_se=0.02,
                l_info_upper=1.3 * ignorance, l_info_upper_se=0.03, m_info=-heat, m_info_se=0.05,
                learning_efficiency=0.36, learning_efficiency_se=0.01, first_law_residual=0.0,
                first_law_residual_se=1e-12,
            )  # fmt: skip
        if step % head.reservoir_stride == 0:
            layers = np.arange(1, len(head.layers) + 1)
            temperature = 1e-4 * layers * (1 + 0.5 * decay)
            writer.append(
                "reservoir", step=step, time=start_time + step * 0.01, mobility=0.1, temperature=temperature,
                temperature_se=temperature / 20, force=0.1 * layers, signal_to_noise=0.02 * layers,
                reversibility_gap=0.05 * layers, drift=0.1 * layers * (1 - decay),
            )  # fmt: skip
        if step % 500 == 499:
            lags = np.arange(head.lags)
            values = np.tile(np.where(lags == 0, 1.0, 0.02 * np.cos(lags)), (len(head.layers), 1))
            writer.append(
                "autocorrelation", step=step, window=500, bound=0.088, autocorrelation=values,
                expected_echo=np.where(lags == 0, 1.0, 0.0),
            )  # fmt: skip


def write_alert(writer: RunLogWriter, kind: str, layer: int, start: int, end: int | None, **changes: object) -> None:
    values = {"severity": "warning", "p_value": 0.001, "message": f"{kind} at step {start}"} | changes
    writer.append(
        "alerts", step=start + 5, time=CREATED + start * 0.01, kind=kind, layer=layer, start=start,
        end=-1 if end is None else end, **values,
    )  # fmt: skip


def scripted_log(
    path: Path, *, rows: int = 2000, state: State | None = "finished", alerts: bool = True, **changes: object
) -> Path:
    """A whole log; `state` None leaves it as a killed writer does, with every row flushed."""
    writer = RunLogWriter.create(path, header(path.stem, **changes))
    write_rows(writer, 0, rows)
    if alerts:
        write_alert(writer, "loss_spike", -1, 700, 760, severity="critical")
        write_alert(writer, "temperature_jump", 1, 1200, None)
    writer.heartbeat(rows - 1)
    writer.flush()
    if state is not None:
        writer.close(state)
    return path


def live_log(path: Path, *, rows: int = 500, **changes: object) -> RunLogWriter:
    """A log that is still being written, up to now."""
    writer = RunLogWriter.create(path, header(path.stem, created=time.time() - rows * 0.01, **changes))
    write_rows(writer, 0, rows, start_time=time.time() - rows * 0.01)
    writer.heartbeat(rows - 1)
    writer.flush()
    return writer
