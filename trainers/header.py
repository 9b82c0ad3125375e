"""The header of a run's log, from its options and its family."""

from __future__ import annotations

import importlib.metadata
import os
import socket
import time
import uuid
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from thermotui.runlog.schema import Header
from trainers.config import TrainConfig, flat
from trainers.families.options import RBMOptions
from trainers.families.ppm import PPM

LAGS = 16
WINDOW = 256
"""Lags of the autocorrelation of η and steps in one of its windows."""


def make_header(
    family: PPM,
    config: TrainConfig,
    options: Any,
    *,
    estimator: str,
    detectors: dict[str, Any],
    notes: tuple[str, ...] = (),
) -> Header:
    """All that is known of the run before its first step.

    estimator: who measures the temperatures. detectors: settings of the detectors that record alerts. notes: what the
    instruments have to say of their figures.
    """
    return Header(
        run_id=uuid.uuid4().hex,
        created=time.time(),
        family=family.name,
        layers=tuple(replace(layer, estimator=layer.estimator or estimator) for layer in family.layers),
        ensemble=config.ensemble,
        ensemble_varies=config.ensemble_varies,
        stride=config.stride,
        reservoir_stride=config.reservoir_stride,
        lags=LAGS,
        steps=config.steps,
        batch_size=config.batch_size,
        dataset_size=family.dataset_size,
        replacement=config.replacement,
        marginal="ensemble" if config.ensemble > 1 else "window",
        figures=dict(family.figures),
        detectors=detectors,
        config=flat(config, options),
        versions={
            "thermotui": importlib.metadata.version("thermotui"),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
        notes=(*_notes(family, config, options), *notes),
        host=socket.gethostname(),
        pid=os.getpid(),
    )


def _notes(family: PPM, config: TrainConfig, options: Any) -> tuple[str, ...]:
    notes = [
        f"accuracy: {family.accuracy_name}.",
        "Standard errors are those of the probe inputs or samples at the members' θ; the spread over the members is in "
        "the stream members.",
    ]
    if config.ensemble == 1:
        notes.append("One member: L-info and S_X are read against a window of the run's own past, a substitute.")
    elif config.ensemble_varies == "seed":
        notes.append("Members differ by seed alone: L-info is I(X;Θ|B), the spread due to chance, at fixed data.")
    else:
        notes.append(
            f"Members differ by data ({config.subsets} subsets) and seed: L-info is I(X;Θ) = I(X;B) + I(X;Θ|B)."
        )
    if isinstance(options, RBMOptions) and not options.persistent:
        notes.append(
            "Chains that start at the data (CD) give a gradient that is not the likelihood's: temperature_full, force, "
            "force_max and signal_to_noise are against the likelihood's and hold the difference; temperature does not."
        )
    return tuple(notes)
