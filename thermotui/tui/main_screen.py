"""The main screen: the runs at the left, one view beside them, and what the keys do to both."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.events import Resize
from textual.geometry import Size
from textual.message import Message
from textual.reactive import reactive
from textual.widgets import Input

from thermotui.analysis.snapshot import Query, RunSnapshot, Tick
from thermotui.tui.actions import ACTIONS
from thermotui.tui.asking import Answers, Steps, first_question, keep, question, questions_ahead, tells_more
from thermotui.tui.pictures_ahead import PicturesAhead
from thermotui.tui.run_screen import RunScreen
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
AHEAD_SECONDS = 0.01
"""Time after a key before it is asked what the next one may show."""
DRAWING_PAUSE = 0.001
"""Seconds between two pieces of what is drawn ahead."""
WAKING_SECONDS = 10.0
"""Time between two looks at whether a snoozed alert is to be shown again."""


class MainScreen(RunScreen):
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

    paused: reactive[bool] = reactive(False, init=False)

    class Ready(Message):
        """The screen can show what is read."""

    def __init__(
        self,
        view: str,
        look: Look,
        save_to: Path,
        waiting: Callable[[], Tick | None],
        answers: Answers,
        hints: tuple[str, ...],
    ) -> None:
        """waiting: gives what has been read by the time that the screen is first drawn. answers: who is asked.

        hints: what the status line ends with.
        """
        super().__init__(view, save_to)
        self._hints = hints
        self._answers = answers
        self._looking_ahead = self._drawing_ahead = False
        self._pictures = PicturesAhead(answers)
        self._unseen: dict[str, RunSnapshot] = {}
        """What has come of runs since their curves were stopped."""
        self.snapshots: dict[str, RunSnapshot] = {}
        self._answered: tuple[str, ...] = ()
        """The runs of the newest question that was answered."""
        self._waiting = waiting
        self.left_alone = True
        """Whether nobody has pressed anything yet."""
        self.set_reactive(MainScreen.look, look)

    def compose(self) -> ComposeResult:
        """Header, runs, the view, status."""
        yield HeaderLine(id="header")
        with PlainHorizontal(id="body"):
            with PlainVertical(id="side"):
                yield RunList(id="runs")
                yield Input(placeholder="words, name=value", id="filter", compact=True)
            yield self.stage
        yield Line(id="status")
        yield Line(id="grow")

    @property
    def _up(self) -> bool:
        """Whether there is anything to show things on: not yet, and no more while the screen is taken down."""
        return self.stage.is_attached and self.app.is_running

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
        self.set_interval(WAKING_SECONDS, self.wake)
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
        self.set_class(self.stage.name_shown == "overview", "-overview")
        self.runs = tick.summaries
        shown = self.arranged()
        if not shown:
            return None
        self.set_reactive(MainScreen.selected, shown[0][1].path)
        side = next((width for name, width in SIDE_WIDTHS.items() if self.has_class(name)), SIDE_WIDTH)
        query = first_question(self.selected, size.width, self.look)
        return self.stage.ask_first(query, Size(size.width - side, size.height - LINES), self.look)

    def ask(self) -> None:
        """Say what is needed for what is shown."""
        if not self.is_mounted or not self._up:
            return
        self._ask(self._question(self.steps.x_range))

    def _ask(self, now: Query) -> None:
        if now.runs != self._answers.query.runs or not self.stage.view.moves:
            # What might have been next would be read again and again, in turns with what is shown.
            self._answers.ahead = ()
        self._answers.query = now
        self._plan()

    def _plan(self) -> None:
        """Look ahead soon, but not before what is known is drawn."""
        self._pictures.expect({})
        if self.stage.view.moves and not self._looking_ahead:
            self._looking_ahead = True
            self.set_timer(AHEAD_SECONDS, self._look_ahead)

    def _question(self, steps: Steps) -> Query:
        """What is needed to show these steps."""
        runs = self.selected, *self.marked
        return question(runs, self.stage.view, self.look, steps, self.steps.cursor, self.size.width)

    def _look_ahead(self) -> None:
        """Have what the next key may ask for answered before it does."""
        self._looking_ahead = False
        if not self._up:
            return
        self._answers.query = now = self._question(self.steps.x_range)
        ranges = self.next_ranges() if self.stage.view.moves else ()
        self._answers.ahead = ahead = questions_ahead(now, ranges, self._question)
        self._pictures.expect(dict(zip(ahead, ranges, strict=True)))
        self.draw_ahead()

    def draw_ahead(self) -> None:
        """Draw what the next key may show, as far as it is known, and one piece at a time: a key may come."""
        if self._pictures.expected and not self._drawing_ahead:
            self._drawing_ahead = True
            self.run_worker(self._draw_pieces_ahead())

    async def _draw_pieces_ahead(self) -> None:
        try:
            while self._up and not self.paused and self._pictures.draw_piece(self.stage.view):
                # A key goes from the driver to the charts in several turns of the loop, each before the next piece.
                await asyncio.sleep(DRAWING_PAUSE)
        finally:
            self._drawing_ahead = False

    def on_view_asks(self) -> None:
        """The view needs other answers."""
        self.ask()

    def _steps_changed(self) -> None:
        if not self.is_mounted or not self._up:
            return
        now = self._question(self.steps.x_range)
        held = None if self.paused else self._answers.held(now)
        if held is None:
            self._ask(now)
        else:
            # Whether it is still the newest answer is asked once it is drawn.
            self._plan()
            self._keep(self.snapshots, held)
            self._show_snapshots()
        self._show_status()

    def take(self, tick: Tick) -> None:
        """Show what is new."""
        if not self._up:
            # A tick that was under way while the screen is taken down.
            return
        live_before = {summary.path for summary in self.runs if summary.live}
        self.runs = tick.summaries
        self._answered = tick.query.runs
        self.wake()
        for new in tick.snapshots:
            # What is looked at for the first time is shown though the curves are stopped.
            stopped_at = self.snapshots.get(new.path) if self.paused else None
            if stopped_at is None or tells_more(new, stopped_at):
                self._unseen.pop(new.path, None)
                self._keep(self.snapshots, new)
            else:
                self._keep(self._unseen, new)
        known = {summary.path for summary in self.runs}
        if self.selected not in known and self.runs:
            shown = self.arranged()
            self.selected = shown[0][1].path if shown else self.runs[0].path
        elif self.left_alone:
            self._turn_to_a_new_run(live_before)
        self.show_known()

    def _turn_to_a_new_run(self, live_before: set[str]) -> None:
        """Show the run that has begun, or begun again, where the one shown has ended: it is what was waited for."""
        selected = next((summary for summary in self.runs if summary.path == self.selected), None)
        begun = (run for _, run in self.arranged() if run.live and run.path not in live_before)
        if selected is not None and not selected.live and (new := next(begun, None)) is not None:
            self.selected = new.path

    def _keep(self, kept: dict[str, RunSnapshot], new: RunSnapshot) -> None:
        marked = self.marked if self.stage.view.several else ()
        # Whoever answers does not repeat what the last question named.
        keep(kept, new, {self.selected, *marked, *self._answered})

    def show_known(self) -> None:
        """Show what is known already: the runs, and the view of those selected."""
        if not self._up:
            # A filter that was just typed, while the screen is taken down.
            return
        arranged = self.arranged()
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
        whole = "whole run" if steps.window is None else f"last {steps.window:.0f} steps"
        where = whole if steps.x_range is None else f"steps {steps.x_range[0]:.0f}–{steps.x_range[1]:.0f}"
        how = "paused" if self.paused else "following"
        words = f"/{self.words} ({len(self.stage.summaries)} of {len(self.runs)})" if self.words else ""
        scale = "" if self.look.scale == "own" else f"{self.look.scale} scale"
        smooth = f"smoothed over {self.look.smoothing} rows" if self.look.smoothing else ""
        status = self.query_one("#status", Line)
        named = (self.stage.name_shown, how, where, scale, smooth, words, *self._hints)
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

    def watch_look(self) -> None:
        """Draw in another way; smoothing is another question."""
        self.set_class(self.look.mode == "ascii", "-ascii")
        self.stage.look = self.look
        self.ask()
        self.show_known()

    @on(Table.Chosen, "#overview-table,#runs")
    async def _run_opened(self) -> None:
        await self.action_view("dashboard")

    async def action_view(self, name: str) -> None:
        """Show a view."""
        # While the new view is mounted nothing is to be drawn in either.
        self._pictures.expect({})
        await self.stage.show(name)
        self.set_class(name == "overview", "-overview")
        self.focus_view()
        self.ask()
        self.show_known()

    def go_back(self) -> None:
        """Out of a filter, a full-screen panel, a focus, a cursor, a zoom: one at a time."""
        view = self.stage.view
        if self.filtered:
            self.take_filter_back()
        elif isinstance(view, Dashboard) and view.full:
            view.full = ""
        elif self.focused is not None:
            self.set_focus(None)
        elif self.steps.cursor is not None:
            self.steps.point(None)
        else:
            self.steps.show(None)

    def action_pause(self) -> None:
        """Stop the curves, or follow the runs again; the list of runs always follows."""
        self.paused = not self.paused
        if not self.paused:
            # Whoever answers does not say it twice.
            for new in self._unseen.values():
                self._keep(self.snapshots, new)
            self._unseen.clear()
        self.ask()
        self.show_known()
