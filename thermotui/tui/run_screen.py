"""What the keys do to the list of runs: which is selected, which are marked, and how the list is arranged."""

from __future__ import annotations

import time
from abc import abstractmethod
from dataclasses import replace
from pathlib import Path

from textual import on
from textual.reactive import reactive
from textual.widgets import Input

from thermotui.analysis.run_filter import GROUPINGS, ORDERS, Grouping, Order, arrange
from thermotui.analysis.run_state import RunSummary
from thermotui.tui.asking import MAXIMUM_SHOWN
from thermotui.tui.attention import needing_attention, still_snoozed
from thermotui.tui.chart_screen import ChartScreen
from thermotui.tui.session import Session
from thermotui.tui.widgets.run_list import RunList
from thermotui.tui.widgets.table import Table


class RunScreen(ChartScreen):
    """Actions on the list of runs."""

    selected: reactive[str] = reactive("", init=False)
    """The path of the selected run."""
    order: reactive[Order] = reactive("state", init=False)
    grouping: reactive[Grouping] = reactive("none", init=False)
    words: reactive[str] = reactive("", init=False)
    """The filter of the runs."""
    marked: reactive[tuple[str, ...]] = reactive((), init=False)
    """Runs marked for the compare view, in the order of marking."""

    def __init__(self, view: str, save_to: Path) -> None:
        super().__init__(view, save_to)
        self.runs: tuple[RunSummary, ...] = ()

    @abstractmethod
    def ask(self) -> None:
        """Say what is needed for what is shown."""

    @abstractmethod
    def show_known(self) -> None:
        """Show what is known already."""

    def wake(self) -> None:
        """Show the alerts again whose snooze is over."""
        snoozed = still_snoozed(self.look.snoozed, self.runs, time.time())
        if snoozed != self.look.snoozed:
            self.look = replace(self.look, snoozed=snoozed)

    def arranged(self) -> tuple[tuple[str, RunSummary], ...]:
        """The runs that match the filter, in their order, each with the name of its group."""
        runs = needing_attention(self.runs, self.look.acknowledged, self.look.snoozed)
        return arrange(runs, self.words, self.order, self.grouping)

    def watch_selected(self) -> None:
        """Ask for the newly selected run; what is known of it is shown at once."""
        self.ask()
        self.show_known()

    def watch_order(self) -> None:
        """Arrange the runs anew."""
        self.show_known()

    def watch_grouping(self) -> None:
        """Arrange the runs anew."""
        self.show_known()

    def watch_words(self) -> None:
        """Show the runs that match, and select one of them."""
        paths = [summary.path for _, summary in self.arranged()]
        if paths and self.selected not in paths:
            self.selected = paths[0]
        self.show_known()

    def watch_marked(self) -> None:
        """Compare others."""
        self.ask()
        self.show_known()

    @on(Table.Moved, "#runs,#overview-table")
    def _run_chosen(self, message: Table.Moved) -> None:
        if message.key:
            self.selected = message.key

    @on(Input.Changed, "#filter")
    def _filter_changed(self, message: Input.Changed) -> None:
        self.words = message.value

    @on(Input.Submitted, "#filter")
    def _filter_done(self) -> None:
        self.remove_class("-filtering")
        self.set_focus(None)

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

    @property
    def filtered(self) -> bool:
        """Whether a filter is being typed or holds."""
        return self.has_class("-filtering") or bool(self.words)

    def take_filter_back(self) -> None:
        """Show all runs again."""
        self.query_one("#filter", Input).value = ""
        self.words = ""
        self._filter_done()

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
        elif len(self.marked) < MAXIMUM_SHOWN:
            self.marked = (*self.marked, self.selected)
        else:
            self.notify(f"at most {MAXIMUM_SHOWN} runs can be compared", severity="warning")

    def restore(self, session: Session) -> None:
        """Look at the workspace as it was last looked at."""
        if session.order in ORDERS:
            self.set_reactive(RunScreen.order, session.order)
        if session.grouping in GROUPINGS:
            self.set_reactive(RunScreen.grouping, session.grouping)
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
