"""The thread that asks the reading process, tick by tick, and puts what is new into the mailbox."""

from __future__ import annotations

import threading
from dataclasses import replace

from thermotui.analysis.format import format_duration
from thermotui.analysis.snapshot import Query, Reading
from thermotui.errors import InputError
from thermotui.tui.mailbox import Mailbox

RESTART_PAUSE = 0.5


class Poller(threading.Thread):
    """Asks the reading process every `interval` seconds, and at once when the query changes.

    Ticks that bring anything new go into `mailbox`. While a reading takes its time, only the newest query is kept.
    `query` may be set from any thread.
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

    def stop(self) -> None:
        """End the thread after the present tick; close the process to end it at once."""
        self._ended.set()
        self._changed.set()

    def run(self) -> None:
        """Poll until `stop`."""
        shown: tuple[object, ...] | None = None
        while not self._ended.is_set():
            self._changed.clear()
            try:
                tick = self._process.ask(self._query)
            except InputError as error:
                self.mailbox.fail(str(error))
                return
            except Exception as error:  # noqa: BLE001  # a dead thread would leave a frozen screen that looks alive
                # After `stop` the process and its pipes are closed under us: the screen is gone.
                if not self._ended.is_set():
                    self.mailbox.fail(f"reading stopped: {type(error).__name__}: {error}")
                return
            if self._ended.is_set():
                return
            if tick is None:
                self._changed.wait(RESTART_PAUSE)
                continue
            now_shown = tuple((replace(summary, age=0.0), _told_age(summary.age)) for summary in tick.summaries)
            if tick.snapshots or now_shown != shown:
                shown = now_shown
                self.mailbox.put(tick)
            self._answered = tick.query
            self._changed.wait(self._interval)


def _told_age(age: float) -> str:
    """The age as a list tells it: nothing below five seconds, so that a live run does not redraw its age."""
    return format_duration(age) if age >= 5 else ""
