"""Format version 2: the streams of a run log, their fields and units, and the header. See docs/run-log.md.

Everything that knows the layout of a file derives it from here: the writer's dtypes, the reader's checks, the rollups,
`export`, the log browser and the documentation's table.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import numpy as np

FORMAT = "thermotui"
FORMAT_VERSION = 2

Axis = Literal["layer", "member", "lag", "parameter"]
State = Literal["starting", "running", "finished", "failed", "interrupted"]
STATES: tuple[State, ...] = ("starting", "running", "finished", "failed", "interrupted")

CHOSEN_PARAMETERS = 4
"""How many single parameters of the last layer `members` follows (the paper's Figure 3a)."""


class Field(NamedTuple):
    """One column of a stream: its numpy type string, its per-row axes, its unit and what it means."""

    name: str
    dtype: str
    unit: str
    description: str
    axes: tuple[Axis, ...] = ()


class Stream(NamedTuple):
    """One table of the log. `rollups` says whether minima, maxima and means are kept beside it; `ordered`, whether
    its steps never decrease from row to row."""

    name: str
    description: str
    fields: tuple[Field, ...]
    rollups: bool = True
    ordered: bool = True

    def field(self, name: str) -> Field:
        """The field of that name; KeyError if there is none."""
        for candidate in self.fields:
            if candidate.name == name:
                return candidate
        raise KeyError(name)


_STEP = Field("step", "i8", "steps", "optimizer step")
_TIME = Field("time", "f8", "s", "seconds since the epoch, the writer's clock")


def _figure(name: str, unit: str, description: str) -> tuple[Field, Field]:
    return (
        Field(name, "f8", unit, description),
        Field(f"{name}_se", "f4", unit, f"standard error of {name}"),
    )


STEPS = Stream(
    "steps",
    "one optimizer step",
    (
        _STEP,
        _TIME,
        Field("loss", "f4", "nats", "mini-batch loss before the step, mean over the ensemble"),
        Field("accuracy", "f4", "", "mini-batch accuracy or the family's own figure, mean over the ensemble"),
        Field("learning_rate", "f4", "", "learning rate r"),
        Field("gradient_norm", "f4", "", "norm of the mini-batch gradient, mean over the ensemble"),
        Field("loss_spread", "f4", "nats", "standard deviation of the loss over the ensemble"),
        Field("accuracy_spread", "f4", "", "standard deviation of the accuracy over the ensemble"),
    ),
)

THERMO = Stream(
    "thermo",
    "one transition of `stride` steps; work, heat, entropy productions and M-info are running totals from step 0",
    (
        _STEP,
        _TIME,
        *_figure("work", "nats", "running work W, eq. 38"),
        *_figure("heat", "nats", "running heat Q, eq. 39; negative when learning dissipates"),
        *_figure("entropy_conditional", "nats", "S_{X|Θ} at this step"),
        *_figure("entropy_marginal", "nats", "S_X at this step"),
        *_figure("ep_conditional", "nats", "running conditional entropy production, eq. 22"),
        *_figure("ep_marginal", "nats", "running marginal entropy production, eq. 25"),
        *_figure("ep_ignorance", "nats", "ignorance entropy production, eq. 26"),
        *_figure("l_info_lower", "nats", "L-info with the member itself in the mixture: a lower bound, ≤ ln K"),
        *_figure("l_info_upper", "nats", "L-info with the member left out of the mixture: an upper bound"),
        *_figure("l_info_window", "nats", "substitute for a single run: mixture over a window of its own past"),
        *_figure("m_info", "nats", "M-info gained, −Q by the Clausius relation, eq. 28"),
        *_figure("learning_efficiency", "", "L-info gained / M-info gained"),
        *_figure("log_partition", "nats", "ln Z(θ), where the family has one"),
        *_figure("log_partition_forward", "nats", "check of ln Z by annealing towards the model: low if it fails"),
        *_figure("log_partition_reverse", "nats", "check of ln Z by annealing from the chains: high if it fails"),
        Field("relaxation", "f8", "", "largest over the ensemble: correlation of the chains over one transition"),
        Field("work_half_variance", "f8", "nats", "running second estimate of the work: half the variance of ΔE"),
        Field(
            "effective_sample_size", "f8", "samples", "smallest over the ensemble; of the samples behind the averages"
        ),
        Field("first_law_residual", "f8", "nats", "W + Q − ΔS_{X|Θ}, each by its own route"),
        Field("first_law_residual_se", "f4", "nats", "standard error of first_law_residual; rounding where exact"),
    ),
)

RESERVOIR = Stream(
    "reservoir",
    "one measurement of the parameters as a heat reservoir",
    (
        _STEP,
        _TIME,
        Field("mobility", "f4", "", "effective mobility μ = r/α"),
        Field("temperature", "f4", "nats", "k_B T of the layer, eq. 34, by the within-batch estimator", ("layer",)),
        Field("temperature_se", "f4", "nats", "standard error of temperature", ("layer",)),
        Field("temperature_full", "f4", "nats", "k_B T of the layer from η against the full gradient", ("layer",)),
        Field("temperature_full_se", "f4", "nats", "standard error of temperature_full", ("layer",)),
        Field("force", "f4", "", "norm of the full-data force −∇U_B, or its batch estimate", ("layer",)),
        Field("signal_to_noise", "f4", "", "‖∇U‖² / tr C of the mini-batch noise", ("layer",)),
        Field("noise_skew", "f4", "", "skewness of the components of η", ("layer",)),
        Field("noise_kurtosis", "f4", "", "excess kurtosis of the components of η", ("layer",)),
        Field("drift", "f4", "", "‖θ − θ_0‖ / ‖θ_0‖", ("layer",)),
        Field("reversibility_gap", "f4", "", "‖θ† − θ_t‖ / ‖θ_{t+1} − θ_t‖, Appendix A", ("layer",)),
        Field("fluctuation_dissipation", "f4", "", "⟨θ·∇U⟩ / (r/2 ⟨g²⟩), 1 when stationary (Yaida)", ("layer",)),
        Field("force_max", "f4", "", "largest component of the force, max_i |∂_i U_B|", ("layer",)),
    ),
)

AUTOCORRELATION = Stream(
    "autocorrelation",
    "one window of the autocorrelation of η",
    (
        _STEP,
        Field("window", "i8", "steps", "samples of η in the window"),
        Field("bound", "f4", "", "two-sided 95 % bound of white noise in the layer where it is widest"),
        Field(
            "autocorrelation", "f4", "", "C(t, lag) / C(t, 0); column j is lag j, so column 0 is 1", ("layer", "lag")
        ),
        Field("expected_echo", "f4", "", "what sampling without replacement alone gives; column 0 is 1", ("lag",)),
    ),
    rollups=False,
)

MEMBERS = Stream(
    "members",
    "one measurement of each ensemble member: the partially averaged quantities",
    (
        _STEP,
        Field("loss", "f4", "nats", "mini-batch loss", ("member",)),
        Field("accuracy", "f4", "", "mini-batch accuracy or the family's own figure", ("member",)),
        Field("parameters", "f4", "", "a few chosen parameters of the last layer", ("member", "parameter")),
        Field("work", "f8", "nats", "running work", ("member",)),
        Field("heat", "f8", "nats", "running heat", ("member",)),
        Field("entropy_conditional", "f8", "nats", "S_{X|Θ}", ("member",)),
        Field("entropy_marginal", "f8", "nats", "cross entropy with the mixture", ("member",)),
    ),
)

ALERTS = Stream(
    "alerts",
    "one alert when raised, and the same alert again when it ends",
    (
        _STEP,
        _TIME,
        Field("kind", "S32", "", "what happened"),
        Field("layer", "i4", "", "index of the layer, −1 for the run as a whole"),
        Field("start", "i8", "steps", "first step of the interval"),
        Field("end", "i8", "steps", "first step after the interval, −1 while it lasts"),
        Field("severity", "S8", "", "minor, warning or critical"),
        Field("p_value", "f8", "", "p-value of the evidence, NaN where the rule is no test"),
        Field("message", "S160", "", "the evidence in one sentence, UTF-8"),
    ),
    rollups=False,
    ordered=False,
)

HEARTBEAT = Stream(
    "heartbeat",
    "a sign of life, about once a second",
    (
        _TIME,
        _STEP,
        Field("state", "S12", "", "starting, running, finished, failed or interrupted"),
        Field("message", "S160", "", "why, where it failed or was interrupted"),
    ),
    rollups=False,
    ordered=False,
)

STREAMS: dict[str, Stream] = {
    stream.name: stream for stream in (STEPS, THERMO, RESERVOIR, AUTOCORRELATION, MEMBERS, ALERTS, HEARTBEAT)
}

ROLLUP_FACTORS = (128, 1024, 8192, 65536, 524288)
"""Rows behind one rollup row, level by level; each divides the next, and all are powers of two."""
ROLLUP_FACTORS_OF_VERSION = {1: (64, 512, 4096, 32768, 262144), 2: ROLLUP_FACTORS}


@dataclass(frozen=True)
class Layer:
    """A layer, or parameter group, of the reservoir: one member's parameter count and who measures it."""

    name: str
    size: int
    estimator: str = ""
    """Which estimator of the temperature serves the layer, in words; empty where none does."""


@dataclass(frozen=True)
class Header:
    """The root attributes of a run log: all that is known before the first step and never changes.

    `figures` says of a column of `thermo` what kind of number it is where it is not a plain estimate:
    "exact", "lower bound", "upper bound", "difference of bounds", "substitute", "none".
    """

    run_id: str
    created: float
    family: str
    layers: tuple[Layer, ...]
    ensemble: int = 1
    ensemble_varies: Literal["seed", "data"] = "seed"
    stride: int = 1
    reservoir_stride: int = 1
    lags: int = 16
    steps: int = 0
    """Planned number of optimizer steps; 0 where unknown."""
    batch_size: int = 0
    dataset_size: int = 0
    replacement: bool = True
    marginal: Literal["ensemble", "window", "none"] = "none"
    """What the mixture p̄ is over: the ensemble, a window of the run's own past, or nothing."""
    figures: dict[str, str] = field(default_factory=dict)
    detectors: dict[str, Any] = field(default_factory=dict)
    """Settings of the detectors whose alerts the writer records; empty where it records none."""
    config: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    """What is not measured or reads beyond the paper, one sentence each."""
    host: str = ""
    pid: int = 0
    rank: int = 0
    world_size: int = 1

    def to_attributes(self) -> dict[str, Any]:
        """HDF5 root attributes: plain scalars, and JSON text for whatever is nested."""
        nested = {"layers", "figures", "detectors", "config", "versions", "notes"}
        values = asdict(self)
        attributes = {name: json.dumps(value) if name in nested else value for name, value in values.items()}
        return {"format": FORMAT, "format_version": FORMAT_VERSION, "units": "nats"} | attributes


def row_dtype(stream: Stream, header: Header, unmeasured: Collection[str] = ()) -> np.dtype[np.void]:
    """The compound dtype of one row of `stream` for a run with that header, without the fields `unmeasured`.

    Fields of four bytes lie behind the others, in both the order of the schema: neighbours of one type are rolled up at
    once. HDF5 has no arrays of length 0: a run without layers has one column of them, never measured.
    """
    sizes: dict[Axis, int] = {
        "layer": len(header.layers),
        "member": header.ensemble,
        "lag": header.lags,
        "parameter": CHOSEN_PARAMETERS,
    }
    return np.dtype(
        [
            (field.name, field.dtype, tuple(max(1, sizes[axis]) for axis in field.axes))
            for field in sorted(stream.fields, key=lambda field: field.dtype == "f4")
            if field.name not in unmeasured
        ]
    )


Unmeasured = Mapping[str, Collection[str]]
"""Fields, per stream, that a run never measures and its file therefore leaves out; a reader takes them for NaN."""
EVERYTHING_MEASURED: Unmeasured = MappingProxyType({})


def file_dtypes(header: Header, unmeasured: Unmeasured) -> dict[str, np.dtype[np.void]]:
    """The compound dtype of a row of each stream in a file that leaves out the fields `unmeasured`.

    ValueError for a stream or field that there is not, and for one that no file can do without: text, numbers of
    steps and layers, and the times of `heartbeat` have no value that says "not measured".
    """
    for name, fields in unmeasured.items():
        if name not in STREAMS:
            raise ValueError(f"there is no stream {name!r}")
        optional = [field.name for field in STREAMS[name].fields if field.dtype.startswith("f")]
        needed = [field for field in fields if field not in optional or name == "heartbeat"]
        if needed:
            raise ValueError(f"a log cannot leave out {needed[0]!r} of {name}")
    return {name: row_dtype(stream, header, unmeasured.get(name, ())) for name, stream in STREAMS.items()}
