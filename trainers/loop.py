"""Runs a training into its log: progress, alerts, checkpoints, signals, and the end in every case said."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from thermotui.detect.alert import Alert
from thermotui.errors import InputError
from thermotui.runlog.reader import RunLogReader
from thermotui.runlog.schema import State
from thermotui.runlog.writer import RunLogWriter
from trainers.checkpoint import Checkpoints, checkpoint_path, load_checkpoint
from trainers.config import TrainConfig, from_flat, refuse_existing
from trainers.header import make_header
from trainers.recorder import rows_from
from trainers.signals import StopWish, catching
from trainers.training import Training

FLUSH_SECONDS = 0.25
CHECKPOINT_SECONDS = 60.0


@dataclass(frozen=True)
class Progress:
    """Where a run is: the last step done, of how many, and its loss and accuracy (means over the ensemble)."""

    step: int
    steps: int
    loss: float
    accuracy: float


@dataclass(frozen=True)
class Outcome:
    """How a run ended. `signal`: the number of the signal that ended it, 0 where none did."""

    state: State
    step: int
    message: str
    log: Path
    signal: int = 0


Report = Callable[[Progress], None]


def train(family: str, config: TrainConfig, options: Any, log: Path, report: Report) -> Outcome:
    """Train a family from its first step into a new log; InputError before anything is written."""
    refuse_existing(log)
    training = _built(family, config, options)
    header = make_header(
        training.family,
        config,
        options,
        estimator=training.meter.estimator,
        detectors=asdict(training.settings),
        notes=training.meter.notes,
    )
    with RunLogWriter.create(log, header) as writer:
        return _run(training, writer, report)


def resume(log: Path, steps: int | None, report: Report) -> Outcome:
    """Continue the run of `log` from its last checkpoint, exactly as if it had never stopped.

    steps: a new number of steps, None for the planned one. Raises InputError where the log or its checkpoint cannot be
    read, do not belong together, or the run has no steps left.
    """
    with RunLogReader(log) as reader:
        header = reader.header
        # Killed before its first step: there is nothing to lose in starting again.
        unborn = reader.length("steps") == 0 and not checkpoint_path(log).exists()
    checkpoint = None if unborn else load_checkpoint(log, header)
    config, options = from_flat(header.family, header.config)
    planned = max(config.steps, header.steps)
    config = replace(config, steps=steps or planned)
    if checkpoint is not None:
        # Its random numbers go on only on the kind of device that they began on, whichever `auto` would take here.
        config = replace(config, device=checkpoint.get("device", config.device))
        if config.device == "cuda" and not torch.cuda.is_available():
            raise InputError(
                f"{checkpoint_path(log)}: was saved on cuda, which PyTorch does not find here; resume where it does."
            )
    if checkpoint is not None and checkpoint["step"] >= config.steps:
        done = checkpoint["step"]
        of = f"its {done}" if done >= planned else f"{done} of its {planned}"
        raise InputError(f"{log}: the run has done {of} steps; give --steps a number above {done} to go on.")
    training = _built(header.family, config, options)
    if checkpoint is not None:
        _restore(training, checkpoint, log)
    with RunLogWriter.resume(log, -1 if unborn else training.step, steps=config.steps) as writer:
        return _run(training, writer, report, begun=not unborn)


def _built(family: str, config: TrainConfig, options: Any) -> Training:
    try:
        return Training(family, config, options)
    except (MemoryError, RuntimeError) as error:
        # On the host torch says it with a RuntimeError like any other, which names its allocator.
        if not isinstance(error, MemoryError | torch.OutOfMemoryError) and "DefaultCPUAllocator" not in str(error):
            raise
        raise InputError(
            f"{config.ensemble} members of this {family} need more memory than there is: take a smaller model or fewer "
            "with --ensemble."
        ) from error


def _restore(training: Training, checkpoint: dict[str, Any], log: Path) -> None:
    try:
        training.load_state_dict(checkpoint)
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        # torch says RuntimeError of tensors that do not fit; the rest is what a state of another form leads to.
        raise InputError(f"{checkpoint_path(log)}: was saved by another version of thermotui ({error!r}).") from error


def _run(training: Training, writer: RunLogWriter, report: Report, *, begun: bool = False) -> Outcome:
    """Train to the last step, a signal, or an alert that the options name; log all the while."""
    config = training.config
    began = training.step
    flushed = 0.0
    saved = time.monotonic()
    reason = ""
    checkpoints = Checkpoints(writer)
    # The numbers of a run that diverges leave the range of floats: the log has them as they are and the alerts tell of
    # them, numpy's warnings would only fill the terminal.
    with catching() as wish, np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        if not begun:
            training.begin()
            _flush(training, writer)
            _save(training, writer, checkpoints)
        while training.step < config.steps and not reason:
            training.advance()
            now = time.monotonic()
            ends = training.step == config.steps or wish.signal is not None
            saves = ends or _checkpoint_due(training, now - saved)
            if ends or saves or training.block_is_full or now - flushed >= FLUSH_SECONDS:
                flushed = now
                alerts = _flush(training, writer, report)
                reason = _reason_to_stop(training, wish, alerts, began)
                if saves or reason:
                    saved = now
                    _save(training, writer, checkpoints)
        state: State = "interrupted" if reason else "finished"
        writer.close(state, reason)
    return Outcome(state, training.step, reason, writer.path, wish.signal or 0)


def _save(training: Training, writer: RunLogWriter, checkpoints: Checkpoints) -> None:
    """A checkpoint, after all rows up to its step have reached the file."""
    writer.flush()
    checkpoints.save(training.state_dict())


def _checkpoint_due(training: Training, elapsed: float) -> bool:
    every = training.config.checkpoint_every
    return training.step % every == 0 if every else elapsed >= CHECKPOINT_SECONDS


def _flush(training: Training, writer: RunLogWriter, report: Report | None = None) -> list[Alert]:
    """Move everything measured since the last call to the log; the alerts that it raised or ended."""
    steps = training.recorder.drain()
    reservoir, autocorrelation = training.meter.drain()
    streams = {
        "steps": steps,
        "thermo": rows_from(training.thermo, writer.dtype("thermo")),
        "members": rows_from(training.members, writer.dtype("members")),
        "reservoir": reservoir,
        "autocorrelation": autocorrelation,
    }
    training.thermo.clear()
    training.members.clear()
    alerts: list[Alert] = []
    for name, rows in streams.items():
        writer.append_rows(name, rows)
        if name != "members":
            alerts += training.monitor.feed(name, rows)
    for alert in alerts:
        values = asdict(alert) | {"end": -1 if alert.end is None else alert.end}
        writer.append("alerts", time=time.time(), **values)
    writer.heartbeat(training.step)
    if report is not None and len(steps):
        last = steps[-1]
        report(Progress(training.step, training.config.steps, float(last["loss"]), float(last["accuracy"])))
    return alerts


def _reason_to_stop(training: Training, wish: StopWish, alerts: Sequence[Alert], began: int) -> str:
    if wish.signal is not None:
        return f"stopped by {wish.signal.name} after step {training.step}"
    for alert in alerts:
        # The end of an alert that was raised before a resume is no news; some kinds are raised when already over.
        if alert.kind in training.config.stop_on and alert.step > began and not alert.withdrawn:
            return f"stopped on {alert.kind} at step {alert.step}: {alert.message}"
    return ""
