"""The loop: K members, one batched step at a time, with its ledger, its reservoir, its alerts and its log."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch

from thermotui.detect.alert import Alert
from thermotui.detect.monitor import RunMonitor
from thermotui.detect.settings import Settings
from thermotui.errors import InputError
from thermotui.runlog.schema import CHOSEN_PARAMETERS, State
from thermotui.runlog.writer import RunLogWriter
from thermotui.thermo.ledger import Ledger
from trainers.config import TrainConfig
from trainers.families.ppm import PPM, Batch, layer_norms
from trainers.families.registry import FAMILIES
from trainers.header import LAGS, WINDOW, make_header
from trainers.recorder import StepRecorder, rows_from
from trainers.reservoir import ReservoirMeter
from trainers.schedule import BatchSchedule
from trainers.setup import Setup, pick_device
from trainers.signals import StopWish, catching

FLUSH_SECONDS = 0.25
FULL_GRADIENT_SHARE = 0.1
"""Share of the time that measurements against the full gradient may take by default."""


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


@runtime_checkable
class Corruptible(Protocol):
    """A family whose training labels can be made wrong for a while."""

    def corrupt_labels(self, fraction: float) -> None:
        """From now on that fraction of the labels is wrong; 0 restores them."""
        ...


class Training:
    """One run: everything that a step touches."""

    def __init__(self, family: str, config: TrainConfig, options: Any) -> None:
        """Build model, optimizer, schedule and instruments; InputError for options that do not fit together."""
        self.config = config
        self.options = options
        device = pick_device(config.device)
        setup = Setup(config.ensemble, config.ensemble_varies, config.subsets, config.probe_size, config.seed, device)
        self.family: PPM = FAMILIES[family].build(options, setup)
        self.device = device
        self.step = 0
        self.schedule = BatchSchedule(
            ensemble=config.ensemble,
            dataset_size=self.family.dataset_size,
            batch_size=config.batch_size,
            replacement=config.replacement,
            generator=setup.generator("batches"),
        )
        self.optimizer = make_optimizer(config, self.family.module)
        self.ledger = Ledger(config.ensemble)
        self.settings = Settings()
        self.monitor = RunMonitor(
            [layer.name for layer in self.family.layers],
            ensemble=config.ensemble,
            batches_per_epoch=self.schedule.batches_per_epoch,
            settings=self.settings,
        )
        self.meter = ReservoirMeter(
            self.family,
            batch_size=config.batch_size,
            replacement=config.replacement,
            stride=config.reservoir_stride,
            full_stride=config.full_stride or affordable_full_stride(config, self.family.dataset_size),
            lags=LAGS,
            window=WINDOW,
            seed=int(setup.numpy_generator("reservoir").integers(2**31)),
        )
        self._rates = config.learning_rates()
        self._rate = config.learning_rate
        self._fractions: dict[int, float] = {}
        for start, end, fraction in config.corruptions():
            self._fractions |= {start: fraction, end: 0.0}
        if self._fractions and not isinstance(self.family, Corruptible):
            raise InputError(f"--corrupt-labels: the family {family} has no labels to corrupt.")
        self._chosen = _choose_parameters(self.family, setup)
        self._thermo: list[dict[str, Any]] = []
        self._members: list[dict[str, Any]] = []

    def run(self, writer: RunLogWriter, report: Callable[[Progress], None]) -> Outcome:
        """Train to the last step, a signal, or an alert that the options name; log all the while."""
        config = self.config
        recorder = StepRecorder(config.ensemble, self.device, writer.dtype("steps"))
        with catching() as wish:
            if self.step == 0:
                self._thermo.append(self.ledger.begin(0, self.family.begin()) | {"time": time.time()})
            flushed = 0.0
            reason = ""
            while self.step < config.steps and not reason:
                self._advance(recorder)
                now = time.monotonic()
                if recorder.full or now - flushed >= FLUSH_SECONDS or self.step == config.steps or wish.signal:
                    flushed = now
                    alerts = self._flush(recorder, writer, report)
                    reason = self._reason_to_stop(wish, alerts)
            state: State = "interrupted" if reason else "finished"
            writer.close(state, reason)
        return Outcome(state, self.step, reason, writer.path, wish.signal or 0)

    def _advance(self, recorder: StepRecorder) -> None:
        step = self.step + 1
        self._apply_events(step)
        indices = self.schedule.next()
        batch = self.family.gradient(indices, measure_noise=self.meter.due(step))
        norm = layer_norms(self.family.module, self.family.layer_parameters).sum(1).sqrt()
        recorder.record(step, self._rate, batch, norm)
        self.meter.observe(step, batch, self._rate)
        self.optimizer.step()
        self.meter.after_step(step, indices)
        self.step = step
        if step % self.config.stride == 0:
            self._enter_transition(batch)

    def _apply_events(self, step: int) -> None:
        if step in self._rates:
            self._rate = self._rates[step]
            for group in self.optimizer.param_groups:
                group["lr"] = self._rate
        if step in self._fractions and isinstance(self.family, Corruptible):
            self.family.corrupt_labels(self._fractions[step])

    def _enter_transition(self, batch: Batch) -> None:
        transition, reading = self.family.transition()
        row = self.ledger.advance(self.step, transition, reading)
        self._thermo.append(row | {"time": time.time()})
        members = {"step": self.step, "loss": batch.loss.cpu().numpy(), "accuracy": batch.accuracy.cpu().numpy()}
        self._members.append(members | {"parameters": self._chosen()} | self.ledger.member_row())

    def _flush(self, recorder: StepRecorder, writer: RunLogWriter, report: Callable[[Progress], None]) -> list[Alert]:
        """Move everything measured since the last call to the log; the alerts that it raised or ended."""
        steps = recorder.drain()
        reservoir, autocorrelation = self.meter.drain()
        streams = {
            "steps": steps,
            "thermo": rows_from(self._thermo, writer.dtype("thermo")),
            "members": rows_from(self._members, writer.dtype("members")),
            "reservoir": reservoir,
            "autocorrelation": autocorrelation,
        }
        self._thermo.clear()
        self._members.clear()
        alerts: list[Alert] = []
        for name, rows in streams.items():
            writer.append_rows(name, rows)
            if name != "members":
                alerts += self.monitor.feed(name, rows)
        log_alerts(writer, alerts)
        writer.heartbeat(self.step)
        if len(steps):
            report(Progress(self.step, self.config.steps, float(steps["loss"][-1]), float(steps["accuracy"][-1])))
        return alerts

    def _reason_to_stop(self, wish: StopWish, alerts: Sequence[Alert]) -> str:
        if wish.signal:
            return f"stopped by {wish.signal.name} after step {self.step}"
        for alert in alerts:
            if alert.kind in self.config.stop_on and alert.end is None:
                return f"stopped on {alert.kind} at step {alert.step}: {alert.message}"
        return ""


def log_alerts(writer: RunLogWriter, alerts: Sequence[Alert]) -> None:
    """Enter alerts, or their ends, into the log."""
    for alert in alerts:
        values = asdict(alert) | {"end": -1 if alert.end is None else alert.end}
        writer.append("alerts", time=time.time(), **values)


def make_optimizer(config: TrainConfig, module: torch.nn.Module) -> torch.optim.Optimizer:
    """The optimizer of the options over all members' parameters at once."""
    if config.optimizer == "adam":
        return torch.optim.Adam(module.parameters(), lr=config.learning_rate)
    momentum = 0.9 if config.optimizer == "momentum" else 0.0
    return torch.optim.SGD(module.parameters(), lr=config.learning_rate, momentum=momentum)


