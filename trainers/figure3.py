"""The paper's Figure 3: an ensemble of MLPs on labelled images by vanilla SGD, for three batch sizes.

Each batch size is one run log, thinned to `MEASUREMENTS` rows a stream, checkpointed and resumable. The members start
from one θ_0 and differ in their batches alone, drawn with replacement.
"""

from __future__ import annotations

import pickle
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import thermotui
from thermotui.errors import InputError
from thermotui.probe.gradient_norms import temperature
from thermotui.runlog.paths import is_there
from thermotui.runlog.reader import RunLogReader
from thermotui.runlog.schema import CHOSEN_PARAMETERS, Header
from thermotui.runlog.writer import RunLogWriter
from trainers.batched import BatchedLinear
from trainers.data.images import Images, load_images
from trainers.families.softmax import Softmax, parse_widths
from trainers.figure3_step import Stepper
from trainers.setup import Setup, pick_device
from trainers.signals import StopWish, catching

WIDTHS = "200,200,200"
"""Hidden widths: with the output layer, four layers."""
LAGS = 11
MEASUREMENTS = 200
SIDE_BATCH = 256
"""Samples, drawn with replacement beside the training, behind each noise variance."""
CORRELATION_STEP = 1000
TEST_CHUNK = 2000
CHECKPOINT_SECONDS = 60.0

Progress = Callable[[int, int], None]
"""Called with the batch size and the step reached."""


