"""Which runs a filter lets through, and in which order they come."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from thermotui.analysis.run_filter import arrange, matches
from thermotui.analysis.run_state import RunSummary

RUN = RunSummary(
    "/x/a.h5", "batch-10", "running", step=500, steps=1000, age=3.0, family="softmax", created=100.0, worst="warning",
    alerts=3, last_loss=0.5, config={"learning_rate": 0.1, "optimizer": "Adam", "momentum": None},
)  # fmt: skip


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("", True),
        ("BATCH", True),
        ("batch softmax running", True),
        ("batch gaussian", False),
        ("learning_rate=0.1", True),
        ("learning_rate=1e-1", True),
        ("learning_rate!=0.1", False),
        ("learning_rate<0.2 learning_rate>=0.1", True),
        ("learning_rate>0.1", False),
        ("optimizer=adam", True),
        ("optimizer>1", False),
        ("momentum=None", True),
        ("nothing=3", False),
        ("nothing!=3", False),
        ("step>499 loss<=0.5 alerts=3 worst=warning", True),
        ("state=finished", False),
    ],
)
def test_matches(words: str, expected: bool) -> None:
    assert matches(RUN, words) is expected


def test_orders_and_groups() -> None:
    runs = [
        RUN,
        replace(RUN, path="b", name="b", state="finished", created=300.0, worst=None, alerts=0, last_loss=0.1, age=9.0),
        replace(RUN, path="c", name="c", state="finished", created=200.0, worst="critical", last_loss=math.nan, age=1.0,
                family="rbm"),
        RunSummary("d", "d", "unreadable", problem="broken"),
    ]  # fmt: skip
    by = {
        order: [run.name for _, run in arrange(runs, order=order)]
        for order in ("state", "name", "age", "loss", "alerts")
    }  # fmt: skip
    assert by == {
        "state": ["batch-10", "b", "c", "d"],
        "name": ["b", "batch-10", "c", "d"],
        "age": ["c", "batch-10", "b", "d"],
        "loss": ["b", "batch-10", "c", "d"],
        "alerts": ["c", "batch-10", "b", "d"],
    }
    grouped = arrange(runs, order="name", grouping="family")
    assert [(heading, run.name) for heading, run in grouped] == [
        ("rbm", "c"), ("softmax", "b"), ("softmax", "batch-10"), ("unknown", "d"),
    ]  # fmt: skip
    assert [run.name for _, run in arrange(runs, words="family=rbm")] == ["c"]
