"""The ranks of a distributed run, each with a log of its own under one run id, as the one run that they are."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from thermotui.analysis.format import format_value
from thermotui.analysis.run_state import RunSummary
from thermotui.detect.alert import SEVERITIES
from thermotui.errors import InputError
from thermotui.runlog.reader import RunLogReader
from thermotui.runlog.schema import Header

BY_GRAVITY = ("finished", "running", "starting", "empty", "interrupted", "deleted", "stalled", "failed", "crashed")
"""States of a rank; the run as a whole is in the gravest."""

_RANK_SUFFIX = re.compile(r"-rank\d+$")


def group_ranks(summaries: Iterable[RunSummary]) -> Iterator[RunSummary]:
    """The runs, in their order, with all ranks of one run that lie in one directory as one run.

    A second file of the same run and rank, a copy, stays by itself.
    """
    runs: dict[tuple[object, ...], list[RunSummary]] = {}
    for index, summary in enumerate(summaries):
        key: tuple[object, ...] = (index,)
        if summary.world_size > 1 and summary.run_id:
            key = (Path(summary.path).parent, summary.run_id, summary.world_size)
            if any(summary.rank == other.rank for other in runs.get(key, ())):
                key = (index,)
        runs.setdefault(key, []).append(summary)
    for ranks in runs.values():
        yield ranks[0] if ranks[0].world_size == 1 else as_one_run(ranks)


def as_one_run(ranks: Iterable[RunSummary]) -> RunSummary:
    """The summary of a run from those of its ranks: it stands where its lowest rank's file lies.

    Its state is the gravest of the ranks', its step and rate those of the slowest, its age that of the one longest
    silent, its loss their mean; its message tells why and how the loss spreads; alerts are those of all ranks,
    searched as far as in the rank least searched.
    """
    ordered = tuple(sorted(ranks, key=lambda summary: summary.rank))
    lead = ordered[0]
    gravest = max(ordered, key=lambda summary: BY_GRAVITY.index(summary.state))
    losses = [rank.last_loss for rank in ordered if not math.isnan(rank.last_loss)]
    rates = [rank.rate for rank in ordered if not math.isnan(rank.rate)]
    searched = [rank.alerts_searched_to for rank in ordered if rank.alerts_searched_to is not None]
    return replace(
        lead,
        name=f"{lead.name} ({ranks_in_words(ordered, lead.world_size)})",
        state=gravest.state,
        message=_message(gravest, losses),
        step=min(rank.step for rank in ordered),
        rate=min(rates, default=math.nan),
        age=max(rank.age for rank in ordered),
        worst=max((rank.worst for rank in ordered if rank.worst), key=SEVERITIES.index, default=None),
        open_alerts=sum(rank.open_alerts for rank in ordered),
        alerts=sum(rank.alerts for rank in ordered),
        flagged=tuple(alert for rank in ordered for alert in rank.flagged),
        alerts_searched_to=min(searched, default=None),
        # Not `math.fsum`, which raises for inf and −inf together, whose mean is NaN.
        last_loss=sum(losses) / len(losses) if losses else math.nan,
        ranks=ordered,
    )


def _message(gravest: RunSummary, losses: Sequence[float]) -> str:
    parts = [f"rank {gravest.rank}: {gravest.message}"] if gravest.message else []
    if len(losses) > 1:
        parts.append(f"loss {format_value(min(losses))} to {format_value(max(losses))} over {len(losses)} ranks")
    return "; ".join(parts)


def ranks_in_words(ranks: tuple[RunSummary, ...], world_size: int) -> str:
    """`4 ranks`, `2 of 4 ranks`, `rank 1 of 4`."""
    if len(ranks) == 1:
        return f"rank {ranks[0].rank} of {world_size}"
    return f"{len(ranks)} ranks" if len(ranks) == world_size else f"{len(ranks)} of {world_size} ranks"


@dataclass(frozen=True)
class Rank:
    """One rank of a run: its file, how it is, and the loss of its last row, NaN where there is none."""

    rank: int
    file: str
    state: str
    step: int
    loss: float


def ranks_beside(path: Path, header: Header) -> tuple[Rank, ...]:
    """The ranks of the run that `path` is one of, itself included, by rank: the logs named alike in its directory.

    Empty for a run of one process. Files that cannot be read are left out.
    """
    if header.world_size == 1:
        return ()
    stem = _RANK_SUFFIX.sub("", path.stem)
    found: dict[int, Rank] = {}
    for file in sorted({path, path.with_stem(stem), *path.parent.glob(f"{_literal(stem)}-rank*{path.suffix}")}):
        try:
            with RunLogReader(file) as log:
                if log.header.run_id == header.run_id and log.header.world_size > 1:
                    last = log.read("steps", ["loss"], -1)["loss"]
                    state = log.state()
                    loss = float(last[0]) if len(last) else math.nan
                    found.setdefault(log.header.rank, Rank(log.header.rank, str(file), state.state, state.step, loss))
        except InputError:
            continue
    return tuple(found[rank] for rank in sorted(found))


def _literal(name: str) -> str:
    """The name as a pattern that matches it alone."""
    return re.sub(r"([*?[])", r"[\1]", name)
