"""The callbacks against the real frameworks (extras `lightning` and `transformers`, which CI installs)."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from thermotui.errors import InputError
from thermotui.runlog.reader import RunLogReader


def printed(*arguments: str) -> str:
    """What a command of thermotui prints; it has to succeed and to complain of nothing."""
    command = [sys.executable, "-m", "thermotui", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=120, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


def check_shown(path: Path, family: str, steps: int) -> None:
    """`watch` and `inspect` show the run as they show a built-in one: its family, its end, each layer's temperature."""
    frame = printed("watch", "--once", str(path))
    assert "finished" in frame and f"step {steps - 1}" in frame
    assert family in printed("inspect", str(path))
    seen = json.loads(printed("inspect", str(path), "--json"))
    with RunLogReader(path) as log:
        names = [layer.name for layer in log.header.layers]
    assert [row["name"] for row in seen["temperatures"]] == names
    assert all(row["temperature"] > 0 for row in seen["temperatures"])


def check_log(path: Path, steps: int, batch: int, family: str) -> None:
    """What `watch` needs of a log: a finished run with losses and a temperature for each layer and step."""
    with RunLogReader(path) as log:
        assert log.state().state == "finished"
        assert log.header.batch_size == batch
        rows, reservoir = log.read("steps"), log.read("reservoir")
        assert rows["step"].tolist() == list(range(steps))
        assert np.isfinite(rows["loss"]).all() and np.isfinite(rows["gradient_norm"]).all()
        assert np.isfinite(reservoir["temperature"]).all()
        assert (reservoir["temperature"] > 0).all()
        assert all("within the batch" in layer.estimator for layer in log.header.layers)
    check_shown(path, family, steps)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_lightning(tmp_path: Path, accumulate: int) -> None:
    lightning = pytest.importorskip("lightning.pytorch")
    from thermotui.probe.lightning import ThermotuiCallback

    class Classifier(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))

        def training_step(self, batch: Any, index: int) -> Tensor:
            # Not through the module's own forward.
            return F.cross_entropy(self.network(batch[0]), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    torch.manual_seed(0)
    data = torch.utils.data.TensorDataset(torch.randn(48, 6), torch.randint(3, (48,)))
    trainer = lightning.Trainer(
        max_epochs=2,
        accumulate_grad_batches=accumulate,
        callbacks=[ThermotuiCallback(tmp_path / "log.h5", window=20)],
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    trainer.fit(Classifier(), torch.utils.data.DataLoader(data, batch_size=8))
    check_log(tmp_path / "log.h5", 12 // accumulate, 8 * accumulate, "Classifier")


def test_transformers(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    from thermotui.probe.transformers import ThermotuiCallback

    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(vocab_size=13, max_position_embeddings=32, tie_word_embeddings=True, **sizes)
    )
    tokens = torch.randint(13, (32, 10))
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path / "out"),
        max_steps=6,
        per_device_train_batch_size=4,
        gradient_accumulation_steps=2,
        report_to=[],
        save_strategy="no",
        use_cpu=True,
        disable_tqdm=True,
    )
    data = [{"input_ids": row, "labels": row} for row in tokens]
    callback = ThermotuiCallback(tmp_path / "log.h5", window=20)
    transformers.Trainer(model, arguments, train_dataset=data, callbacks=[callback]).train()
    check_log(tmp_path / "log.h5", 6, 8, "LlamaForCausalLM")


def test_a_training_of_transformers_that_broke_off_is_closed_by_the_next(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    from thermotui.probe.transformers import ThermotuiCallback

    class Breaking(nn.Module):
        """Fails at its third forward pass, unless it is told not to."""

        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(6, 3)
            self.left = 2

        def forward(self, inputs: Tensor, labels: Tensor) -> dict[str, Tensor]:
            self.left -= 1
            if self.left < 0:
                raise RuntimeError("mine")
            return {"loss": F.cross_entropy(self.layer(inputs), labels)}

    torch.manual_seed(0)
    data = [{"inputs": torch.randn(6), "labels": torch.tensor(n % 3)} for n in range(16)]
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path / "out"), max_steps=4, per_device_train_batch_size=4, report_to=[],
        save_strategy="no", use_cpu=True, disable_tqdm=True,
    )  # fmt: skip
    model, callback = Breaking(), ThermotuiCallback(tmp_path / "log.h5", window=20)
    with pytest.raises(RuntimeError, match="mine"):
        transformers.Trainer(model, arguments, train_dataset=data, callbacks=[callback]).train()
    model.left = 100
    with pytest.raises(InputError, match="exists already"):
        transformers.Trainer(model, arguments, train_dataset=data, callbacks=[callback]).train()
    with RunLogReader(tmp_path / "log.h5") as log:
        assert log.state().state == "failed"
        assert log.read("steps")["step"].tolist() == [0, 1]
        assert np.isfinite(log.read("steps")["loss"]).all()
    assert not model.layer._forward_hooks and not model._forward_hooks
