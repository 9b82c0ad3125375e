"""The layers as heat reservoirs: temperature, tails, reversibility and colour of η."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from thermotui.detect.alert import Alert, Severity
from thermotui.detect.book import AlertBook
from thermotui.detect.change import announce
from thermotui.detect.colour import coloured_layers, epoch_echo
from thermotui.detect.scale_change import ScaleChange
from thermotui.detect.settings import Settings

_RELEASE = 0.8
_SENTENCES: dict[str, tuple[str, Severity]] = {
    "heavy_tail": ("excess kurtosis of η in layer {layer} is {value:.3g} at step {step:,}", "minor"),
    "reversibility_loss": (
        "a step back in layer {layer} misses by {value:.2f} of the step forward at step {step:,}",
        "warning",
    ),
}


class ReservoirDetector:
    """Streams the rows of `reservoir` and `autocorrelation` through the detectors, all layers at once."""

    def __init__(
        self, layers: tuple[str, ...], settings: Settings, book: AlertBook, batches_per_epoch: float | None = None
    ) -> None:
        self._batches_per_epoch = batches_per_epoch
        self._layers = layers
        self._settings = settings
        self._book = book
        self._temperature = ScaleChange(len(layers), settings)
        self._kurtosis = _LastMedian(len(layers))

    def feed(self, rows: NDArray[np.void]) -> None:
        """Look at n rows of `reservoir`."""
        if not len(rows):
            return
        steps = rows["step"].astype(np.int64)
        within, full = rows["temperature"].astype(float), rows["temperature_full"].astype(float)
        temperature = np.where(np.isnan(within), full, within)
        # Zero would have no logarithm: a frozen layer has no temperature.
        temperature[~(temperature > 0.0)] = np.nan
        for change in self._temperature.feed(temperature, steps):
            # Cooling along a ramp is how learning relaxes; the reservoir follows it. Heating is a disturbance.
            relaxes = change.kind in ("drift", "continued") and change.after < change.before
            subject = f"temperature of layer {self._layers[change.layer]}"
            severity: Severity = "minor" if relaxes else "warning"
            announce(self._book, change, subject=subject, layer=change.layer, severity=severity)
        self._threshold("heavy_tail", steps, self._kurtosis.feed(rows["noise_kurtosis"]), self._settings.kurtosis)
        gaps = rows["reversibility_gap"].astype(float)
        self._threshold("reversibility_loss", steps, gaps, self._settings.reversibility_gap)

    def feed_autocorrelation(self, rows: NDArray[np.void]) -> None:
        """Look at n rows of `autocorrelation`."""
        for row in rows:
            step, window = int(row["step"]), int(row["window"])
            correlation, echo = row["autocorrelation"].astype(float), row["expected_echo"].astype(float)
            if np.isnan(echo).any():
                echo = epoch_echo(correlation.shape[1], self._batches_per_epoch)
            found = coloured_layers(correlation, echo, window, self._settings, float(row["bound"]))
            coloured = {colour.layer: colour for colour in found}
            for layer, name in enumerate(self._layers):
                lasting = self._book.latest("coloured_noise", layer)
                if layer in coloured:
                    colour = coloured[layer]
                    message = (
                        f"noise of layer {name} is coloured at step {step:,}: autocorrelation {colour.value:.2f} at "
                        f"lag {colour.lag}, {colour.expected:.2f} expected, p = {colour.p_value:.1g}"
                    )
                    self._book.open(
                        "coloured_noise", max(step - window + 1, 0), step, "warning", message,
                        layer=layer, p_value=colour.p_value,
                    )  # fmt: skip
                elif lasting is not None and lasting.end is None:
                    self._book.close(lasting, max(step - window + 1, lasting.start + 1))

    def _threshold(self, kind: str, steps: NDArray[np.int64], values: NDArray[np.float64], limit: float) -> None:
        sentence, severity = _SENTENCES[kind]
        with np.errstate(invalid="ignore"):
            above, below = values > limit, values < _RELEASE * limit
        lasting = {layer for layer in range(len(self._layers)) if self._lasting(kind, layer) is not None}
        for layer in sorted(lasting | set(np.flatnonzero(above.any(axis=0)).tolist())):
            row = 0
            while row < len(steps):
                alert = self._lasting(kind, layer)
                crossing = np.flatnonzero((above if alert is None else below)[row:, layer])
                if not crossing.size:
                    break
                row += int(crossing[0])
                step = int(steps[row])
                if alert is None:
                    message = sentence.format(layer=self._layers[layer], value=values[row, layer], step=step)
                    self._book.open(kind, step, step, severity, message, layer=layer)
                else:
                    self._book.close(alert, step)

    def _lasting(self, kind: str, layer: int) -> Alert | None:
        alert = self._book.latest(kind, layer)
        return alert if alert is not None and alert.end is None else None

    def state_dict(self) -> dict[str, Any]:
        """Arrays."""
        return {
            "temperature": self._temperature.state_dict(),
            "kurtosis": self._kurtosis.last.copy(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        self._temperature.load_state_dict(state["temperature"])
        self._kurtosis.last = np.array(state["kurtosis"])


class _LastMedian:
    """Median of each layer's last four measurements; measurements that are NaN in all layers are left out."""

    def __init__(self, layers: int) -> None:
        self.last = np.full((0, layers), np.nan)

    def feed(self, values: NDArray[np.float32]) -> NDArray[np.float64]:
        """Float [n, L] → medians [n, L], NaN until four measurements are there, and where one of the four is."""
        out = np.full(values.shape, np.nan)
        measured = np.flatnonzero(~np.isnan(values).all(axis=1))
        if not measured.size:
            return out
        series = np.concatenate([self.last, values[measured].astype(float)])
        if len(series) >= 4:
            # The two in the middle are the larger minimum and the smaller maximum of two pairs.
            low, high = np.minimum(series[:-1], series[1:]), np.maximum(series[:-1], series[1:])
            with np.errstate(invalid="ignore"):
                medians = (np.maximum(low[:-2], low[2:]) + np.minimum(high[:-2], high[2:])) / 2
            out[measured[-len(medians) :]] = medians
        self.last = series[-3:].copy()
        return out
