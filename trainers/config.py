"""The options that every family shares, checked; free of torch."""

from __future__ import annotations

import dataclasses
import itertools
import math
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from thermotui.detect.alert import KINDS
from thermotui.errors import InputError
from thermotui.runlog.paths import is_directory, is_there
from trainers.families.options import option
from trainers.families.registry import FAMILIES


@dataclass(frozen=True)
class TrainConfig:
    """Common options of `thermotui train`, spelled alike in every family."""

    steps: int = option(10_000, "Optimizer steps.")
    batch_size: int = option(10, "Samples |b| in a mini-batch.")
    learning_rate: float = option(0.02, "Learning rate r.")
    optimizer: Literal["sgd", "momentum", "adam"] = option("sgd", "Optimizer; momentum is SGD with 0.9.")
    ensemble: int = option(8, "Members K trained side by side.")
    ensemble_varies: Literal["seed", "data"] = option("seed", "What differs between members beside chance.")
    subsets: Literal["bootstrap", "disjoint"] = option("bootstrap", "With --ensemble-varies data: each member's data.")
    replacement: bool = option(True, "Draw mini-batches with or without replacement.")
    stride: int = option(10, "Optimizer steps in one thermodynamic transition; part of the figures' meaning.")
    probe_size: int = option(256, "Probe inputs or samples behind each figure.")
    reservoir_stride: int = option(20, "Steps between measurements of the reservoir.")
    full_stride: int = option(0, "Steps between measurements against the full gradient; 0: a tenth of the time.")
    learning_rate_at: tuple[str, ...] = option((), "STEP:VALUE, a new learning rate from that step on; repeatable.")
    corrupt_labels: tuple[str, ...] = option(
        (), "START:STOP:FRACTION, that part of the training labels is wrong in those steps; repeatable."
    )
    stop_on: tuple[str, ...] = option((), "Stop when an alert of this kind is raised; repeatable.")
    seed: int = option(0, "Seed of everything random.")
    device: Literal["auto", "cpu", "cuda"] = option("auto", "Device; auto takes CUDA where there is one.")
    checkpoint_every: int = option(0, "Steps between checkpoints; 0: about every minute.")

    def __post_init__(self) -> None:
        """InputError, naming the option, for values out of range."""
        for name in ("steps", "batch_size", "ensemble", "stride", "reservoir_stride"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "must be at least 1")
        # The Gaussian's samples are pairs; a single pair, or sample, has no spread to take a standard error from.
        _require(self.probe_size >= 4, "probe_size", self.probe_size, "must be at least 4 to have a standard error")
        _require(0 < self.learning_rate < math.inf, "learning_rate", self.learning_rate, "must be positive")
        _require(0 <= self.seed < 2**63, "seed", self.seed, "must lie in 0 … 2^63 − 1")
        for name in ("full_stride", "checkpoint_every"):
            _require(getattr(self, name) >= 0, name, getattr(self, name), "must not be negative")
        for kind in self.stop_on:
            _require(kind in KINDS, "stop_on", kind, f"is no kind of alert; the kinds are {', '.join(KINDS)}")
        self.learning_rates()
        self.corruptions()

    def learning_rates(self) -> dict[int, float]:
        """Step → learning rate from that step on."""
        rates = {}
        for text in self.learning_rate_at:
            step, rate = _split("learning_rate_at", text, (int, float), "STEP:VALUE")
            _require(
                step >= 1 and 0 < rate < math.inf,
                "learning_rate_at",
                text,
                "needs a step of at least 1 and a positive rate",
            )
            rates[step] = rate
        return rates

    def corruptions(self) -> list[tuple[int, int, float]]:
        """(first step, first step after it, fraction of wrong labels), in the order of the steps."""
        stretches = []
        for text in self.corrupt_labels:
            start, end, fraction = _split("corrupt_labels", text, (int, int, float), "START:STOP:FRACTION")
            _require(
                1 <= start < end and 0 < fraction <= 1, "corrupt_labels", text, "needs 1 ≤ START < STOP, 0 < F ≤ 1"
            )
            stretches.append((start, end, fraction))
        stretches.sort()
        for (_, end, _), (start, _, _) in itertools.pairwise(stretches):
            _require(end <= start, "corrupt_labels", f"…:{end} and {start}:…", "must not overlap")
        return stretches


def resolve(family: str, values: Mapping[str, Any]) -> tuple[TrainConfig, Any]:
    """The common options and the family's own from one flat mapping; what is missing takes the family's default.

    Raises InputError for an unknown family, an unknown name or a value out of range.
    """
    if family not in FAMILIES:
        raise InputError(f"'{family}' is no family; the families are {', '.join(FAMILIES)}.")
    entry = FAMILIES[family]
    common = {f.name for f in dataclasses.fields(TrainConfig)}
    own = {f.name for f in dataclasses.fields(entry.options)}
    unknown = sorted(set(values) - common - own)
    if unknown:
        raise InputError(f"the family {family} has no option {', '.join(map(spelled, unknown))}.")
    for name, value in values.items():
        if isinstance(value, float):
            _require(math.isfinite(value), name, value, "must be a finite number")
    merged = {**entry.defaults, **values}
    config = TrainConfig(**{name: value for name, value in merged.items() if name in common})
    return config, entry.options(**{name: value for name, value in merged.items() if name in own})


def flat(config: TrainConfig, options: Any) -> dict[str, Any]:
    """Both as one JSON-able mapping, `from_flat`'s inverse; paths made absolute, so that it holds from anywhere."""
    values = dataclasses.asdict(config) | dataclasses.asdict(options)
    return {name: _plain(value) for name, value in values.items()}


def from_flat(family: str, values: Mapping[str, Any]) -> tuple[TrainConfig, Any]:
    """The options that `flat` wrote into a header's `config`; InputError as in `resolve`."""
    if family not in FAMILIES:
        return resolve(family, values)
    hints = typing.get_type_hints(TrainConfig) | typing.get_type_hints(FAMILIES[family].options)
    restored = dict(values)
    for name, value in values.items():
        if hints.get(name) == tuple[str, ...]:
            restored[name] = tuple(value)
        elif hints.get(name) == Path | None and value is not None:
            restored[name] = Path(value)
    return resolve(family, restored)


def spelled(name: str) -> str:
    """An option's name as typed on the command line."""
    return "--" + name.replace("_", "-")


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value.resolve())
    return list(value) if isinstance(value, tuple) else value


def _require(condition: bool, name: str, value: object, rule: str) -> None:
    if not condition:
        raise InputError(f"{spelled(name)} {value} {rule}.")


def _split(name: str, text: str, types: tuple[Callable[[str], Any], ...], pattern: str) -> tuple[Any, ...]:
    parts = text.split(":")
    if len(parts) == len(types):
        try:
            return tuple(convert(part) for convert, part in zip(types, parts, strict=True))
        except ValueError:
            pass
    raise InputError(f"{spelled(name)} {text} is not of the form {pattern}.")


def refuse_existing(log: Path) -> None:
    """InputError where something lies at `log` already, which a new run does not write over."""
    if not is_there(log, "written"):
        return
    if is_directory(log):
        raise InputError(f"{log} is a directory; name a file in it with --log, such as {log / 'run.h5'}.")
    raise InputError(f"{log} exists already; choose another name with --log, or continue it with --resume.")
