"""What the probe computes is computed in the precision of its tensors, whatever the loop has autocast do around it."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager

import torch

_AS_IT_IS = contextlib.nullcontext()


def full_precision(device: torch.device) -> AbstractContextManager[None]:
    """Products in float32 stay in float32, also where the loop goes backward or ends its step under autocast."""
    # Of a device that has none, PyTorch does not say that it is off.
    if not (torch.amp.is_autocast_available(device.type) and torch.is_autocast_enabled(device.type)):
        return _AS_IT_IS
    return torch.autocast(device.type, enabled=False)
