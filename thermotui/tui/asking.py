"""What the screen asks of the log, to show it now or after the next key, and which answers it keeps."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from typing import Protocol

from thermotui.analysis.snapshot import Query, RunSnapshot
from thermotui.tui.views.view import Look, View

Steps = tuple[float, float] | None
"""The steps to show; None for the whole run."""
MAXIMUM_SHOWN = 8
"""Runs in one picture."""
KEPT_SNAPSHOTS = 2
"""Runs last shown that are still at hand when one goes back to them."""


class Answers(Protocol):
    """Who answers questions about the log."""

    query: Query
    """What is shown now: asked anew as often as the run may have got rows."""
    ahead: tuple[Query, ...]
    """What may be shown next, the likeliest first."""

    def held(self, query: Query) -> RunSnapshot | None:
        """The answer, where it is known already."""


def first_question(run: str, width: int, look: Look) -> Query:
    """What every view asks of a run before there is anything to point at, on a terminal so many cells wide."""
    return Query(runs=(run,), columns=_columns(width), smoothing=look.smoothing)


def question(runs: Iterable[str], view: View, look: Look, shown: Steps, cursor: float | None, width: int) -> Query:
    """What a view needs of the runs, the selected one first, on a terminal so many cells wide."""
    paths = tuple(dict.fromkeys(path for path in runs if path))
    query = Query(
        runs=paths[: MAXIMUM_SHOWN if view.several else 1],
        steps=None if shown is None else _whole(shown),
        columns=_columns(width),
        at=None if cursor is None else max(0, int(cursor)),
        smoothing=look.smoothing,
    )
    return view.ask(query)


def questions_ahead(now: Query, ranges: Sequence[Steps], question_of: Callable[[Steps], Query]) -> tuple[Query, ...]:
    """What is asked where one of these ranges is shown next. question_of: what is asked where these steps are shown."""
    # A view asks alike for any part of a run, and otherwise for the whole.
    alike = now if now.steps is not None or not ranges else question_of(ranges[0])
    return tuple(question_of(None) if steps is None else replace(alike, steps=_whole(steps)) for steps in ranges)


def keep(kept: dict[str, RunSnapshot], new: RunSnapshot, shown: Collection[str]) -> None:
    """Keep the newest answer about each run shown, and of few others: curves of every run once visited add up."""
    kept.pop(new.path, None)
    kept[new.path] = new
    others = [path for path in kept if path not in shown]
    for path in others[:-KEPT_SNAPSHOTS]:
        del kept[path]


def tells_more(new: RunSnapshot, shown: RunSnapshot) -> bool:
    """Whether an answer has figures that the one shown has none of, as those that another view asks for."""
    before = {(stream, name) for stream, overview in shown.curves.items() for name in overview.mean}
    after = {(stream, name) for stream, overview in new.curves.items() for name in overview.mean}
    parts = ((each.autocorrelation, each.balance, each.rows) for each in (new, shown))
    return not after <= before or any(a is not None and b is None for a, b in zip(*parts, strict=True))


def _whole(steps: tuple[float, float]) -> tuple[int, int]:
    """The first and the last step to ask for where these are shown."""
    return max(0, int(steps[0])), max(0, int(steps[1]) + 1)


def _columns(width: int) -> int:
    """Buckets to ask for on a terminal so many cells wide."""
    return max(64, 4 * width)
