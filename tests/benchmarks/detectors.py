"""The detectors and their peers on labelled curves, one table a question.

    python -m tests.benchmarks.detectors [--seeds 20] [--skip 920] [--real DIRECTORY] [--peers] [--speed]

Without options: F1, delays, false alarms and valid intervals on held-out seeds of the generator. `--real DIRECTORY`:
spikes and level shifts of real runs, NPZ files [rows, (step, loss, gradient norm)] with `labels.json` beside them; also
from $THERMOTUI_REAL_RUNS. `--peers`: the published rules of other tools beside ours (pip install river ruptures
trainscope).
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.benchmarks.peers import PEERS
from tests.detect.curves import HELD_OUT_SEEDS, KINDS, NOISES, Curve, labelled_curve
from tests.detect.scoring import Score, add, median_delay
from thermotui.detect.alert import KINDS as ALERT_KINDS
from thermotui.detect.alert import Alert
from thermotui.detect.book import AlertBook
from thermotui.detect.intervals import invalid_spans
from thermotui.detect.loss import LossDetector
from thermotui.detect.monitor import RunMonitor
from thermotui.detect.settings import Settings
from thermotui.runlog.schema import STREAMS, Header, Layer, row_dtype

FIRST_ROW = 60
SHIFT_KINDS = ("step_up", "step_down", "divergence", "loss_spike")


def alerts_of(loss: NDArray[np.float64]) -> tuple[Alert, ...]:
    book = AlertBook()
    LossDetector(Settings(), book).feed(np.arange(len(loss), dtype=np.int64), loss)
    return book.alerts


def mask(spans: list[tuple[int, int]], samples: int) -> NDArray[np.bool_]:
    inside = np.zeros(samples, dtype=np.bool_)
    for start, end in spans:
        inside[max(start, 0) : end] = True
    return inside


def generated(seeds: int, skip: int) -> None:
    """Figures on the generator's held-out seeds."""
    whatever, aware = Score(), Score()
    overlap = union = covered = valid = pure = declared = 0
    clean: dict[str, tuple[int, int]] = {}
    for noise in NOISES:
        false = samples = 0
        for seed in HELD_OUT_SEEDS[skip : skip + seeds]:
            curve = labelled_curve(seed, noise)
            alerts = alerts_of(curve.loss)
            add(whatever, curve, alerts, kind_aware=False)
            add(aware, curve, alerts, kind_aware=True)
            n = len(curve.loss)
            breaking = [(x.start, x.end) for x in curve.labels if ALERT_KINDS[x.kind].breaks_interval]
            truth, found = mask(breaking, n), mask(invalid_spans(alerts, n - 1, -1), n)
            overlap, union = overlap + int((truth & found).sum()), union + int((truth | found).sum())
            covered, valid = covered + int((~truth & ~found).sum()), valid + int((~truth).sum())
            pure, declared = pure + int((~truth & ~found).sum()), declared + int((~found).sum())
            loss = labelled_curve(seed, noise, samples=20_000, clean=True).loss
            false += sum(alert.severity != "minor" for alert in alerts_of(loss))
            samples += len(loss)
        clean[noise] = (false, samples)
    print(
        f"F1 whatever the kind {whatever.f1():.3f}, kind-aware {aware.f1():.3f}, spikes {aware.f1(['loss_spike']):.3f}"
    )
    print(f"{'kind':<18} {'found':>6} {'missed':>7} {'false':>6} {'median delay':>13}")
    for kind in KINDS:
        counts = [counts.get(kind, 0) for counts in (aware.hits, aware.misses, aware.false)]
        print(f"{kind:<18} {counts[0]:>6} {counts[1]:>7} {counts[2]:>6} {median_delay(whatever, kind):>13.0f}")
    print("false alarms above minor per 100,000 clean samples:")
    for noise, (false, samples) in clean.items():
        print(f"  {noise:<15} {false / samples * 1e5:.2f} ({false} in {samples:,})")
    print(
        f"valid intervals: IoU of invalid samples {overlap / union:.3f}, coverage {covered / valid:.3f}, "
        f"purity {pure / declared:.3f}"
    )


