"""The probe as a callback of the Hugging Face Trainer (the extra `transformers`).

trainer = Trainer(model, args, train_dataset=data, callbacks=[ThermotuiCallback("runs/mine.h5")])
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from thermotui.probe.probe import Probe
from thermotui.probe.step import Step


class ThermotuiCallback(TrainerCallback):
    """Measures the model while the Trainer trains it; the loss logged is that of the model's last micro-batch."""

    def __init__(self, log: Path | str, **options: Any) -> None:
        """log: the run log. options: those of `Probe` beside the model and the optimizer."""
        self._log = log
        self._options = options
        self._probe: Probe | None = None
        self._step = Step()
        self._loss: RemovableHandle | None = None

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: nn.Module,
        optimizer: Optimizer,
        **unused: Any,
    ) -> None:
        """Attach."""
        # The Trainer tells its callbacks nothing of an exception: the next training finds what it left.
        self._close("failed", "the training did not come to its end")
        options: dict[str, Any] = {
            "family": type(model).__name__,
            "steps": state.max_steps,
            "start_step": state.global_step,
        }
        options |= self._options
        self._probe = Probe(model, optimizer, log=self._log, **options)
        self._loss = model.register_forward_hook(self._note_loss)

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **unused: Any
    ) -> None:
        """Begin a step of the optimizer; its micro-batches follow."""
        if self._probe is not None:
            self._step = self._probe.begin_step()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **unused: Any) -> None:
        """End it."""
        if self._probe is not None:
            self._probe.end_step()

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **unused: Any
    ) -> None:
        """Close the log."""
        self._close("finished")

    def _close(self, state: Literal["finished", "failed"], message: str = "") -> None:
        if self._probe is not None:
            self._probe.close(state, message)
        if self._loss is not None:
            self._loss.remove()
        self._probe = self._loss = None

    def _note_loss(self, module: nn.Module, inputs: Any, output: Any) -> None:
        loss = output.get("loss") if isinstance(output, dict) else getattr(output, "loss", None)
        if isinstance(loss, Tensor) and module.training:
            self._step.record(loss=loss)
