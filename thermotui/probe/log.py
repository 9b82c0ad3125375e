"""The probe's run log: figures wait on the device, go to the host in blocks, and become rows and alerts."""

from __future__ import annotations

import importlib.metadata
import logging
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from thermotui.detect.alert import Alert, alert_of_row
from thermotui.detect.colour import epoch_echo
from thermotui.detect.monitor import RunMonitor
from thermotui.detect.settings import Settings
from thermotui.errors import InputError
from thermotui.probe.autocorrelation import white_bound
from thermotui.probe.doubts import EstimatorChanges, NegativeTemperatures, SilentSamples
from thermotui.probe.layers import ModelLayer
from thermotui.probe.measurement import RAW, MeasurementRows, Measurements, Sampling, blank_disagreeing
from thermotui.probe.waiting import WaitingFigures, WaitingNumbers
from thermotui.runlog.disk import reason_of
from thermotui.runlog.errors import RunLogError
from thermotui.runlog.paths import is_there
from thermotui.runlog.reader import RunLogReader
from thermotui.runlog.schema import RESERVOIR, Header, Layer, State, row_dtype
from thermotui.runlog.writer import RunLogWriter

logger = logging.getLogger("thermotui")

FLUSH_SECONDS = 1.0
SUCCESSIVE = "from step to step, differences of the gradient"
GRADIENT = RAW.index("gradient")


Settled = tuple[int, float, float | Tensor]
"""A step that is over: the step, its time and its learning rate, which may lie on the device."""


