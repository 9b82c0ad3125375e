"""The main screen: the runs at the left, one view beside them, and what the keys do to both."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Protocol

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.events import Resize
from textual.geometry import Size
from textual.message import Message
from textual.reactive import reactive
from textual.widgets import Input

from thermotui.analysis.run_filter import GROUPINGS, ORDERS, Grouping, Order, arrange
from thermotui.analysis.run_state import RunSummary
from thermotui.analysis.snapshot import Query, RunSnapshot, Tick
from thermotui.tui.actions import ACTIONS
from thermotui.tui.attention import needing_attention, still_snoozed
from thermotui.tui.chart_screen import ChartScreen
from thermotui.tui.session import Session
from thermotui.tui.stage import Stage
from thermotui.tui.views.dashboard import Dashboard
from thermotui.tui.views.view import Look
from thermotui.tui.widgets.backdrop import PlainHorizontal, PlainVertical
from thermotui.tui.widgets.lines import HeaderLine, Line
from thermotui.tui.widgets.run_list import RunList
from thermotui.tui.widgets.table import Table

MINIMUM_SIZE = (40, 10)
LINES = 2
"""Those above and below the stage."""
SIDE_WIDTH = 26
SIDE_WIDTHS = {"-without-runs": 0, "-overview": 0, "-slim": 0, "-narrow": 21, "-wide": 32}
"""Cells that the list of runs takes, by the class of the screen that decides: as the style sheet below has it."""
MAXIMUM_MARKED = 8
AHEAD_SECONDS = 0.01
"""Time after a key before it is asked what the next one may show."""
KEPT_SNAPSHOTS = 2
"""Runs last shown that are still at hand when one goes back to them."""
WAKING_SECONDS = 10.0
"""Time between two looks at whether a snoozed alert is to be shown again."""


class Answers(Protocol):
    """Who answers questions about the log."""

    query: Query
    """What is shown now: asked anew as often as the run may have got rows."""
    ahead: tuple[Query, ...]
    """What may be shown next, the likeliest first."""

    def held(self, query: Query) -> RunSnapshot | None:
        """The answer, where it is known already."""


class MainScreen(ChartScreen):
    """Runs, a view, and two lines that say what is looked at and how."""

    AUTO_FOCUS = ""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(",".join(action.keys), action.action, action.title, id=action.name, show=False)
        for action in ACTIONS
        if action.group != "Screen"
    ]
    DEFAULT_CSS = """
    MainScreen {
        layout: vertical;
        & > #body { height: 1fr; }
        & #side { width: 26; height: 1fr; display: block; }
        & #filter { height: 1; border: none; padding: 0; display: none; }
        & > #status { color: $text-muted; }
        & > #grow { display: none; }
        &.-narrow #side { width: 21; }
        &.-wide #side { width: 32; }
        &.-slim #side { display: none; }
        &.-without-runs #side, &.-overview #side { display: none; }
        &.-overview.-filtering #side, &.-slim.-filtering #side { display: block; }
        &.-filtering #filter { display: block; }
        &.-small > #body, &.-small > #header, &.-small > #status { display: none; }
        &.-small > #grow { display: block; height: 1fr; }
    }
    """

    selected: reactive[str] = reactive("", init=False)
    """The path of the selected run."""
    paused: reactive[bool] = reactive(False, init=False)
    order: reactive[Order] = reactive("state", init=False)
    grouping: reactive[Grouping] = reactive("none", init=False)
    words: reactive[str] = reactive("", init=False)
    """The filter of the runs."""
    marked: reactive[tuple[str, ...]] = reactive((), init=False)
    """Runs marked for the compare view, in the order of marking."""

    class Ready(Message):
        """The screen can show what is read."""

    def __init__(
        self, view: str, look: Look, save_to: Path, waiting: Callable[[], Tick | None], answers: Answers
    ) -> None:
        """waiting: gives what has been read by the time that the screen is first drawn. answers: who is asked."""
        super().__init__(save_to)
        self._answers = answers
        self._looking_ahead = False
        self.runs: tuple[RunSummary, ...] = ()
        self.snapshots: dict[str, RunSnapshot] = {}
        self._first_stage = Stage(self.steps, view, id="stage")
        self._waiting = waiting
        self.set_reactive(MainScreen.look, look)

    def compose(self) -> ComposeResult:
        """Header, runs, the view, status."""
        yield HeaderLine(id="header")
        with PlainHorizontal(id="body"):
            with PlainVertical(id="side"):
                yield RunList(id="runs")
                yield Input(placeholder="words, name=value", id="filter", compact=True)
            yield self._first_stage
        yield Line(id="status")
        yield Line(id="grow")

    @property
    def _up(self) -> bool:
        """Whether there is anything to show things on: not yet, and no more while the screen is taken down."""
        return self._first_stage.is_attached

    def on_mount(self) -> None:
        """Every change of what the charts show is a new question."""
        self.steps.subscribe(self._steps_changed)
        self.stage.look = self.look
        self.set_class(self.look.mode == "ascii", "-ascii")
        self.set_class(self.stage.name_shown == "overview", "-overview")
        # What is known already belongs into the first frame: a second one would take as long again.
        tick = self._waiting()
        if tick is not None:
            self.take(tick)
        self.call_after_refresh(self.focus_view)
        self.set_interval(WAKING_SECONDS, self._wake)
        self.post_message(self.Ready())

    def focus_view(self) -> None:
        """The focus is where the view wants it at first; up and down then move there and not among the runs."""
        selector = self.stage.view.focused_first
        self.set_focus(self.stage.view.query_one(selector) if selector else None)

    def prepare(self, tick: Tick, size: Size) -> Query | None:
        """Before it is mounted: fit a terminal of that size, select one of the runs in `tick`, and ask for that one.

        The answer comes while the screen is made, and the first layout is the last. None where it is not yet known what
        to ask.
        """
        self._fit(size)
        self.set_class(self._first_stage.name_shown == "overview", "-overview")
        self.runs = tick.summaries
        shown = self._arranged()
        if not shown:
            return None
        self.set_reactive(MainScreen.selected, shown[0][1].path)
        side = next((width for name, width in SIDE_WIDTHS.items() if self.has_class(name)), SIDE_WIDTH)
        query = Query(runs=(self.selected,), columns=_columns(size.width), smoothing=self.look.smoothing)
        return self._first_stage.ask_first(query, Size(size.width - side, size.height - LINES), self.look)

    def ask(self) -> None:
        """Say what is needed for what is shown."""
        if not self.is_mounted or not self._up:
            return
        self._ask(self._question(self.steps.x_range))

    def _ask(self, question: Query) -> None:
        self._answers.query = question
        self._plan()

    def _plan(self) -> None:
        """Look ahead soon, but not before what is known is drawn."""
        if self.stage.view.moves and not self._looking_ahead:
            self._looking_ahead = True
            self.set_timer(AHEAD_SECONDS, self._look_ahead)

    def _question(self, steps: tuple[float, float] | None) -> Query:
        """What is needed to show these steps, None for the whole run."""
        runs = dict.fromkeys(path for path in (self.selected, *self.marked) if path)
        cursor = self.steps.cursor
        query = Query(
            runs=tuple(runs)[:MAXIMUM_MARKED] if self.stage.view.several else tuple(runs)[:1] if self.selected else (),
            steps=None if steps is None else _whole_steps(steps),
            columns=_columns(self.size.width),
            at=None if cursor is None else max(0, int(cursor)),
            smoothing=self.look.smoothing,
        )
        return self.stage.ask(query)

    def _look_ahead(self) -> None:
        """Have what the next key may ask for answered before it does."""
        self._looking_ahead = False
        self._answers.query = now = self._question(self.steps.x_range)
        ranges = self.next_ranges() if self.stage.view.moves else ()
        # A view asks alike for any part of a run, and otherwise for the whole.
        alike = now if now.steps is not None or not ranges else self._question(ranges[0])
        self._answers.ahead = tuple(
            self._question(None) if steps is None else replace(alike, steps=_whole_steps(steps)) for steps in ranges
        )

    def on_view_asks(self) -> None:
        """The view needs other answers."""
        self.ask()

    def _steps_changed(self) -> None:
        if not self.is_mounted or not self._up:
            return
        question = self._question(self.steps.x_range)
        held = None if self.paused else self._answers.held(question)
        if held is None:
            self._ask(question)
        else:
            # Whether it is still the newest answer is asked once it is drawn.
            self._plan()
            self._keep((held,))
            self._show_snapshots()
        self._show_status()

    def take(self, tick: Tick) -> None:
        """Show what is new."""
        if not self._up:
            # A tick that was under way while the screen is taken down.
            return
        self.runs = tick.summaries
        self._wake()
        if not self.paused:
            self._keep(tick.snapshots)
        known = {summary.path for summary in self.runs}
        if self.selected not in known and self.runs:
            shown = self._arranged()
            self.selected = shown[0][1].path if shown else self.runs[0].path
        self._show()

    def _keep(self, snapshots: tuple[RunSnapshot, ...]) -> None:
        """Keep the newest snapshot of the runs shown, and of few others: curves of every run once visited add up."""
        for snapshot in snapshots:
            self.snapshots.pop(snapshot.path, None)
            self.snapshots[snapshot.path] = snapshot
        shown = {self.selected, *self.marked}
        others = [path for path in self.snapshots if path not in shown]
        for path in others[:-KEPT_SNAPSHOTS]:
            del self.snapshots[path]

    def _wake(self) -> None:
        """Show the alerts again whose snooze is over."""
        snoozed = still_snoozed(self.look.snoozed, self.runs, time.time())
        if snoozed != self.look.snoozed:
            self.look = replace(self.look, snoozed=snoozed)

    def _arranged(self) -> tuple[tuple[str, RunSummary], ...]:
        runs = needing_attention(self.runs, self.look.acknowledged, self.look.snoozed)
        return arrange(runs, self.words, self.order, self.grouping)

    def _show(self) -> None:
        if not self._up:
            # A filter that was just typed, while the screen is taken down.
            return
        arranged = self._arranged()
        runs = self.query_one(RunList)
        runs.show_runs(arranged, frozenset(self.marked), self.look.mode == "ascii")
        runs.cursor = self.selected
        problems = {summary.path: summary.problem for summary in self.runs if summary.problem}
        self.query_one(HeaderLine).show(
            None if self.selected in problems else self.snapshots.get(self.selected), problems.get(self.selected, "")
        )
        self.stage.selected = self.selected
        self.stage.summaries = tuple(summary for _, summary in arranged)
        self._show_snapshots()
        self._show_status()

    def _show_snapshots(self) -> None:
        paths = dict.fromkeys((self.selected, *(self.marked if self.stage.view.several else ())))
        problems = {summary.path for summary in self.runs if summary.problem}
        self.stage.snapshots = tuple(
            self.snapshots[path] for path in paths if path in self.snapshots and path not in problems
        )

    def _show_status(self) -> None:
        steps = self.steps
        where = "whole run" if steps.x_range is None else f"steps {steps.x_range[0]:.0f}–{steps.x_range[1]:.0f}"
        how = "paused" if self.paused else "following"
        words = f"/{self.words} ({len(self.stage.summaries)} of {len(self.runs)})" if self.words else ""
        scale = "" if self.look.scale == "own" else f"{self.look.scale} scale"
        smooth = f"smoothed over {self.look.smoothing} rows" if self.look.smoothing else ""
        status = self.query_one("#status", Line)
        named = (self.stage.name_shown, how, where, scale, smooth, words, "1–7: views", "?: help", "q: quit")
        status.parts = tuple(part for part in named if part)

    def on_resize(self, event: Resize) -> None:
        """Too small a terminal is told to grow."""
        self._fit(event.size)
        self.query_one("#grow", Line).parts = (f"grow {MINIMUM_SIZE[0]}×{MINIMUM_SIZE[1]}",)
        self.ask()

    def _fit(self, size: Size) -> None:
        width, height = size
        self.set_class(width < MINIMUM_SIZE[0] or height < MINIMUM_SIZE[1], "-small")
        self.set_class(width < 100, "-narrow")
        self.set_class(width >= 140, "-wide")
        self.set_class(width < 60, "-slim")

    def watch_selected(self) -> None:
        """Ask for the newly selected run; what is known of it is shown at once."""
        self.ask()
        self._show()

    def watch_look(self) -> None:
        """Draw in another way; smoothing is another question."""
        self.set_class(self.look.mode == "ascii", "-ascii")
        self.stage.look = self.look
        self.ask()
        self._show()

    def watch_order(self) -> None:
        """Arrange the runs anew."""
        self._show()

    def watch_grouping(self) -> None:
        """Arrange the runs anew."""
        self._show()

    def watch_words(self) -> None:
        """Show the runs that match, and select one of them."""
        paths = [summary.path for _, summary in self._arranged()]
        if paths and self.selected not in paths:
            self.selected = paths[0]
        self._show()

    def watch_marked(self) -> None:
        """Compare others."""
        self.ask()
        self._show()

    @on(Table.Moved, "#runs,#overview-table")
    def _run_chosen(self, message: Table.Moved) -> None:
        if message.key:
            self.selected = message.key

    @on(Table.Chosen, "#overview-table,#runs")
    async def _run_opened(self) -> None:
        await self.action_view("dashboard")

    @on(Input.Changed, "#filter")
    def _filter_changed(self, message: Input.Changed) -> None:
        self.words = message.value

    @on(Input.Submitted, "#filter")
    def _filter_done(self) -> None:
        self.remove_class("-filtering")
        self.set_focus(None)

    async def action_view(self, name: str) -> None:
        """Show a view."""
        await self.stage.show(name)
        self.set_class(name == "overview", "-overview")
        self.focus_view()
        self.ask()
        self._show()

    def action_move_run(self, by: int) -> None:
        """Another run in the list."""
        self.query_one(RunList).action_move(by)

    def action_toggle_runs(self) -> None:
        """Show or hide the list of runs."""
        self.toggle_class("-without-runs")

    def action_filter_runs(self) -> None:
        """Type a filter; escape takes it back."""
        self.add_class("-filtering")
        self.remove_class("-without-runs")
        self.query_one("#filter", Input).focus()

    def action_sort_runs(self) -> None:
        """The next order of the runs."""
        self.order = ORDERS[(ORDERS.index(self.order) + 1) % len(ORDERS)]
        self.notify(f"runs by {self.order}", timeout=2)

    def action_group_runs(self) -> None:
        """The next grouping of the runs."""
        self.grouping = GROUPINGS[(GROUPINGS.index(self.grouping) + 1) % len(GROUPINGS)]
        self.notify(f"grouped by {self.grouping}", timeout=2)

    def action_mark_run(self) -> None:
        """Mark the selected run for comparison, or take the mark away."""
        if self.selected in self.marked:
            self.marked = tuple(path for path in self.marked if path != self.selected)
        elif len(self.marked) < MAXIMUM_MARKED:
            self.marked = (*self.marked, self.selected)
        else:
            self.notify(f"at most {MAXIMUM_MARKED} runs can be compared", severity="warning")

    def go_back(self) -> None:
        """Out of a filter, a full-screen panel, a focus, a cursor, a zoom: one at a time."""
        view = self.stage.view
        if self.has_class("-filtering") or self.words:
            self.query_one("#filter", Input).value = ""
            self.words = ""
            self.remove_class("-filtering")
            self.set_focus(None)
        elif isinstance(view, Dashboard) and view.full:
            view.full = ""
        elif self.focused is not None:
            self.set_focus(None)
        elif self.steps.cursor is not None:
            self.steps.point(None)
        else:
            self.steps.show(None)

    def restore(self, session: Session) -> None:
        """Look at the workspace as it was last looked at."""
        if session.order in ORDERS:
            self.set_reactive(MainScreen.order, session.order)
        if session.grouping in GROUPINGS:
            self.set_reactive(MainScreen.grouping, session.grouping)
        self.set_class(not session.runs_shown, "-without-runs")

    def remember(self) -> Session:
        """How the workspace is looked at now."""
        return Session(
            view=self.stage.name_shown,
            order=self.order,
            grouping=self.grouping,
            runs_shown=not self.has_class("-without-runs"),
            hidden_panels=tuple(sorted(self.look.hidden_panels)),
            acknowledged=tuple(sorted(self.look.acknowledged)),
        )

    def action_pause(self) -> None:
        """Stop the curves, or follow the runs again; the list of runs always follows."""
        self.paused = not self.paused
        self.ask()
        self._show_status()


def _whole_steps(steps: tuple[float, float]) -> tuple[int, int]:
    """The first and the last step to ask for where these are shown."""
    return max(0, int(steps[0])), max(0, int(steps[1]) + 1)


def _columns(width: int) -> int:
    """Buckets to ask for on a terminal so many cells wide."""
    return max(64, 4 * width)
