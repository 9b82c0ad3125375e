"""The probe as a callback of Lightning's Trainer (the extra `lightning`).

trainer = Trainer(callbacks=[ThermotuiCallback("runs/mine.h5")])
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from torch.utils._pytree import tree_leaves

from thermotui.errors import InputError
from thermotui.probe.probe import Probe


class ThermotuiCallback(Callback):
    """Measures a LightningModule with one optimizer while it is fitted; one step is one step of the optimizer."""

    def __init__(self, log: Path | str, **options: Any) -> None:
        """log: the run log. options: those of `Probe` beside the model and the optimizer."""
        self._log = log
        self._options = options
        self._probe: Probe | None = None
        self._open_at: int | None = None

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Attach; InputError where there is not exactly one optimizer."""
        if len(trainer.optimizers) != 1:
            raise InputError(f"the probe measures one optimizer, this module has {len(trainer.optimizers)}.")
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        options: dict[str, Any] = {"scaler": scaler, "family": type(module).__name__, "start_step": trainer.global_step}
        options |= self._options
        self._probe = Probe(module, trainer.optimizers[0], log=self._log, **options)

    def on_train_batch_start(self, trainer: Trainer, module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Begin a step, or the next micro-batch of one."""
        if self._probe is None:
            return
        if self._open_at is None:
            self._step = self._probe.begin_step()
            self._open_at = trainer.global_step
        tensors = [leaf for leaf in tree_leaves(batch) if isinstance(leaf, Tensor) and leaf.dim() > 0]
        # `training_step` need not call the module itself: the batch says how many samples it holds.
        self._probe.micro_batch(tensors[0].shape[0] if tensors else 0)

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """End the step if the optimizer has made it."""
        if self._probe is None or self._open_at is None or trainer.global_step == self._open_at:
            return
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        if isinstance(loss, Tensor):
            self._step.record(loss=loss)
        self._open_at = None
        self._probe.end_step()

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Close the log."""
        if self._probe is not None:
            self._probe.close("interrupted" if trainer.interrupted else "finished")

    def on_exception(self, trainer: Trainer, module: LightningModule, exception: BaseException) -> None:
        """Close the log with the reason."""
        if self._probe is not None:
            interrupted = isinstance(exception, KeyboardInterrupt)
            self._probe.close("interrupted" if interrupted else "failed", f"{type(exception).__name__}: {exception}")