def real(directory: Path) -> None:
    """Spikes and shifts of labelled real runs, ours and the peers'."""
    labels = json.loads((directory / "labels.json").read_text())
    archives = {path.stem: np.load(path) for path in directory.glob("*.npz")}
    ours = {"thermotui": lambda loss: [a.start for a in spike_alerts(loss)]}
    print(f"{'rule':<28} {'F1':>6} {'found':>6} {'missed':>7} {'false':>6} {'false/1e5 clean rows':>21}")
    for name, rule in {**ours, **PEERS}.items():
        hits = misses = false = clean_false = clean_rows = 0
        for key, label in labels.items():
            workload, run = key.split("|")
            rows = archives[workload][run]
            loss = rows[rows[:, 0] > 100, 1]
            alarms = [at for at in rule(loss) if at >= FIRST_ROW]
            events = [event for event in label["ev"] if event[0] >= FIRST_ROW]
            for start, end, _ in events:
                if any(start - 3 <= at <= end + 10 for at in alarms):
                    hits += 1
                else:
                    misses += 1
            near = [(s - 3, e + 10) for s, e, _ in label["ev"]]
            near += [(s - 8, e + 8) for s, e, _ in label["amb"]] + [(s - 3, s + 60) for s, _, _ in label["shift"]]
            wrong = sum(not any(first <= at <= last for first, last in near) for at in alarms)
            false += wrong
            if not near:
                clean_rows, clean_false = clean_rows + len(loss), clean_false + wrong
        f1 = 2 * hits / max(2 * hits + misses + false, 1)
        rate = clean_false / max(clean_rows, 1) * 1e5
        print(f"{name:<28} {f1:>6.3f} {hits:>6} {misses:>7} {false:>6} {rate:>21.2f}")
    found = total = 0
    for key, label in labels.items():
        workload, run = key.split("|")
        rows = archives[workload][run]
        alerts = [a for a in alerts_of(rows[rows[:, 0] > 100, 1]) if a.kind in SHIFT_KINDS]
        for start, _, _ in label["shift"]:
            if start >= FIRST_ROW:
                total += 1
                found += any(start - 3 <= at <= start + 60 for a in alerts for at in (a.start, a.step))
    print(f"level shifts: {found} of {total}")


def spike_alerts(loss: NDArray[np.float64]) -> list[Alert]:
    """All that says that the loss went up; minor outliers too, for on rows 100 steps apart a spike is one row."""
    return [alert for alert in alerts_of(loss) if alert.kind in ("loss_spike", "outlier", "step_up", "divergence")]


def peers(seeds: int, skip: int) -> None:
    """Ours and the peers' rules on the generator: any disturbance but silent ones, an alarm counts where it begins."""
    print(f"{'rule':<28} {'F1':>6} {'false/1e5 clean':>16}")
    ours = {"thermotui": lambda loss: [a.start for a in alerts_of(loss) if a.severity != "minor"]}
    for name, rule in {**ours, **PEERS}.items():
        score = Score()
        false = samples = 0
        for noise in NOISES:
            for seed in HELD_OUT_SEEDS[skip : skip + seeds]:
                curve: Curve = labelled_curve(seed, noise)
                alarms = merged(rule(curve.loss))
                made = [Alert("loss_spike", -1, at, at + 1, at, "warning", float("nan"), "") for at in alarms]
                add(score, curve, made, kind_aware=False)
                loss = labelled_curve(seed, noise, clean=True).loss
                false, samples = false + len(merged(rule(loss))), samples + len(loss)
        print(f"{name:<28} {score.f1():>6.3f} {false / samples * 1e5:>16.2f}")


def merged(alarms: list[int], apart: int = 50) -> list[int]:
    """The first of alarms that follow one another within `apart` samples."""
    kept: list[int] = []
    last = -apart - 1
    for at in sorted(alarms):
        if at - last > apart:
            kept.append(at)
        last = at
    return kept


def speed() -> None:
    """Samples a second on one series, layer-samples a second over 100 layers."""
    loss = np.concatenate([labelled_curve(seed, "gaussian", samples=50_000, clean=True).loss for seed in range(4)])
    seconds = best(lambda: alerts_of(loss))
    print(f"one series: {len(loss) / seconds:,.0f} samples/s")
    layers = tuple(Layer(f"layer {i}", 10) for i in range(100))
    rows = np.zeros(20_000, row_dtype(STREAMS["reservoir"], Header("run", 0.0, "any", layers)))
    rows["step"] = np.arange(len(rows))
    rows["temperature"] = np.random.default_rng(0).gamma(10, 1e-4, (len(rows), 100))
    rows["noise_kurtosis"] = 5
    rows["reversibility_gap"] = 0.3
    seconds = best(lambda: RunMonitor([layer.name for layer in layers]).feed("reservoir", rows))
    print(f"100 layers: {rows['temperature'].size / seconds:,.0f} layer-samples/s")


def best(work: object) -> float:
    """Processor seconds of the quickest of three runs."""
    assert callable(work)
    times = []
    for _ in range(3):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--skip", type=int, default=920, help="the first 920 held-out seeds were looked at before")
    parser.add_argument("--real", type=Path, default=os.environ.get("THERMOTUI_REAL_RUNS"))
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--speed", action="store_true")
    options = parser.parse_args()
    if options.speed:
        speed()
    elif options.real:
        real(Path(options.real))
    elif options.peers:
        peers(options.seeds, options.skip)
    else:
        generated(options.seeds, options.skip)


if __name__ == "__main__":
    main()
