"""The panels of a run: which columns of the log each shows. One table for the screen, the plain frame and `plot`."""

from __future__ import annotations

from typing import NamedTuple


class Line(NamedTuple):
    """A curve of a panel: a column, the words for its legend, and the column that holds its error or spread."""

    field: str
    label: str
    error: str = ""
    short: str = ""
    """The words where the panel is narrow; empty for the label."""


class Panel(NamedTuple):
    """A panel of the dashboard: columns of one stream that share a unit."""

    name: str
    title: str
    stream: str
    lines: tuple[Line, ...]
    short: str = ""
    """The title where the panel is narrow."""
    totals: bool = False
    """Whether its lines are running totals, which go on growing."""

    @property
    def fields(self) -> tuple[str, ...]:
        """The columns to ask the log for."""
        names = [name for line in self.lines for name in (line.field, line.error) if name]
        return tuple(dict.fromkeys(names))


def _figures(*lines: tuple[str, str] | tuple[str, str, str]) -> tuple[Line, ...]:
    return tuple(Line(name, label, f"{name}_se", *short) for name, label, *short in lines)


PANELS: tuple[Panel, ...] = (
    Panel("heat_work", "Heat and work", "thermo", _figures(("work", "W"), ("heat", "Q")), "Heat/work", totals=True),
    Panel(
        "entropy_production",
        "Entropy production",
        "thermo",
        _figures(("ep_conditional", "Σ X|Θ"), ("ep_marginal", "Σ X"), ("ep_ignorance", "Σ ign")),
        "EP",
        totals=True,
    ),
    Panel(
        "information",
        "Information",
        "thermo",
        _figures(
            ("l_info_lower", "L-info ≥", "L ≥"),
            ("l_info_upper", "L-info ≤", "L ≤"),
            ("l_info_window", "L-info (window)", "L win"),
            ("m_info", "M-info", "M"),
        ),
        "Info",
        totals=True,
    ),
    Panel("loss", "Loss", "steps", (Line("loss", "loss", "loss_spread"),)),
    Panel("accuracy", "Accuracy", "steps", (Line("accuracy", "accuracy", "accuracy_spread"),)),
    Panel(
        "efficiency",
        "Learning efficiency",
        "thermo",
        _figures(("learning_efficiency", "L-info / M-info", "L/M")),
        "Efficiency",
    ),
    Panel("entropy", "Entropy", "thermo", _figures(("entropy_conditional", "S X|Θ"), ("entropy_marginal", "S X")), "S"),
    Panel("log_partition", "Log partition function", "thermo", _figures(("log_partition", "ln Z")), "ln Z"),
    Panel(
        "first_law",
        "First-law residual",
        "thermo",
        (Line("first_law_residual", "W + Q − ΔS", "first_law_residual_se"),),
        "First law",
    ),
    Panel("gradient_norm", "Gradient norm", "steps", (Line("gradient_norm", "‖g‖"),)),
    Panel("learning_rate", "Learning rate", "steps", (Line("learning_rate", "r"),)),
    Panel("mobility", "Mobility", "reservoir", (Line("mobility", "μ"),)),
)


def fields_of(panels: tuple[Panel, ...]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The columns that the panels need, per stream, as a query asks for them."""
    wanted: dict[str, dict[str, None]] = {}
    for panel in panels:
        wanted.setdefault(panel.stream, {}).update(dict.fromkeys(panel.fields))
    return tuple((stream, tuple(names)) for stream, names in wanted.items())


LABELS: dict[str, str] = {line.field: line.label for panel in PANELS for line in panel.lines}
"""The sign or the words for a column: `W`, `Σ X|Θ`, `L-info ≥`."""
