"""The random numbers of the training: left where they were, whatever is run in between."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from thermotui.probe.sameness import differences


@contextlib.contextmanager
def random_numbers_put_back(device: torch.device) -> Iterator[Callable[[], bool]]:
    """Gives back those of torch, numpy and Python at the end; what it yields says whether any were drawn until then."""
    devices = [device] if device.type == "cuda" else []
    before = _states(device)
    try:
        with torch.random.fork_rng(devices=devices):
            yield lambda: not _same(before, _states(device))
    finally:
        # Only what was drawn, as another thread may draw meanwhile, which is rare enough to be put back with it.
        after = _states(device)
        if before[0] != after[0]:
            random.setstate(before[0])
        if any(bool(one) for one in differences(before[1], after[1])):
            # The one that libraries draw from unless they are told otherwise.
            np.random.set_state(before[1])  # noqa: NPY002


def _states(device: torch.device) -> tuple[Any, Any, list[torch.Tensor]]:
    states = [torch.get_rng_state()]
    if device.type == "cuda":
        states.append(torch.cuda.get_rng_state(device))
    return random.getstate(), np.random.get_state(legacy=False), states  # noqa: NPY002


def _same(before: tuple[Any, Any, list[torch.Tensor]], after: tuple[Any, Any, list[torch.Tensor]]) -> bool:
    # Python's is a tuple of six hundred numbers, which takes long one by one.
    return before[0] == after[0] and not any(bool(one) for one in differences(before[1:], after[1:]))
