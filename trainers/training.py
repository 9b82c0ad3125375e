"""One run in memory: K members, their optimizer and batches, and the instruments that measure them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch

from thermotui.detect.monitor import RunMonitor
from thermotui.detect.settings import Settings
from thermotui.errors import InputError
from thermotui.runlog.schema import CHOSEN_PARAMETERS, STEPS, Header, row_dtype
from thermotui.thermo.ledger import Ledger
from trainers.config import TrainConfig
from trainers.families.ppm import PPM, Batch, member_norms
from trainers.families.registry import FAMILIES
from trainers.header import LAGS, WINDOW
from trainers.recorder import StepRecorder
from trainers.reservoir import ReservoirMeter
from trainers.schedule import BatchSchedule
from trainers.setup import Setup, pick_device

FULL_GRADIENT_SHARE = 0.1
"""Share of the time that measurements against the full gradient may take by default."""


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
        self._parameters = list(self.family.module.parameters())
        self.optimizer = make_optimizer(config, self.family.module)
        self.ledger = Ledger(config.ensemble)
        self.settings = Settings()
        self.monitor = RunMonitor(
            [layer.name for layer in self.family.layers],
            ensemble=config.ensemble,
            batches_per_epoch=None if config.replacement else self.family.dataset_size / config.batch_size,
            settings=self.settings,
        )
        self.meter = ReservoirMeter(
            self.family,
            self.optimizer,
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
        header = Header("", 0.0, family, self.family.layers, ensemble=config.ensemble, lags=LAGS)
        self.recorder = StepRecorder(config.ensemble, device, row_dtype(STEPS, header))
        self.thermo: list[dict[str, Any]] = []
        self.members: list[dict[str, Any]] = []
        """Rows of these streams that wait to be logged."""

    @property
    def block_is_full(self) -> bool:
        """Whether the rows must be logged before the next step."""
        return self.recorder.full

    def begin(self) -> None:
        """Row 0 of the ledger: the state before the first step."""
        self.thermo.append(self.ledger.begin(0, self.family.begin()) | {"time": time.time()})

    def advance(self) -> None:
        """One optimizer step of all members, measured."""
        step = self.step + 1
        self._apply_events(step)
        indices = self.schedule.next()
        batch = self.family.gradient(indices, measure_noise=self.meter.due(step))
        norm = member_norms([parameter.grad for parameter in self._parameters if parameter.grad is not None])
        self.recorder.record(step, self._rate, batch, norm)
        self.meter.observe(step, batch, indices)
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
        self.thermo.append(row | {"time": time.time()})
        members = {"step": self.step, "loss": batch.loss.cpu().numpy(), "accuracy": batch.accuracy.cpu().numpy()}
        self.members.append(members | {"parameters": self._chosen()} | self.ledger.member_row())

    def state_dict(self) -> dict[str, Any]:
        """Everything that the coming steps and rows depend on; to be taken when all rows have been logged."""
        return {
            "device": self.device.type,
            "step": self.step,
            "learning_rate": self._rate,
            "module": self.family.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "family": self.family.state_dict(),
            "ledger": self.ledger.state_dict(),
            "meter": self.meter.state_dict(),
            "monitor": self.monitor.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue exactly where `state_dict` was taken, on a device of the same kind."""
        self.step, self._rate = state["step"], state["learning_rate"]
        self.family.module.load_state_dict(state["module"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.family.load_state_dict(state["family"])
        self.ledger.load_state_dict(state["ledger"])
        self.meter.load_state_dict(state["meter"])
        self.monitor.load_state_dict(state["monitor"])


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
