"""The probe for anyone's training loop: temperature of every layer, autocorrelation, force, into a run log.

with Probe(model, optimizer, log="runs/mine.h5") as probe:
    for batch in loader:
        with probe.step() as step:
            loss = ...; loss.backward(); optimizer.step()
            step.record(loss=loss)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.nn import Parameter
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from thermotui.detect.settings import Settings
from thermotui.errors import InputError
from thermotui.probe.agreement import Directions, Looks
from thermotui.probe.doubts import AbsentLayers, IdleOptimizer, absence, dependence_on_length
from thermotui.probe.full_gradient import FullReading, against_full_gradient
from thermotui.probe.gradient_reader import NOTHING, GradientReader, Wanted, gradient_projection
from thermotui.probe.interval import MeasurementInterval
from thermotui.probe.layers import model_layers
from thermotui.probe.log import ProbeLog
from thermotui.probe.measurement import Sampling, unmeasured
from thermotui.probe.mobility import Mobility
from thermotui.probe.passes import Passes
from thermotui.probe.recorder import StepRecorder
from thermotui.probe.step import Bracket, Step
from thermotui.probe.sums import Drift, LayerSums
from thermotui.probe.waiting import WaitingFigures
from thermotui.probe.windows import ProjectionWindows

SELDOM = 16
"""Every so many measurements come those that read all parameters: θ·g, the preconditioner, the drift."""
CHECKED = 509
"""Every so many measurements it is seen whether the gradients are the sums of what is read of the samples. A prime, as
loops do things every so many steps."""
DRIFT_STEPS = 64
"""The drift, which reads where they started as well, is not taken again before so many steps."""
PATIENCE = 16
"""Steps without a gradient after which the log begins all the same."""

Losses = Callable[[], Iterable[Tensor]]


class Probe:
    """Measures a model while it trains; a context manager.

    The training is not touched: gradients and parameters are bitwise those without the probe, no random number of the
    training is drawn, and the host never waits for the device but until the log is there, where rows are moved to it,
    about once a second, and once after the kinds of layers that take part in a step have changed for good.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        *,
        log: Path | str,
        interval: int = 1,
        overhead: float | None = None,
        reduction: Literal["mean", "sum"] = "mean",
        ignored: bool = False,
        scaler: GradScaler | None = None,
        dataset_size: int = 0,
        replacement: bool = True,
        steps: int = 0,
        start_step: int = 0,
        full_loss: Losses | None = None,
        full_interval: int = 1000,
        window: int = 256,
        lags: int = 16,
        sketch: int = 8,
        per_sample: int = 8,
        detectors: Settings | None = None,
        family: str = "probe",
        config: Mapping[str, Any] | None = None,
        seed: int = 0,
    ) -> None:
        """Attach to a model, before its first step.

        log: the run log, made at the first step; with `start_step` > 0 an existing one is continued.
        interval: every n-th step is measured.
        overhead: instead, the share of a step's time that measuring may cost, such as 0.02; the interval follows.
        reduction: how the loss combines the samples of a batch.
        ignored: the loss leaves samples out of its mean, those whose targets it ignores (`ignore_index`, padding), and
            samples without any gradient are not counted. Elsewhere, as beyond the margin of a hinge, they are samples.
        scaler: the GradScaler of a mixed-precision loop.
        dataset_size, replacement: of the sampler, for the finite-population factor and the epoch echo; a shuffling
            DataLoader draws without replacement.
        steps: planned number of steps, 0 where unknown.
        full_loss: yields losses whose sum is the mean loss over the whole data set; every `full_interval` steps it
            gives the force and η against it.
        window, lags: of the autocorrelation, in steps.
        sketch: columns of the random sketch where exact per-sample norms would be dear; 0 for exact ones throughout.
        per_sample: samples of a batch that go one by one through modules without a rule.
        detectors: settings of the alerts.
        family, config: what the log calls the run, and how to repeat it.

        Raises InputError where the model has no trainable parameters or a setting is out of range.
        """
        inner = model.module if isinstance(model, DistributedDataParallel) else model
        self._layers = model_layers(inner)
        if not self._layers:
            raise InputError("the probe was given a model without trainable parameters.")
        if window <= max(lags, 2):
            raise InputError(f"the probe's window of {window} steps is too short for {lags} lags.")
        if sketch < 0 or sketch == 1 or per_sample < 2:
            raise InputError("the probe's sketch needs 0 (exact norms) or at least 2 columns, per_sample at least 2.")
        try:
            self._interval = MeasurementInterval(interval, overhead)
        except ValueError as error:
            raise InputError(f"probe: {error}.") from error
        self._parameters: list[list[Parameter]] = [list(layer.parameters) for layer in self._layers]
        self._mobility = Mobility(optimizer, self._parameters)
        distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
        # Whoever averages the gradients, DDP or the loop: each rank is taken to have samples of its own.
        world = torch.distributed.get_world_size() if distributed else 1
        self._drift = Drift([parameter for layer in self._parameters for parameter in layer])
        device = self._parameters[0][0].device
        by_layer = LayerSums(self._parameters)
        start = by_layer(self._drift.start.unsqueeze(0))
        self._figures = WaitingFigures(
            torch.tensor([layer.bias for layer in self._layers], device=device),
            gradient_projection(self._parameters, seed),
            window,
            {"gradient": by_layer, "pairing": by_layer, "drift": lambda squares: by_layer(squares) / start},
        )
        self._directions = Directions(device, seed)
        self._looks = Looks(len(self._layers))
        self._look_again = True
        """Whether the next measurement is to be looked at, as the last look has not settled it."""
        self._look_missing = False
        """The same, as some layer was never seen."""
        self._reader = GradientReader(self._parameters, self._figures.readings, self._directions)
        self._passes = Passes(
            self._layers,
            sketch=sketch,
            per_sample=per_sample,
            seed=seed,
            at_once=world > 1,
            norms=self._figures.norms,
            directions=self._directions,
            on_gradients=self._read_gradients,
            on_thrown_away=self._reader.forget,
        )
        self._recorder = StepRecorder(inner, self._passes, norms=self._figures.norms, general=self._figures.general)
        # Schedules may change the rate before or after the optimizer's step: the one it uses is that of its call.
        self._rate_hook = self._mobility.optimizer.register_step_pre_hook(self._note_rates)
        self._scaler, self._sketch = scaler, sketch
        self._summed = reduction == "sum"
        self._full = FullReading(full_loss, self._parameters)
        self._full_interval = full_interval
        self._windows = ProjectionWindows(self._figures.readings, window=window, lags=lags, first=start_step)
        self._step = start_step
        self._measured = 0
        self._scale: Tensor | None = None
        self._seldom = False
        self._reading = False
        """Whether there is anything to read in the present step."""
        self._wanted = NOTHING
        self._planned_until = start_step
        """What is wanted of the steps before this one is known."""
        self._taken = start_step - 1
        """The last step that was measured; if it does not come into the log, it begins once more."""
        self._next_drift = start_step
        self._rates: tuple[NDArray[np.float64], Tensor | None] | None = None
        """Those of the layers in the present step, on the host and on the device, once the optimizer has made it."""
        self._learning_rate: float | Tensor | None = None
        """That of the present step, once the optimizer has made it."""
        self._gradient_came = self._stepped = False
        """Whether there was a gradient, and whether the optimizer made a step, since the last look at it."""
        self._idle = IdleOptimizer()
        self._absent = AbsentLayers([layer.name for layer in self._layers])
        self._current = Step()
        self._one = torch.ones((), device=device)
        self._log = ProbeLog(
            Path(log),
            self._layers,
            Sampling(dataset_size, replacement, world, self._summed, ignored),
            rank=torch.distributed.get_rank() if world > 1 else 0,
            start_step=start_step,
            planned=steps,
            lags=lags,
            window=window,
            detectors=Settings() if detectors is None else detectors,
            family=family,
            config=dict(config or {}),
            unmeasured=unmeasured(full_gradient=full_loss is not None, world_size=world),
            figures=self._figures,
            preconditioned=self._mobility.preconditioned,
            obstacles=lambda: self.unmeasured,
            judge=self._judge,
        )

    @property
    def interval(self) -> int:
        """Every so many steps one is measured at present."""
        return self._interval.interval

    @property
    def estimators(self) -> dict[str, str]:
        """Layer → how its noise was measured within the batch, empty where it was not."""
        names = [layer.name for layer in self._layers]
        return dict(zip(names, self._recorder.estimators, strict=True))

    @property
    def unmeasured(self) -> dict[str, str]:
        """Layer → why its noise is not measured within the batch; there the gradients of successive steps give it."""
        return self._recorder.obstacles

    def step(self, *, replay: Callable[[], Tensor] | None = None) -> AbstractContextManager[Step]:
        """One optimizer step: forward, backward (any number of micro-batches) and `optimizer.step()` go inside.

        replay: gives the loss of this very batch at the parameters of when it is called; with it the gap of
        reversibility is measured every `full_interval` steps. An exception inside leaves the step unlogged.
        """
        return Bracket(self, replay)

    def begin_step(self, *, replay: Callable[[], Tensor] | None = None) -> Step:
        """The first half of `step`, for frameworks that call back instead of handing over the loop."""
        if self._reading:
            # The last one was begun and did not come to its end, as of a batch that the loop passed over.
            self.abandon_step()
        self._current = current = Step()
        self._learning_rate = None
        planned = self._taken < self._step < self._planned_until
        if not planned:
            self._plan(replay)
        # Where nothing is wanted, no hook is on any more.
        if not planned or self._wanted is not NOTHING:
            self._begin_reading()
        return current

    def _plan(self, replay: Callable[[], Tensor] | None) -> None:
        """Find out what is wanted of the step that begins, and how long that holds; a window or a look may begin."""
        step, schedule, reader = self._step, self._interval, self._reader
        measuring = schedule.start(step, time.monotonic()) and step > self._taken
        interval = schedule.interval
        self._windows.begin_step(step, interval)
        self._seldom = measuring and self._measured % SELDOM == 0
        full_interval = max(self._full_interval // interval * interval, 1)
        if measuring and step % full_interval == 0:
            # With several ranks the replayed loss would be this rank's alone, and the step was that of all.
            reversible = self._mobility.plain and self._log.sampling.world_size == 1
            self._full.begin(replay if reversible else None)
        differences = measuring or schedule.precedes_measurement(step)
        checking = measuring and (self._measured % CHECKED == 0 or self._look_again or self._look_missing)
        if checking:
            self._look_missing = False
            self._directions.begin_look()
        full = self._full.force is not None
        wanted = Wanted(measuring, self._windows.open, self._seldom, full, differences, checking)
        self._wanted = wanted if reader.due(wanted) else NOTHING
        self._planned_until = step
        special = self._seldom or checking or self._full.begun or step == self._taken
        if self._log.opened and not special:
            # Whoever looks at the gradient's differences has to see the step before a measurement.
            settled = schedule.settled_until - bool(reader.differenced)
            ends = [settled, self._windows.unchanged_until(step, interval)]
            if measuring:
                ends += [step + every - self._measured % every for every in (SELDOM, CHECKED)]
                ends.append(step + full_interval - step % full_interval)
            self._planned_until = min(ends)

    def _begin_reading(self) -> None:
        """Prepare for what is wanted of the step that begins."""
        wanted = self._wanted
        self._scale = self._rates = None
        self._reading = wanted is not NOTHING
        self._reader.begin_step(wanted)
        self._recorder.begin_step(measuring=wanted.squares, gradients=self._reading, checking=wanted.directed)

    def micro_batch(self, samples: int) -> None:
        """Say how many samples the next forward pass holds, where the model's own input does not show it."""
        self._passes.count(samples)

    def end_step(self) -> None:
        """The second half of `step`, after the optimizer's."""
        now = time.time()
        measuring = self._reading and self._end_reading(now)
        if not self._log.opened:
            # A first batch that the loop passes over tells nothing of how the others are measured.
            settled = measuring and self._passes.reached and not self._looks.unsettled
            if settled or self._log.waiting >= PATIENCE:
                self._open_log()
        current = self._current
        # A step that the optimizer has not made has none but the present one.
        rate = self._mobility.learning_rate if self._learning_rate is None else self._learning_rate
        self._log.add((self._step, now, rate), current.loss, current.accuracy, self._interval.interval)
        current.forget()
        if measuring:
            self._reader.differenced = self._recorder.unserved
            self._measured += 1
        self._step += 1

    def _end_reading(self, now: float) -> bool:
        """Keep what was read in the step; whether it was measured."""
        self._reading = False
        measuring = self._reader.wanted.squares
        # The hooks stay on: a backward pass of the loop's own between two steps is of neither.
        self._reader.end_step()
        place = None
        if measuring:
            place, self._taken = self._take(now), self._step
        if measuring or self._windows.open:
            self._figures.readings.keep(place, self._scale)
        if self._windows.open:
            window = self._windows.end_step()
            if window is not None:
                self._log.autocorrelation(self._step, window.values, window.white)
        return measuring

    def close(self, state: Literal["finished", "failed", "interrupted"] = "finished", message: str = "") -> None:
        """Write what is left, close the log and take the hooks off the model."""
        self._recorder.detach()
        self._rate_hook.remove()
        if self._log.waiting and not self._log.opened:
            self._open_log()
        self._log.close(state, message)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        elif isinstance(error, KeyboardInterrupt):
            self.close("interrupted", "interrupted from the keyboard")
        else:
            self.close("failed", f"{type(error).__name__}: {error}")

    def abandon_step(self) -> None:
        """The loop's own exception left the step: nothing of it is kept, and what comes after it is not read."""
        self._reading = False
        self._interval.abandon(self._step)
        self._passes.abandon()
        self._reader.begin_step(NOTHING)
        self._full.forget()
        self._current.forget()

    def _note_rates(self, *unused: Any) -> None:
        self._learning_rate = self._mobility.learning_rate
        self._stepped = True
        if self._reading and self._wanted.squares:
            self._rates = self._mobility.rates(), self._mobility.rates_on_device()

    def _read_gradients(self, positions: Sequence[int]) -> None:
        self._gradient_came = True
        if self._scaler is not None and self._scale is None:
            self._scale = self._scaler.scale(self._one)
        self._reader.read(positions, self._scale)

    def _take(self, now: float) -> int:
        """The figures of the step that is over; its place among those that wait."""
        reader, recorder = self._reader, self._recorder
        if self._rates is None:
            self._rates = self._mobility.rates(), self._mobility.rates_on_device()
        rates, lent = self._rates
        figures: dict[str, Tensor] = {} if lent is None else {"rate": lent}
        if self._wanted.directed:
            figures["disagreement"] = recorder.disagreements(reader.directed)
            if not self._log.opened:
                # The log's header says how each layer is measured.
                row = figures["disagreement"].double().cpu().numpy()
                self._judge(np.array([self._step]), row[np.newaxis])
        noise = recorder.take_noise()
        samples = recorder.step_samples
        if reader.differenced:
            figures["from_steps"] = reader.differences()
        if self._seldom:
            self._look_at_the_optimizer()
            if self._mobility.plain:
                figures["pairing"] = reader.pairings
            if self._step >= self._next_drift:
                figures["drift"] = self._drift.squared()
                self._next_drift = self._step + DRIFT_STEPS
        if self._seldom or self._mobility.more_is_known:
            preconditioner = self._mobility.preconditioner()
            if preconditioner is not None:
                figures["preconditioner"] = preconditioner
        if self._full.begun:
            figures |= self._full_figures(samples, rates.tolist() if lent is None else lent.unbind())
        return self._figures.add((self._step, now, samples, rates), noise, figures, self._scale)

    def _judge(self, steps: NDArray[np.int64], looks: NDArray[np.float64]) -> None:
        """Looks at what the gradients are the sums of have come to the host; steps: [n], looks: [n, L]."""
        self._recorder.distrust(self._looks.judge(steps, looks))
        self._look_again = self._looks.unsettled or not self._log.opened
        self._planned_until = self._step

    def _look_at_the_optimizer(self) -> None:
        """See whether it is the one that trains, once in `SELDOM` measurements."""
        self._absent.look(self._mobility.absent)
        if self._gradient_came and self._measured:
            self._idle.look(self._stepped)
        self._stepped = self._gradient_came = False
        # A loss that was no number, or a layer that had no gradient, could not be compared.
        self._look_missing = not self._looks.complete and self._looks.missing(self._recorder.comparable)

    def _full_figures(self, samples: int, rates: Sequence[float] | Sequence[Tensor]) -> dict[str, Tensor]:
        """Those of a full measurement."""
        figures: dict[str, Tensor] = {}
        if self._full.force is not None:
            unit = self._one if self._scale is None else self._scale
            unit = unit * (samples if self._summed else 1)
            figures |= against_full_gradient(self._full.force, self._reader.copies, unit)
        gap = self._full.gap(rates)
        if gap is not None:
            figures["gap"] = gap
        self._full.forget()
        return figures

    def _open_log(self) -> None:
        recorder, interval = self._recorder, self._interval.interval
        samples = recorder.step_samples or self._passes.samples_seen
        self._log.open(samples, recorder.estimators, interval, self._notes())

    def _notes(self) -> list[str]:
        """What the header says of the optimizer, and of estimators that change with the batch."""
        self._mobility.rates()
        note, absent, by_length = self._mobility.note(), self._mobility.absent, self._recorder.by_length
        notes = [] if note is None else [note]
        if absent:
            notes.append(absence([self._layers[index].name for index in absent]))
        if by_length:
            notes.append(dependence_on_length(by_length, self._sketch))
        return notes
