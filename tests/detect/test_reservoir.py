"""The detectors of the layers beside those of the temperature."""

from __future__ import annotations

import numpy as np

from thermotui.detect.book import AlertBook
from thermotui.detect.change import Change, announce
from thermotui.detect.monitor import RunMonitor
from thermotui.runlog.schema import STREAMS, Header, Layer, row_dtype


def test_a_tail_is_heavy_while_the_median_of_four_measurements_says_so() -> None:
    header = Header("run", 0.0, "any", (Layer("one", 10), Layer("two", 10)))
    rows = np.zeros(400, row_dtype(STREAMS["reservoir"], header))
    rows["step"] = np.arange(len(rows))
    rng = np.random.default_rng(0)
    kurtosis = rng.choice([10.0, 90.0, 130.0, 500.0], (400, 2)).astype(np.float32)
    kurtosis[rng.random(400) < 0.3] = np.nan
    kurtosis[20, 1] = np.nan
    rows["noise_kurtosis"] = kurtosis
    monitor = RunMonitor(["one", "two"])
    monitor.feed("reservoir", rows)
    for layer in range(2):
        spans: list[list[int]] = []
        measured = np.flatnonzero(~np.isnan(kurtosis).all(axis=1))
        for first, last in zip(measured, measured[3:], strict=False):
            values = kurtosis[measured[(measured >= first) & (measured <= last)], layer]
            median = float(np.median(values))
            lasts = bool(spans) and spans[-1][1] < 0
            if median > 100 and not lasts:
                spans.append([int(last), -1])
            elif median < 80 and lasts:
                spans[-1][1] = int(last)
        found = [a for a in monitor.alerts if a.kind == "heavy_tail" and a.layer == layer]
        assert [[a.start, -1 if a.end is None else a.end] for a in found] == spans
        assert len(spans) > 5


def test_a_change_down_to_nothing_has_its_sentence() -> None:
    book = AlertBook()
    change = Change("jump", 0, start=10, end=20, before=1e-3, after=0.0, score=-9.0, p_value=1e-9, seen=21)
    announce(book, change, subject="temperature of layer hidden 1", layer=0)
    (alert,) = book.alerts
    assert "fell at step 10, from 0.001 to 0," in alert.message