@dataclass(frozen=True)
class Figure3Config:
    """What to run. The paper gives no learning rate; docs/figure3.md says how the default was found."""

    directory: Path
    members: int = 50
    steps: int = 100_000
    batch_sizes: tuple[int, ...] = (1, 10, 100)
    learning_rate: float = 0.01
    forces: int = 20
    """Full gradients along a run, each as dear as thousands of single-sample steps."""
    data: str = "mnist"
    data_dir: Path | None = None
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        """InputError for values out of range."""
        if self.members < 2:
            raise InputError(f"--members {self.members}: an ensemble needs at least 2.")
        if self.steps < 10 * LAGS:
            raise InputError(f"--steps {self.steps}: the autocorrelation needs at least {10 * LAGS}.")
        if not self.batch_sizes or min(self.batch_sizes) < 1 or len(set(self.batch_sizes)) < len(self.batch_sizes):
            raise InputError("--batch-sizes must be different positive integers, such as 1,10,100.")
        if not 1 <= self.forces <= MEASUREMENTS:
            raise InputError(f"--forces {self.forces} must lie in 1 … {MEASUREMENTS}.")
        if not 0 < self.learning_rate < float("inf"):
            raise InputError(f"--learning-rate {self.learning_rate} must be positive.")

    @property
    def interval(self) -> int:
        """Steps between measurements; also the steps whose batches are drawn at once."""
        return max(self.steps // MEASUREMENTS, LAGS)

    @property
    def correlation_step(self) -> int:
        """The step whose noise panel d correlates with that of the next steps."""
        return min(CORRELATION_STEP, self.steps // 2) // self.interval * self.interval

    def log(self, batch_size: int) -> Path:
        """Where the run of that batch size is logged."""
        return self.directory / f"b{batch_size}.h5"

    def checkpoint(self, batch_size: int) -> Path:
        """Where it can be continued from; there only while it is not finished."""
        return self.directory / f"b{batch_size}.pt"


class StoppedError(Exception):
    """A signal ended the run in good order: the log is closed, the checkpoint written."""

    def __init__(self, number: signal.Signals, batch_size: int, step: int) -> None:
        super().__init__(f"stopped by {number.name} at |b| = {batch_size}, step {step}; continue with --resume.")
        self.number = number


def run_figure3(config: Figure3Config, *, resume: bool = False, progress: Progress = lambda b, s: None) -> list[Path]:
    """Train all batch sizes, one after the other; the logs in the order of the batch sizes.

    With `resume` a finished run is left as it is and an interrupted one continues from its last checkpoint. Raises
    InputError where a log exists and `resume` is not set, or where it exists and cannot be continued; StoppedError
    after SIGINT or SIGTERM.
    """
    for batch_size in config.batch_sizes:
        if is_there(config.log(batch_size), "written") and not resume:
            raise InputError(f"{config.log(batch_size)} exists: choose another --log, or continue it with --resume.")
    images = load_images(config.data, config.data_dir)
    for batch_size in config.batch_sizes:
        if config.log(batch_size).exists() and not config.checkpoint(batch_size).exists():
            _require_finished(config.log(batch_size))
            continue
        with catching() as wish:
            BatchSizeRun(config, images, batch_size).run(progress, wish)
    return [config.log(batch_size) for batch_size in config.batch_sizes]


def _require_finished(path: Path) -> None:
    with RunLogReader(path) as log:
        state = log.state()
    if state.state != "finished":
        raise InputError(f"{path} ends at step {state.step} and its checkpoint is gone: remove it to run afresh.")


class BatchSizeRun:
    """The ensemble at one batch size: training, measurement, log and checkpoint."""

    def __init__(self, config: Figure3Config, images: Images, batch_size: int) -> None:
        self.config = config
        self.batch_size = batch_size
        device = pick_device(config.device)
        setup = Setup(config.members, "seed", "bootstrap", 1, config.seed, device)
        self.family = Softmax(images, parse_widths(WIDTHS), setup)
        self.layers = [layer for layer in self.family.module.layers if isinstance(layer, BatchedLinear)]
        with torch.no_grad():
            for parameter in self.family.module.parameters():
                parameter.copy_(parameter[:1].clone().expand_as(parameter))
        self._start = [self._flat(layer.weight, layer.bias).clone() for layer in self.layers]
        self._test = torch.from_numpy(images.held_out).to(device)
        self._test_labels = torch.from_numpy(images.held_out_labels).to(device)
        self._stepper = Stepper(
            self.layers,
            torch.from_numpy(images.train).to(device),
            torch.from_numpy(images.train_labels).to(device),
            batch_size=batch_size,
            learning_rate=config.learning_rate,
        )
        self._batches = setup.generator(f"batches {batch_size}")
        self._side = setup.generator(f"side batches {batch_size}")
        last = self.layers[-1].weight[0].numel()
        self._chosen = torch.randperm(last, generator=torch.Generator().manual_seed(config.seed))[:CHOSEN_PARAMETERS]
        self._chosen = self._chosen.to(device)
        self._saved = time.monotonic()
        self._step = 0

    def run(self, progress: Progress, wish: StopWish) -> None:
        """Train to the end, from the checkpoint where there is one; StoppedError where `wish` asks for an end."""
        config = self.config
        with self._open_log() as log:
            log.heartbeat(self._step)
            for first in range(self._step, config.steps, config.interval):
                last = min(first + config.interval, config.steps)
                self._save(log, first)
                self._measure(log, first)
                self._train(log, first, last)
                log.heartbeat(last)
                progress(self.batch_size, last)
                if wish.signal is not None and last < config.steps:
                    self._saved = -CHECKPOINT_SECONDS
                    self._save(log, last)
                    stopped = StoppedError(wish.signal, self.batch_size, last)
                    log.close("interrupted", str(stopped))
                    raise stopped
            self._measure(log, config.steps)
        config.checkpoint(self.batch_size).unlink(missing_ok=True)

    def _train(self, log: RunLogWriter, first: int, last: int) -> None:
        shape = (last - first, self.config.members, self.batch_size)
        generator = self._batches
        blocks = torch.randint(self.family.dataset_size, shape, generator=generator, device=generator.device)
        correlated = first == self.config.correlation_step
        noises: list[list[Tensor]] = []
        for offset, indices in enumerate(blocks):
            if correlated and offset < LAGS:
                noises.append(self._fluctuation(indices))
                if offset == LAGS - 1:
                    self._log_correlation(log, first, noises)
                    noises.clear()
            self._stepper(indices)

    def _fluctuation(self, indices: Tensor) -> list[Tensor]:
        """η = ∇U_B − ∇φ(b) of each layer, [K, n], at the present θ for the batch that is about to be used."""
        full = self.family.full_gradient()
        self.family.gradient(indices, measure_noise=False)
        eta = []
        for layer, names in zip(self.layers, self.family.layer_parameters, strict=True):
            weight, bias = layer.weight.grad, layer.bias.grad
            if weight is None or bias is None:
                raise RuntimeError("the family left a gradient empty")
            eta.append(self._flat(*(full[name] for name in names)) - self._flat(weight, bias))
        return eta

    def _log_correlation(self, log: RunLogWriter, step: int, noises: list[list[Tensor]]) -> None:
        rows = []
        for layer in range(len(self.layers)):
            products = torch.stack([(noises[0][layer] * later[layer]).sum() for later in noises])
            rows.append((products / products[0]).tolist())
        echo = np.zeros(LAGS)
        echo[0] = 1.0
        # One pair of steps for each member and lag: no more than K independent samples.
        bound = 1.96 / np.sqrt(self.config.members)
        log.append("autocorrelation", step=step, window=1, bound=bound, autocorrelation=rows, expected_echo=echo)

    def _measure(self, log: RunLogWriter, step: int) -> None:
        now = time.time()
        loss, accuracy = self._evaluate()
        chosen = self.layers[-1].weight.detach().flatten(1)[:, self._chosen].cpu().numpy()
        log.append("members", step=step, loss=loss, accuracy=accuracy, parameters=chosen)
        log.append(
            "steps",
            step=step,
            time=now,
            loss=loss.mean(),
            accuracy=accuracy.mean(),
            learning_rate=self.config.learning_rate,
            loss_spread=loss.std(ddof=1),
            accuracy_spread=accuracy.std(ddof=1),
        )
        log.append("reservoir", step=step, time=now, **self._reservoir(step))

    def _reservoir(self, step: int) -> dict[str, Any]:
        config = self.config
        shape = (config.members, SIDE_BATCH)
        indices = torch.randint(self.family.dataset_size, shape, generator=self._side, device=self._side.device)
        noise = self.family.gradient(indices, measure_noise=True).noise
        if noise is None:
            raise RuntimeError("the family measured no noise in the side batch")
        sizes = torch.tensor([layer.size for layer in self.family.layers], device=noise.device)
        heat = temperature(noise.double(), config.learning_rate, self.batch_size, sizes, 1.0)
        drifts = [
            ((self._flat(layer.weight, layer.bias) - start).norm(dim=1) / start.norm(dim=1)).mean()
            for layer, start in zip(self.layers, self._start, strict=True)
        ]
        row: dict[str, Any] = {
            "mobility": config.learning_rate,
            "temperature": heat.mean(0).cpu().numpy(),
            "temperature_se": (heat.std(0) / config.members**0.5).cpu().numpy(),
            "drift": torch.stack(drifts).detach().cpu().numpy(),
        }
        if step % (config.interval * (MEASUREMENTS // config.forces)) == 0:
            full = self.family.full_gradient()
            force = [self._flat(*(full[name] for name in names)) for names in self.family.layer_parameters]
            squared = torch.stack([f.square().sum(1).mean() for f in force])
            row["force"] = squared.sqrt().cpu().numpy()
            row["force_max"] = torch.stack([f.abs().amax(1).mean() for f in force]).cpu().numpy()
            row["signal_to_noise"] = (squared / noise.mean(0) * self.batch_size).cpu().numpy()
        return row

    @torch.no_grad()
    def _evaluate(self) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Loss and accuracy of each member on the held-out images, [K] each."""
        losses = torch.zeros(self.config.members, dtype=torch.float64, device=self._test.device)
        correct = torch.zeros_like(losses)
        for inputs, labels in self._test_chunks():
            logs = self.family.module(inputs.expand(self.config.members, -1, -1)).log_softmax(-1)
            losses -= logs.gather(2, labels.expand(self.config.members, -1).unsqueeze(2)).sum((1, 2))
            correct += (logs.argmax(-1) == labels).sum(1)
        size = len(self._test)
        return (losses / size).cpu().numpy(), (correct / size).cpu().numpy()

    def _test_chunks(self) -> Iterator[tuple[Tensor, Tensor]]:
        for start in range(0, len(self._test), TEST_CHUNK):
            yield self._test[start : start + TEST_CHUNK], self._test_labels[start : start + TEST_CHUNK]

    @staticmethod
    def _flat(*tensors: Tensor) -> Tensor:
        return torch.cat([tensor.detach().flatten(1) for tensor in tensors], dim=1)

    def _open_log(self) -> RunLogWriter:
        path = self.config.log(self.batch_size)
        checkpoint = self.config.checkpoint(self.batch_size)
        if not path.exists():
            return RunLogWriter.create(path, self._header())
        try:
            state = torch.load(checkpoint, map_location="cpu", weights_only=True)
            if not isinstance(state, dict):
                raise TypeError("no state of a run")
            self._restore(state, checkpoint)
        # What torch, pickle and a state of another form say.
        except (OSError, RuntimeError, EOFError, ValueError, LookupError, TypeError, pickle.PickleError) as error:
            raise InputError(
                f"{checkpoint}: is no checkpoint of this version, or a damaged one; remove {path} to run afresh."
            ) from error
        return RunLogWriter.resume(path, self._step - 1)

    def _restore(self, state: dict[str, Any], checkpoint: Path) -> None:
        made_on, device = state["device"], self._test.device.type
        if made_on != device:
            raise InputError(f"{checkpoint}: was made on {made_on}, this is {device}; resume with --device {made_on}.")
        if state["config"] != self._identity():
            raise InputError(f"{checkpoint} was made with other options; give the same ones to continue it.")
        parameters, values = list(self.family.module.parameters()), list(state["parameters"])
        if [parameter.shape for parameter in parameters] != [value.shape for value in values]:
            raise ValueError("parameters of other shapes")
        with torch.no_grad():
            for parameter, value in zip(parameters, values, strict=True):
                parameter.copy_(value)
        self._batches.set_state(state["batches"])
        self._side.set_state(state["side"])
        self._step = int(state["step"])

    def _save(self, log: RunLogWriter, step: int) -> None:
        """A checkpoint of the state before the measurement at `step`, about every minute."""
        if step > self._step and time.monotonic() - self._saved < CHECKPOINT_SECONDS:
            return
        self._saved = time.monotonic()
        log.flush()
        path = self.config.checkpoint(self.batch_size)
        temporary = path.with_suffix(".tmp")
        torch.save(
            {
                "step": step,
                "device": self._test.device.type,
                "config": self._identity(),
                "parameters": [p.detach() for p in self.family.module.parameters()],
                "batches": self._batches.get_state(),
                "side": self._side.get_state(),
            },
            temporary,
        )
        temporary.replace(path)

    def _identity(self) -> dict[str, Any]:
        values = asdict(self.config)
        return {name: values[name] for name in ("members", "steps", "learning_rate", "forces", "data", "seed")}

    def _header(self) -> Header:
        config = self.config
        estimator = f"side batch of {SIDE_BATCH}, exact norms"
        return Header(
            run_id=uuid.uuid4().hex,
            created=time.time(),
            family="softmax",
            layers=tuple(type(layer)(layer.name, layer.size, estimator) for layer in self.family.layers),
            ensemble=config.members,
            reservoir_stride=config.interval,
            lags=LAGS,
            steps=config.steps,
            batch_size=self.batch_size,
            dataset_size=self.family.dataset_size,
            replacement=True,
            config=self._identity() | {"command": "reproduce figure3", "batch_size": self.batch_size, "widths": WIDTHS},
            versions={"thermotui": thermotui.__version__, "torch": torch.__version__, "numpy": np.__version__},
            notes=(
                "Loss and accuracy are those on the held-out images.",
                "All members start from the same parameters and differ in their batches alone.",
                f"One row every {config.interval} steps.",
                "The autocorrelation is that of η against the full gradient at each step, over the ensemble.",
            ),
        )
