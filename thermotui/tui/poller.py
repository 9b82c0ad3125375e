"""The thread that asks the reading process, tick by tick, and puts what is new into the mailbox."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

from thermotui.analysis.format import format_duration
from thermotui.analysis.snapshot import Query, Reading, RunSnapshot, Tick
from thermotui.errors import InputError
from thermotui.tui.mailbox import Mailbox

RESTART_PAUSE = 0.5
KEPT_ANSWERS = 10
"""The last answers, among them those to the questions that the next key may ask."""
LOOKING_AHEAD_SECONDS = 10.0
"""Time for which a run that gets rows is read ahead anew: who has pressed no key for so long reads, or is away."""
KEPT_BYTES = 1_500_000
"""Of their curves. Those that the next key may ask for are kept all the same: they would be read again and again."""


class Poller(threading.Thread):
    """Asks the reading process every `interval` seconds, and at once when the query changes.

    Ticks that bring anything new go into `mailbox`. While a reading takes its time, only the newest query is kept.
    What it may be asked next is answered ahead while there is nothing else to do, and anew of a run that has got rows
    for LOOKING_AHEAD_SECONDS after `ahead` was set. `query` and `ahead` may be set from any thread.
    """

    def __init__(
        self,
        process: Reading,
        interval: float,
        mailbox: Mailbox,
    ) -> None:
        super().__init__(name="thermotui-poller", daemon=True)
        self._process, self._interval, self.mailbox = process, interval, mailbox
        self._query = Query()
        self._answered: Query | None = None
        self._ahead: tuple[Query, ...] = ()
        self._ahead_until = 0.0
        self._answers: dict[Query, RunSnapshot] = {}
        """By question about one run, all of one run while it had the same rows, the newest last."""
        self._changed = threading.Event()
        self._ended = threading.Event()

    @property
    def idle(self) -> bool:
        """Whether the newest query was answered."""
        return self._answered == self._query

    @property
    def query(self) -> Query:
        """The newest question."""
        return self._query

    @query.setter
    def query(self, query: Query) -> None:
        if query != self._query:
            self._query = query
            self._changed.set()

    @property
    def ahead(self) -> tuple[Query, ...]:
        """What may be asked next about the one run of the query, the likeliest first."""
        return self._ahead

    @ahead.setter
    def ahead(self, queries: tuple[Query, ...]) -> None:
        now = time.monotonic()
        news = queries != self._ahead or now > self._ahead_until
        self._ahead, self._ahead_until = queries, now + LOOKING_AHEAD_SECONDS
        if news:
            self._changed.set()

    def held(self, query: Query) -> RunSnapshot | None:
        """The answer to a question about one run, where it was kept and the run has got no more rows since."""
        return self._answers.get(query)

    def stop(self) -> None:
        """End the thread after the present tick; close the process to end it at once."""
        self._ended.set()
        self._changed.set()

    def run(self) -> None:
        """Poll until `stop`."""
        shown: tuple[object, ...] | None = None
        while not self._ended.is_set():
            self._changed.clear()
            query = self._query
            tick = self._ask(query)
            if self._ended.is_set():
                return
            if tick is None:
                self._changed.wait(RESTART_PAUSE)
                continue
            now_shown = tuple((replace(summary, age=0.0), _told_age(summary.age)) for summary in tick.summaries)
            if tick.snapshots or now_shown != shown:
                shown = now_shown
                self.mailbox.put(tick)
            self._answered = query
            self._look_ahead()
            self._changed.wait(self._interval)

    def _ask(self, query: Query) -> Tick | None:
        """The answer, which is the one that was kept where the reading process knows of nothing newer."""
        held = self._answers.get(query)
        tick = self._read(query if held is None else replace(query, purpose="held"))
        if tick is None:
            return None
        if held is not None and query != self._answered and not tick.snapshots:
            # Whoever asked may have done so before it was there to be found.
            tick = replace(tick, snapshots=(held,))
        self._keep(query, tick.snapshots)
        return tick

    def _look_ahead(self) -> None:
        """Answer what may be asked next, until something else is asked."""
        for query in self._ahead if time.monotonic() <= self._ahead_until else ():
            if self._changed.is_set():
                return
            if query not in self._answers and (tick := self._read(replace(query, purpose="ahead"))):
                self._keep(query, tick.snapshots)
                self.mailbox.knock()

    def _read(self, query: Query) -> Tick | None:
        """The answer of the reading process; None where there is none this time, or will be none any more."""
        try:
            return self._process.ask(query)
        except InputError as error:
            reason = str(error)
        except Exception as error:  # noqa: BLE001  # a dead thread would leave a frozen screen that looks alive
            reason = f"reading stopped: {type(error).__name__}: {error}"
        # After `stop` the process and its pipes are closed under us: the screen is gone.
        if not self._ended.is_set():
            self.mailbox.fail(reason)
        self._ended.set()
        return None

    def _keep(self, query: Query, snapshots: tuple[RunSnapshot, ...]) -> None:
        """Keep an answer about one run, and none of another length; those that may be next outlast the others."""
        if len(query.runs) != 1 or not snapshots:
            return
        (new,) = snapshots
        alike = {
            asked: answer for asked, answer in self._answers.items() if asked != query and _log(answer) == _log(new)
        }
        kept = [*sorted(alike.items(), key=lambda item: item[0] in self._ahead), (query, new)]
        kept = kept[-KEPT_ANSWERS:]
        size = sum(answer.size for _, answer in kept)
        while size > KEPT_BYTES and len(kept) > 1 and kept[0][0] not in self._ahead:
            size -= kept.pop(0)[1].size
        self._answers = dict(kept)


def _log(answer: RunSnapshot) -> tuple[object, ...]:
    """The log that an answer was made of, and how long it was: another one may lie at the same path meanwhile."""
    return answer.path, answer.header.run_id, answer.header.created, answer.lengths


def _told_age(age: float) -> str:
    """The age as a list tells it: nothing below five seconds, so that a live run does not redraw its age."""
    return format_duration(age) if age >= 5 else ""
