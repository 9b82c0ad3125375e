"""Whether what is measured can be what it is taken for."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from thermotui.detect.alert import Alert
from thermotui.probe.measurement import RAW, Measurements

logger = logging.getLogger("thermotui")

ENOUGH = 16
"""Such measurements of one layer before anything is said."""
ERRORS = 5.0
"""Standard errors below zero that no temperature is by chance: it is that of a variance."""
ROUNDING = 0.01
"""Share of the samples' squares below which a difference of large numbers may be rounding."""
FEW = 0.05
"""Share of a batch without a gradient that is not worth a word."""
NAMED = 8
"""Layers that one sentence names; more are counted."""


def absence(names: Sequence[str]) -> str:
    """What is said of layers of which the optimizer has no parameter."""
    its = "its" if len(names) == 1 else "their"
    return f"{_listed(names)}: none of {its} parameters are in the optimizer, so {its} mobility is unknown."


def dependence_on_length(names: Sequence[str], sketch: int) -> str:
    """What is said of layers whose estimator follows the length of the sequences, or the size of the images."""
    return (
        f"{_listed(names)}: exact norms up to {2 * sketch} positions a sample, a random sketch of {sketch} beyond; the "
        "estimator named is that of the first step."
    )


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more layers" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


class AbsentLayers:
    """Warns of layers that the optimizer does not have, once of each."""

    def __init__(self, names: Sequence[str]) -> None:
        """names: of all layers."""
        self._names = names
        self._seen: tuple[int, ...] = ()
        self._said: set[int] = set()

    def look(self, absent: tuple[int, ...]) -> None:
        """absent: those that the optimizer lacks at present."""
        if absent is self._seen:
            return
        self._seen = absent
        new = [layer for layer in absent if layer not in self._said]
        self._said.update(new)
        if new:
            logger.warning("%s", absence([self._names[layer] for layer in new]))


class IdleOptimizer:
    """Warns once where gradients come, but the optimizer makes no step: the loop uses another one."""

    def __init__(self) -> None:
        self._said = False

    def look(self, stepped: bool) -> None:
        """Some measured steps with gradients; stepped: the optimizer has made a step among them."""
        if not (stepped or self._said):
            self._said = True
            logger.warning(
                "the optimizer that the probe was given makes no steps: its learning rate, and so the mobility, may "
                "not be the one in use."
            )


class EstimatorChanges:
    """Alerts where a layer is not measured as its header says, which was written after the first step.

    Such an alert lasts as long as the figures are of the other kind: those of the batch, or of successive gradients.
    """

    def __init__(self, names: Sequence[str], within: Sequence[bool]) -> None:
        """names: of the layers. within: whether the header says of each that its noise is measured within the batch."""
        self._names = names
        self._within = np.array(within)
        self._changed = np.zeros(len(names), dtype=bool)
        self._standing: dict[int, Alert] = {}

    def look(self, measured: Measurements, obstacles: Mapping[str, str]) -> list[Alert]:
        """More measurements; obstacles: layer name → why it is not measured within the batch after them.

        Alerts that begin or end, one a layer at most: by how it was measured last.
        """
        squares, differences = (np.isfinite(measured.raw[:, RAW.index(name)]) for name in ("squares", "from_steps"))
        within = squares & (measured.samples > 1)[:, None]
        known = within | differences
        if not known.any():
            return []
        changed = within != self._within
        last = len(known) - 1 - np.argmax(known[::-1], axis=0)
        now = np.where(known.any(axis=0), changed[last, np.arange(len(last))], self._changed)
        alerts = []
        for layer in np.flatnonzero(now != self._changed):
            before = np.flatnonzero(known[:, layer] & (changed[:, layer] != now[layer]))
            since = before[-1] + 1 if before.size else 0
            step = int(measured.steps[since + np.argmax(known[since:, layer])])
            index = int(layer)
            alerts.append(self._alert(index, step, obstacles) if now[layer] else self._over(index, step))
        self._changed = now
        return alerts

    def _alert(self, layer: int, step: int, obstacles: Mapping[str, str]) -> Alert:
        # What stands in brackets is for the warning, which has the room.
        reason = obstacles.get(self._names[layer], "|b| = 1").partition(" (")[0]
        found = f"from successive gradients ({reason})" if self._within[layer] else "within the batch"
        message = f"temperature {found}, unlike the header's"
        self._standing[layer] = Alert("estimator_change", layer, step, None, step, "minor", math.nan, message)
        return self._standing[layer]

    def _over(self, layer: int, step: int) -> Alert:
        return replace(self._standing.pop(layer), end=step)


class NegativeTemperatures:
    """Warns once where temperatures are negative time and again: the gradient is not the sum of the samples' then."""

    def __init__(self, names: Sequence[str]) -> None:
        """names: of the layers."""
        self._names = names
        self._negative = np.zeros(len(names), np.int64)
        self._said = False

    def look(self, measured: Measurements, rows: NDArray[np.void]) -> None:
        """More measurements, and the rows of `reservoir` that they are."""
        if self._said:
            return
        squares, gradient = (measured.raw[:, RAW.index(name)] for name in ("squares", "gradient"))
        more = gradient > (1.0 + ROUNDING) * measured.samples[:, None] * squares
        self._negative += (more & (rows["temperature"] < -ERRORS * rows["temperature_se"])).sum(axis=0)
        found = np.flatnonzero(self._negative >= ENOUGH)
        if found.size:
            self._said = True
            logger.warning(
                "layer %s: its temperature is negative beyond its error, so its gradient is not the sum of what the "
                "batch's samples give. Is that of earlier steps still in it (optimizer.zero_grad), or does a term of "
                "the loss not belong to samples?",
                self._names[found[0]],
            )


class SilentSamples:
    """Warns once where samples give no gradient to any layer: whether they count the loss alone knows."""

    def __init__(self) -> None:
        self._steps = 0
        self._said = False

    def look(self, measured: Measurements) -> None:
        """More measurements of a loop whose loss is said to count all samples."""
        if self._said:
            return
        contributing = np.nanmax(measured.raw[:, RAW.index("contributing")], axis=1, initial=0.0)
        silent = (contributing > 0) & (contributing < (1.0 - FEW) * measured.samples)
        self._steps += int(silent.sum())
        if self._steps >= ENOUGH:
            self._said = True
            share = float(np.mean(contributing[silent] / measured.samples[silent]))
            logger.warning(
                "only %.0f%% of a batch's samples give a gradient: if the loss leaves the others out of its mean, as "
                "with ignore_index or a mask, the temperature comes out too large; say ignored=True then.",
                100.0 * share,
            )
