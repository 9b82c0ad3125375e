"""Checkpoints beside the log: everything that the next step depends on, replaced atomically."""

from __future__ import annotations

import io
import logging
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch

from thermotui.errors import InputError
from thermotui.runlog.disk import reason_not_to_start, reason_of
from thermotui.runlog.paths import is_there
from thermotui.runlog.schema import Header
from thermotui.runlog.writer import RunLogWriter

_ARRAY = "__numpy__"
logger = logging.getLogger("thermotui")


def checkpoint_path(log: Path) -> Path:
    """Where the checkpoint of a log lies: `runs/a.h5` → `runs/a.checkpoint`."""
    return log.with_suffix(".checkpoint")


class Checkpoints:
    """Saves a run's state beside its log: the old one or the new one is there at any moment, never a part of one.

    Nothing is saved once logging has stopped, so that log and checkpoint keep belonging together. A disk that refuses
    or is about to be full is one warning: it must end neither the training nor the log, whose room a checkpoint leaves.
    """

    def __init__(self, writer: RunLogWriter) -> None:
        self._writer = writer
        self._refused = False

    def save(self, state: dict[str, Any]) -> None:
        """Replace the checkpoint by that state."""
        if self._writer.failure is not None:
            return
        path = checkpoint_path(self._writer.path)
        # The log's lock keeps a second writer out, so that one name will do; what a kill leaves is then overwritten.
        temporary = path.with_name(f".{path.name}.tmp")
        whole = io.BytesIO()
        torch.save({"run_id": self._writer.header.run_id, **_encode(state)}, whole)
        try:
            shortage = reason_not_to_start(path.parent, whole.tell())
            if shortage is None:
                with temporary.open("wb") as file:
                    file.write(whole.getbuffer())
                    file.flush()
                    os.fsync(file.fileno())
                temporary.replace(path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            shortage = reason_of(error)
        if shortage is not None and not self._refused:
            logger.warning("%s: no checkpoint was saved, the training goes on: %s", path, shortage)
        self._refused = shortage is not None


def load_checkpoint(log: Path, header: Header) -> dict[str, Any]:
    """The state saved beside `log`; InputError where there is none, or not one of that run."""
    path = checkpoint_path(log)
    if not is_there(path):
        raise InputError(f"{log}: there is no checkpoint {path.name} beside it; the run cannot be resumed.")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise InputError(f"{path}: is no checkpoint, or a damaged one; the run cannot be resumed.") from error
    if not isinstance(state, dict) or state.get("run_id") != header.run_id:
        raise InputError(f"{path}: belongs to another run than {log.name}.")
    decoded: dict[str, Any] = _decode(state)
    return decoded


def _encode(value: Any) -> Any:
    """Numpy arrays and scalars as tensors and numbers, which `torch.load` reads without running any code."""
    if isinstance(value, np.ndarray):
        return {_ARRAY: torch.from_numpy(np.array(value))}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        return {key: _encode(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_encode(item) for item in value)
    if value is None or isinstance(value, bool | int | float | str | bytes | torch.Tensor):
        return value
    raise TypeError(f"a checkpoint cannot hold a {type(value).__name__}")


def _decode(value: Any) -> Any:
    if isinstance(value, dict):
        if set(value) == {_ARRAY}:
            return value[_ARRAY].numpy()
        return {key: _decode(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_decode(item) for item in value)
    return value