@dataclass
class ProbeLog:
    """Collects settled steps and writes them; the file is made with the first one, once the estimators are known."""

    path: Path
    layers: Sequence[ModelLayer]
    sampling: Sampling
    rank: int
    start_step: int
    planned: int
    lags: int
    window: int
    detectors: Settings
    family: str
    config: dict[str, Any]
    unmeasured: tuple[str, ...]
    """Fields of `reservoir` that this probe will never measure."""
    preconditioned: bool
    """As in `MeasurementRows`."""
    figures: WaitingFigures
    """Those of the steps that were measured; they are to be there before their step is added."""
    obstacles: Callable[[], Mapping[str, str]]
    """Layer name → why its noise is not measured within the batch, as of the last step."""
    judge: Callable[[NDArray[np.int64], NDArray[np.float64]], None]
    """Told how far gradients are from the sums of what was read of the samples: steps [n], by layer [n, L]."""
    _writer: RunLogWriter | None = None
    _waiting: list[Settled] = field(default_factory=list)
    _told: dict[str, WaitingNumbers] = field(init=False)
    """The loss and the accuracy of the steps that wait."""
    _windows: list[tuple[int, Tensor, Tensor]] = field(default_factory=list)
    _flushed: float = -np.inf
    _interval: int = 0

    def __post_init__(self) -> None:
        self.path_of_run = self.path.absolute()
        if self.rank:
            self.path = self.path.with_stem(f"{self.path.stem}-rank{self.rank}")
        if self.start_step == 0 and is_there(self.path, "written"):
            raise InputError(f"{self.path} exists already; choose another log, or continue it with start_step.")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunLogError(self.path, f"cannot be written ({reason_of(error)}); choose another log") from error
        self._told = {name: WaitingNumbers(self.figures.capacity) for name in ("loss", "accuracy")}

    def autocorrelation(self, step: int, values: Tensor, variance: Tensor) -> None:
        """One window's autocorrelation [L, lags] and its variance if η is white [L], on the device; its last step."""
        self._windows.append((step, values, variance))

    @property
    def waiting(self) -> int:
        """Steps that are not in the file yet."""
        return len(self._waiting)

    @property
    def opened(self) -> bool:
        """Whether the file is there."""
        return self._writer is not None

    def add(
        self, settled: Settled, loss: Tensor | float | None, accuracy: Tensor | float | None, interval: int
    ) -> None:
        """One more step; about once a second all waiting ones are moved to the host and written."""
        place = len(self._waiting)
        self._waiting.append(settled)
        if loss is not None:
            self._told["loss"].add(place, loss)
        if accuracy is not None:
            self._told["accuracy"].add(place, accuracy)
        if interval != self._interval and self._writer is not None:
            self._interval = interval
            self._writer.heartbeat(settled[0], "running", f"measuring one step in {interval}")
        if len(self._waiting) >= self.figures.capacity or time.monotonic() - self._flushed >= FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Move everything that waits to the log: the one place where the host waits for the device."""
        writer = self._writer
        self._flushed = time.monotonic()
        if writer is None or not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        measured = self.figures.take()
        self.judge(measured.steps, measured.raw[:, RAW.index("disagreement")])
        blank_disagreeing(measured.raw)
        streams = {
            "steps": self._step_rows(waiting, measured, writer.dtype("steps")),
            "reservoir": self._rows.rows(measured),
            "autocorrelation": self._autocorrelation_rows(writer.dtype("autocorrelation")),
        }
        self._doubts.look(measured, streams["reservoir"])
        if not self.sampling.ignored:
            self._silent.look(measured)
        alerts = self._changes.look(measured, self.obstacles())
        for name, rows in streams.items():
            writer.append_rows(name, rows)
            alerts += self._monitor.feed(name, rows)
        for alert in alerts:
            values = asdict(alert) | {"end": -1 if alert.end is None else alert.end}
            writer.append("alerts", time=time.time(), **values)
        writer.heartbeat(waiting[-1][0], "running", f"measuring one step in {self._interval}")

    def close(self, state: State, message: str) -> None:
        """Write what waits and the final state."""
        self.flush()
        if self._writer is not None:
            self._writer.close(state, message)

    def open(self, samples: int, estimators: Sequence[str], interval: int, said: Sequence[str]) -> None:
        """Make the file, or continue it: after the first step, when its `samples` and the estimators are known.

        said: the first of its notes.
        """
        header = self._header(samples, estimators, interval, said)
        unmeasured = {"reservoir": self.unmeasured}
        if self.start_step > 0 and is_there(self.path, "written"):
            standing = _standing_alerts(self.path, self.start_step)
            self._writer = RunLogWriter.resume(self.path, self.start_step - 1, unmeasured=unmeasured)
            # The detectors begin anew: they cannot end what those before them raised.
            for alert in standing:
                ended = asdict(alert) | {"end": self.start_step}
                self._writer.append("alerts", time=time.time(), **ended)
        else:
            self._writer = RunLogWriter.create(self.path, header, unmeasured=unmeasured)
        self._interval = interval
        sizes = np.array([layer.size for layer in self.layers], dtype=np.float64)
        self._rows = MeasurementRows(
            row_dtype(RESERVOIR, self._writer.header),
            sizes,
            self.sampling,
            averaged=max(self.window // 16, 1),
            preconditioned=self.preconditioned,
        )
        batches = self._batches_per_epoch(header.batch_size)
        self._echo = epoch_echo(self.lags, batches)
        names = [layer.name for layer in self.layers]
        self._changes = EstimatorChanges(names, [layer.estimator != SUCCESSIVE for layer in self._writer.header.layers])
        self._doubts = NegativeTemperatures(names)
        self._silent = SilentSamples()
        self._monitor = RunMonitor(names, batches_per_epoch=batches, settings=self.detectors)
        self._writer.heartbeat(self.start_step, "running", f"measuring one step in {interval}")

    def _batches_per_epoch(self, batch_size: int) -> float | None:
        if self.sampling.replacement or not self.sampling.dataset_size or not batch_size:
            return None
        return self.sampling.dataset_size / batch_size

    def _header(self, samples: int, estimators: Sequence[str], interval: int, said: Sequence[str]) -> Header:
        alone = samples == 1
        notes = [f"{name}: not measured within the batch ({reason})." for name, reason in self.obstacles().items()]
        if alone:
            notes.append("|b| = 1: the noise is that of the differences of successive gradients.")
        if self.sampling.world_size > 1:
            notes.append(
                "The noise of the averaged gradient is estimated from this rank's samples; gradient_norm, noise_skew "
                "and noise_kurtosis are of its own gradient, reversibility_gap is not measured."
            )
        notes.append(
            "force and signal_to_noise are batch estimates averaged over measurements, but where η is measured."
        )
        return Header(
            run_id=shared_run_id(self.path_of_run) if self.sampling.world_size > 1 else uuid.uuid4().hex,
            created=time.time(),
            family=self.family,
            layers=tuple(
                Layer(layer.name, layer.size, SUCCESSIVE if alone or not estimator else estimator)
                for layer, estimator in zip(self.layers, estimators, strict=True)
            ),
            reservoir_stride=interval,
            lags=self.lags,
            steps=self.planned,
            batch_size=samples * self.sampling.world_size,
            dataset_size=self.sampling.dataset_size,
            replacement=self.sampling.replacement,
            detectors=asdict(self.detectors),
            config=self.config,
            versions={
                "thermotui": importlib.metadata.version("thermotui"),
                "torch": torch.__version__,
                "numpy": np.__version__,
            },
            notes=(*said, *notes),
            rank=self.rank,
            world_size=self.sampling.world_size,
        )

    def _step_rows(
        self, waiting: Sequence[Settled], measured: Measurements, dtype: np.dtype[np.void]
    ) -> NDArray[np.void]:
        rows = np.zeros(len(waiting), dtype)
        for name in ("gradient_norm", "loss_spread", "accuracy_spread"):
            rows[name] = np.nan
        rows["step"], rows["time"], rates = zip(*waiting, strict=True)
        rows["learning_rate"] = _on_host(rates)
        for name, told in self._told.items():
            rows[name] = told.take(len(waiting))
        norms = np.sqrt(measured.raw[:, GRADIENT].sum(axis=1)) / measured.scales
        rows["gradient_norm"][np.isin(rows["step"], measured.steps)] = norms
        return rows

    def _autocorrelation_rows(self, dtype: np.dtype[np.void]) -> NDArray[np.void]:
        windows, self._windows = self._windows, []
        rows = np.zeros(len(windows), dtype)
        if windows:
            rows["step"] = [step for step, _, _ in windows]
            rows["window"] = self.window
            rows["bound"] = white_bound(torch.stack([variance for _, _, variance in windows]))
            rows["autocorrelation"] = torch.stack([values for _, values, _ in windows]).cpu().numpy()
            rows["expected_echo"] = self._echo
        return rows


def _on_host(rates: Sequence[float | Tensor]) -> Sequence[float]:
    """With one transfer for those that lie on the device."""
    lent = [rate for rate in rates if isinstance(rate, Tensor)]
    values = iter(torch.stack(lent).cpu().double().tolist() if lent else ())
    return [next(values) if isinstance(rate, Tensor) else rate for rate in rates]


def shared_run_id(path: Path) -> str:
    """The id of the run whose ranks log to `path` and beside it: that of whichever rank asks first.

    Through the store by which the ranks found each other, so that no rank waits for another, which may have no probe.
    Ranks that found each other without one, by MPI, or can no longer reach it, are runs of their own in the list.
    """
    own = uuid.uuid4().hex
    # Private to torch by name, but the only way to what the ranks share without all of them taking part.
    store = cast(Any, torch.distributed.distributed_c10d._get_default_store())
    if store is None:
        return own
    try:
        found: bytes = store.compare_set(f"thermotui run id of {path}", "", own)
    except RuntimeError as error:
        logger.warning("%s: the ranks' logs do not share a run id: %s", path, error)
        return own
    return found.decode()


def _standing_alerts(path: Path, step: int) -> list[Alert]:
    """The recorded alerts of the log at `path` that were raised before `step` and not ended by then."""
    latest: dict[tuple[str, int, int], Alert] = {}
    with RunLogReader(path) as log:
        for row in log.read("alerts", start=0, stop=log.length("alerts")):
            alert = alert_of_row(row)
            # Ends that came later are dropped when the log is continued.
            if alert.step < step and (alert.end is None or alert.end < step):
                latest[alert.key] = alert
    return [alert for alert in latest.values() if alert.end is None]
