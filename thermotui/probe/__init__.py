"""Measures a live PyTorch model: gradient noise and temperature per layer, autocorrelation, reversibility."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from thermotui.probe.probe import Probe as Probe

__all__ = ["Probe"]


def __getattr__(name: str) -> Any:
    """`from thermotui.probe import Probe`, without loading torch for those who need only a part of this package."""
    if name == "Probe":
        return importlib.import_module("thermotui.probe.probe").Probe
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
