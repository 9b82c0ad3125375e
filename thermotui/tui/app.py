"""The application: takes ticks from the poller, keeps what is selected, and hands frozen answers to the view shown."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import ClassVar

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.driver import Driver
from textual.events import Resize
from textual.message import Message
from textual.reactive import reactive

from thermotui.analysis.run_state import RunSummary
from thermotui.analysis.snapshot import Query, RunSnapshot, Tick
from thermotui.tui.actions import ACTIONS
from thermotui.tui.charts.view import StepView
from thermotui.tui.poller import Poller, ReadingProcess
from thermotui.tui.thin_driver import thin_driver
from thermotui.tui.views.dashboard import Dashboard
from thermotui.tui.views.view import Look, View
from thermotui.tui.widgets.lines import HeaderLine, Line
from thermotui.tui.widgets.run_list import RunList

MINIMUM_SIZE = (40, 10)


@dataclass(frozen=True)
class Settings:
    """How the screen starts. interval: seconds between two looks at the logs."""

    interval: float = 1.0
    ascii_only: bool = False


class Mailbox:
    """Ticks on their way from the poller to the screen: what is not yet taken is merged, so that ticks coalesce."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: Tick | None = None

    def put(self, tick: Tick) -> bool:
        """Add a tick; True where nothing was waiting, so that the screen must be told."""
        with self._lock:
            before = self._waiting
            if before is not None:
                merged = {snapshot.path: snapshot for snapshot in (*before.snapshots, *tick.snapshots)}
                tick = replace(tick, snapshots=tuple(merged.values()))
            self._waiting = tick
            return before is None

    def take(self) -> Tick | None:
        """All that is waiting, as one tick."""
        with self._lock:
            tick, self._waiting = self._waiting, None
            return tick


class WatchApp(App[None]):
    """`thermotui watch`."""

    TITLE = "thermotui"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(",".join(action.keys), action.call or action.name, action.title, id=action.name, show=False)
        for action in ACTIONS
    ]
    CSS = """
    Screen { layout: vertical; }
    #body { height: 1fr; }
    #stage { width: 1fr; height: 1fr; }
    #status { color: $text-muted; }
    .-narrow #runs { width: 19; }
    #grow { display: none; }
    .-small #body, .-small #header, .-small #status { display: none; }
    .-small #grow { display: block; height: 1fr; }
    """

    selected: reactive[str] = reactive("")
    look: reactive[Look] = reactive(Look())
    paused: reactive[bool] = reactive(False)

    class Ticked(Message):
        """Something new is in the mailbox."""

    class Unreadable(Message):
        """There is nothing to read any more."""

        def __init__(self, reason: str) -> None:
            super().__init__()
            self.reason = reason

    def __init__(self, process: ReadingProcess, settings: Settings = Settings()) -> None:
        super().__init__()
        self.settings = settings
        self.mailbox = Mailbox()
        self.summaries: tuple[RunSummary, ...] = ()
        self.snapshots: dict[str, RunSnapshot] = {}
        self.steps = StepView()
        self.marked: frozenset[str] = frozenset()
        self.poller = Poller(process, settings.interval, self._deliver, self._fail)

    def get_driver_class(self) -> type[Driver]:
        """Over a thin line only the cells that differ are sent."""
        return thin_driver(super().get_driver_class(), lambda: self.size)

    def compose(self) -> ComposeResult:
        """Header, runs, the view, status."""
        yield HeaderLine(id="header")
        with Horizontal(id="body"):
            yield RunList(id="runs")
            with Vertical(id="stage"):
                yield Dashboard(self.steps, id="dashboard")
        yield Line(id="status")
        yield Line(id="grow")

    def on_mount(self) -> None:
        """Start to read."""
        self.steps.subscribe(self._ask)
        self.poller.start()
        self._ask()

    def on_unmount(self) -> None:
        """Stop to read."""
        self.poller.stop()

    def _deliver(self, tick: Tick) -> None:
        if self.mailbox.put(tick):
            self.post_message(self.Ticked())

    def _fail(self, reason: str) -> None:
        self.post_message(self.Unreadable(reason))

    @property
    def view(self) -> View:
        """The view shown."""
        return self.query_one(Dashboard)

    def _ask(self) -> None:
        if not self.is_running or self.paused:
            return
        runs = (self.selected,) if self.selected else ()
        steps, cursor = self.steps.x_range, self.steps.cursor
        query = Query(
            runs=runs,
            steps=None if steps is None else (max(0, int(steps[0])), max(0, int(steps[1]) + 1)),
            columns=max(64, self.size.width * 2),
            at=None if cursor is None else max(0, int(cursor)),
        )
        self.poller.query = self.view.ask(query)

    def on_view_asks(self) -> None:
        """The view needs other answers."""
        self._ask()

    def on_watch_app_ticked(self) -> None:
        """Hand what is new to the widgets that show it."""
        tick = self.mailbox.take()
        if tick is None or self.paused:
            return
        self.summaries = tick.summaries
        self.snapshots.update((snapshot.path, snapshot) for snapshot in tick.snapshots)
        if not any(summary.path == self.selected for summary in self.summaries) and self.summaries:
            self.selected = next((s.path for s in self.summaries if s.live), self.summaries[0].path)
        self._show()

    def on_watch_app_unreadable(self, message: Unreadable) -> None:
        """Leave with the reason."""
        self.exit(message=message.reason, return_code=2)

    def _show(self) -> None:
        self.query_one(RunList).show(self.summaries, self.marked, self.settings.ascii_only)
        self.query_one(RunList).cursor = self.selected
        snapshot = self.snapshots.get(self.selected)
        problem = next((s.problem for s in self.summaries if s.path == self.selected), "")
        self.query_one(HeaderLine).show(snapshot, problem)
        self.view.snapshots = () if snapshot is None or problem else (snapshot,)

    def watch_selected(self) -> None:
        """Ask for the newly selected run."""
        self._ask()
        if self.is_running:
            self._show()

    def watch_look(self) -> None:
        """All charts share the look; another range needs another answer."""
        if self.is_running:
            self.view.look = self.look
        self._ask()

    def on_resize(self, event: Resize) -> None:
        """Too small a terminal is told to grow."""
        width, height = event.size
        small = width < MINIMUM_SIZE[0] or height < MINIMUM_SIZE[1]
        self.screen.set_class(small, "-small")
        self.screen.set_class(width < 100, "-narrow")
        self.query_one("#grow", Line).parts = (f"grow to {MINIMUM_SIZE[0]}×{MINIMUM_SIZE[1]}",)
        self._ask()

    def on_table_moved(self, message: RunList.Moved) -> None:
        """Another run was chosen in the list."""
        if message.table.id == "runs" and message.key:
            self.selected = message.key

    def action_next_run(self) -> None:
        """The next run in the list."""
        self.query_one(RunList).action_move(1)

    def action_previous_run(self) -> None:
        """The previous run in the list."""
        self.query_one(RunList).action_move(-1)