def affordable_full_stride(config: TrainConfig, dataset_size: int) -> int:
    """A multiple of the reservoir's stride at which full gradients take about `FULL_GRADIENT_SHARE` of the time.

    A batch below about ten samples costs as much as one of ten: the parameters are then what is moved.
    """
    steps = dataset_size / (max(config.batch_size, 10) * FULL_GRADIENT_SHARE)
    return config.reservoir_stride * max(1, round(steps / config.reservoir_stride))


def train(family: str, config: TrainConfig, options: Any, log: Path, report: Callable[[Progress], None]) -> Outcome:
    """Train a family from its first step into a new log; InputError before anything is written."""
    training = Training(family, config, options)
    header = make_header(
        training.family,
        config,
        options,
        estimator=training.meter.estimator,
        detectors=asdict(training.settings),
    )
    with RunLogWriter.create(log, header) as writer:
        return training.run(writer, report)


def _choose_parameters(family: PPM, setup: Setup) -> Callable[[], np.ndarray[Any, np.dtype[np.float32]]]:
    """A reader of a few parameters of the last layer, the same of every member: [K, CHOSEN_PARAMETERS], NaN-padded."""
    parameter = dict(family.module.named_parameters())[family.layer_parameters[-1][0]]
    size = parameter[0].numel()
    count = min(size, CHOSEN_PARAMETERS)
    chosen = setup.numpy_generator("chosen").choice(size, count, replace=False)
    positions = torch.from_numpy(chosen).to(parameter.device)

    def read() -> np.ndarray[Any, np.dtype[np.float32]]:
        values = np.full((family.ensemble, CHOSEN_PARAMETERS), np.nan, np.float32)
        values[:, :count] = parameter.detach().flatten(1)[:, positions].cpu().numpy()
        return values

    return read
