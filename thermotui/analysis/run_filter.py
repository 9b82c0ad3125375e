"""Which runs are shown, and in which order: by words, by configuration, by state, age, loss or alerts."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Sequence
from typing import Literal

from thermotui.analysis.run_state import RunSummary
from thermotui.detect.alert import SEVERITIES

Order = Literal["state", "name", "age", "loss", "alerts"]
ORDERS: tuple[Order, ...] = ("state", "name", "age", "loss", "alerts")
Grouping = Literal["none", "family", "state"]
GROUPINGS: tuple[Grouping, ...] = ("none", "family", "state")

_COMPARISON = re.compile(r"(?P<name>[\w.]+)(?P<sign><=|>=|!=|=|<|>)(?P<value>\S+)")
_SIGNS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}


def matches(summary: RunSummary, words: str) -> bool:
    """Whether a run has every word in its name, family or state, and fulfils every `name=value` or `name<value`.

    The names are those of the run's configuration, and `state`, `family`, `step`, `loss`, `alerts`, `worst`.
    """
    text = f"{summary.name} {summary.family} {summary.state}".lower()
    for word in words.split():
        comparison = _COMPARISON.fullmatch(word)
        if comparison is None:
            if word.lower() not in text:
                return False
        elif not _fulfils(summary, **comparison.groupdict()):
            return False
    return True


def _fulfils(summary: RunSummary, name: str, sign: str, value: str) -> bool:
    known: dict[str, object] = {
        **summary.config,
        "state": summary.state,
        "family": summary.family,
        "step": summary.step,
        "loss": summary.last_loss,
        "alerts": summary.alerts,
        "worst": summary.worst or "none",
    }
    if name not in known:
        return False
    if sign in ("=", "!="):
        return _equal(known[name], value) == (sign == "=")
    try:
        return _SIGNS[sign](float(str(known[name])), float(value))
    except ValueError:
        return False


def _equal(known: object, value: str) -> bool:
    try:
        return float(str(known)) == float(value)
    except ValueError:
        return str(known).lower() == value.lower()


def arrange(
    summaries: Sequence[RunSummary], words: str = "", order: Order = "state", grouping: Grouping = "none"
) -> tuple[tuple[str, RunSummary], ...]:
    """The runs that match, each with the heading of its group (empty without grouping), in order.

    By state: live runs first, then those that came last. By loss: the lowest first. By alerts: the worst first.
    """
    keys: dict[Order, Callable[[RunSummary], tuple[object, ...]]] = {
        "state": lambda run: (not run.live, bool(run.problem), -_known(run.created), run.name),
        "name": lambda run: (run.name,),
        "age": lambda run: (_known(run.age), run.name),
        "loss": lambda run: (_known(run.last_loss), run.name),
        "alerts": lambda run: (-(SEVERITIES.index(run.worst) + 1 if run.worst else 0), -run.alerts, run.name),
    }
    chosen = sorted((run for run in summaries if matches(run, words)), key=keys[order])
    if grouping == "none":
        return tuple(("", run) for run in chosen)
    heading = operator.attrgetter(grouping)
    grouped = sorted(chosen, key=lambda run: (heading(run) == "", heading(run)))
    return tuple((heading(run) or "unknown", run) for run in grouped)


def _known(value: float) -> float:
    return math.inf if math.isnan(value) else value
