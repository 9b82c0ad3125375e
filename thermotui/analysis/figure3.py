"""The four panels of the paper's Figure 3, read from the logs of `thermotui reproduce figure3`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from thermotui.errors import InputError
from thermotui.runlog.reader import RunLogReader

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]
FORMATS = ("png", "svg")
REALISATIONS = 4
"""Members whose parameter panel a shows, as the paper does."""


@dataclass(frozen=True)
class BatchSizeCurves:
    """One batch size: n measurements; noise and forces per parameter, as the paper draws them."""

    batch_size: int
    steps: NDArray[np.int64]
    parameters: Array
    """One parameter of the last layer, [n, members]."""
    accuracy: Array
    accuracy_spread: Array
    noise_variance: Array
    """C(t, 0) averaged over all parameters, [n]."""
    force_steps: NDArray[np.int64]
    force_max: Array
    """max_i |∂_i U|, where the full gradient was measured."""
    signal_to_noise: Array
    """‖∇U‖²/tr C there: the like-for-like ratio."""
    correlation_step: int | None
    """The step of `autocorrelation`; None where the run has not come that far."""
    autocorrelation: Array
    """C(t, lag) averaged over all parameters, [lags]."""


def read_curves(path: Path) -> BatchSizeCurves:
    """The curves of one log; InputError where it holds none."""
    with RunLogReader(path) as log:
        header = log.header
        steps, members, reservoir = (log.read(name) for name in ("steps", "members", "reservoir"))
        windows = log.read("autocorrelation")
    if header.config.get("command") != "reproduce figure3" or not len(reservoir):
        raise InputError(f"{path} is no log of `reproduce figure3` with measurements in it.")
    sizes = np.array([layer.size for layer in header.layers], dtype=np.float64)
    # T = μ/2 · mean Var(η): back to Σ_i Var(η_i) of each layer.
    traces = reservoir["temperature"] * sizes * 2 / reservoir["mobility"][:, None]
    measured = np.isfinite(reservoir["force"]).all(axis=1)
    force = np.square(reservoir["force"][measured].astype(np.float64)).sum(axis=1)
    step = int(windows["step"][0]) if len(windows) else None
    correlation = np.empty(0)
    if step is not None:
        weights = traces[np.flatnonzero(reservoir["step"] == step)[0]] / sizes.sum()
        correlation = weights @ windows["autocorrelation"][0]
    return BatchSizeCurves(
        batch_size=header.batch_size,
        steps=steps["step"],
        parameters=members["parameters"][:, :REALISATIONS, 0].astype(np.float64),
        accuracy=steps["accuracy"].astype(np.float64),
        accuracy_spread=steps["accuracy_spread"].astype(np.float64),
        noise_variance=traces.sum(axis=1) / sizes.sum(),
        force_steps=reservoir["step"][measured],
        force_max=reservoir["force_max"][measured].max(axis=1).astype(np.float64),
        signal_to_noise=force / traces[measured].sum(axis=1),
        correlation_step=step,
        autocorrelation=correlation,
    )


def draw_figure3(curves: Sequence[BatchSizeCurves], outputs: Sequence[Path]) -> None:
    """Draw the four panels to each of `outputs` (PNG, SVG); InputError where matplotlib is not installed.

    Labels and scales are the paper's. Two panels more: c with a logarithmic axis, and the like-for-like ratio of force
    and noise.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InputError("the picture needs matplotlib: install it with `pip install matplotlib`.") from error
    figure = Figure(figsize=(11, 11), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(3, 2).ravel().tolist()
    for index, curve in enumerate(curves):
        _draw(panels, curve, f"C{index}")
    titles = ("(a)", "(b)", "(c)", "(d)", "(c), logarithmic; dashed: max |∇U|", "force against noise, like for like")
    labels = (
        "Parameter trajectories",
        "Accuracy",
        "Noise variance",
        "Time correlation",
        "Noise variance",
        "‖∇U‖²/tr C",
    )
    for axes, title, label in zip(panels, titles, labels, strict=True):
        axes.set_title(title, loc="left")
        axes.set_ylabel(label)
        axes.set_xlabel("Time (steps)")
    panels[1].legend()
    panels[2].set_ylim(bottom=0)
    panels[3].set_xlabel("Time lag (steps)")
    for axes in panels[4:]:
        axes.set_yscale("log")
    for output in outputs:
        figure.savefig(output, dpi=150)


def _draw(panels: Sequence[Axes], curve: BatchSizeCurves, colour: str) -> None:
    parameters, accuracy, noise, correlation, logarithmic, ratio = panels
    parameters.plot(curve.steps, curve.parameters, color=colour, linewidth=0.7)
    accuracy.plot(curve.steps, curve.accuracy, color=colour, label=f"|b| = {curve.batch_size}")
    low, high = curve.accuracy - curve.accuracy_spread, curve.accuracy + curve.accuracy_spread
    accuracy.fill_between(curve.steps, low, high, color=colour, alpha=0.3, linewidth=0)
    noise.plot(curve.steps, curve.noise_variance, color=colour)
    logarithmic.plot(curve.steps, curve.noise_variance, color=colour)
    # Far above every variance, the force would flatten the curves of the linear panel.
    logarithmic.axhline(float(curve.force_max.max()), color=colour, linestyle="--", linewidth=0.8)
    ratio.plot(curve.force_steps, curve.signal_to_noise, color=colour, marker=".", linewidth=0.7)
    if curve.correlation_step is not None:
        lags = np.arange(curve.autocorrelation.size)
        correlation.plot(lags, curve.autocorrelation, color=colour, marker=".")
