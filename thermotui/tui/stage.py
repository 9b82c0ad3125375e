"""The stage beside the runs: makes the views when they are first shown, and hands them what they show."""

from __future__ import annotations

from collections.abc import Callable

from textual.app import ComposeResult
from textual.geometry import Size
from textual.reactive import reactive

from thermotui.analysis.run_state import RunSummary
from thermotui.analysis.snapshot import Query, RunSnapshot
from thermotui.tui.charts.view import StepView
from thermotui.tui.views.dashboard import Dashboard
from thermotui.tui.views.view import Look, View
from thermotui.tui.widgets.backdrop import Backdrop


def _layers(steps: StepView) -> View:
    from thermotui.tui.views.layers import LayersView

    return LayersView(steps, id="layers")


def _balance(steps: StepView) -> View:
    from thermotui.tui.views.balance import BalanceView

    return BalanceView(id="balance")


def _alerts(steps: StepView) -> View:
    from thermotui.tui.views.alerts import AlertsView

    return AlertsView(steps, id="alerts-view")


def _compare(steps: StepView) -> View:
    from thermotui.tui.views.compare import CompareView

    return CompareView(steps, id="compare")


def _overview(steps: StepView) -> View:
    from thermotui.tui.views.overview import OverviewView

    return OverviewView(steps, id="overview")


def _log(steps: StepView) -> View:
    from thermotui.tui.views.log_browser import LogBrowser

    return LogBrowser(id="log")


# Imported when first shown: the screen is up sooner for it.
MAKERS: dict[str, Callable[[StepView], View]] = {
    "overview": _overview,
    "dashboard": lambda steps: Dashboard(steps, id="dashboard"),
    "layers": _layers,
    "balance": _balance,
    "alerts": _alerts,
    "compare": _compare,
    "log": _log,
}


class Stage(Backdrop):
    """One view at a time; those not shown keep their place and are not updated."""

    DEFAULT_CSS = "Stage { width: 1fr; height: 1fr; layout: vertical; }"

    snapshots: reactive[tuple[RunSnapshot, ...]] = reactive((), repaint=False, init=False)
    summaries: reactive[tuple[RunSummary, ...]] = reactive((), repaint=False, init=False)
    selected: reactive[str] = reactive("", repaint=False, init=False)
    look: reactive[Look] = reactive(Look(), repaint=False, init=False)

    def __init__(self, steps: StepView, shown: str, id: str | None = None) -> None:
        super().__init__(id=id)
        self._steps = steps
        self._shown = shown if shown in MAKERS else "dashboard"
        self._views: dict[str, View] = {self._shown: MAKERS[self._shown](steps)}

    def compose(self) -> ComposeResult:
        """The first view."""
        yield self.view

    @property
    def name_shown(self) -> str:
        """The name of the view shown."""
        return self._shown

    @property
    def view(self) -> View:
        """The view shown."""
        return self._views[self._shown]

    async def show(self, name: str) -> None:
        """Show another view, with what is known already."""
        if name == self._shown:
            return
        left = self.view
        left.display = False
        left.put_away()
        self._shown = name
        if name not in self._views:
            self._views[name] = MAKERS[name](self._steps)
            await self.mount(self.view)
        self.view.display = True
        self._hand_over()

    def _hand_over(self) -> None:
        if self.snapshots:
            self.view.snapshots = self.snapshots
        else:
            # It was put away without a word.
            self.view.mutate_reactive(View.snapshots)
        self.view.look = self.look
        self.view.selected = self.selected
        self.view.summaries = self.summaries

    def ask_first(self, query: Query, size: Size, look: Look) -> Query | None:
        """What the first view will need once it is mounted in a stage of that size; None where only time will tell."""
        return self.view.ask_first(query, size, look)

    def watch_snapshots(self) -> None:
        """Hand on."""
        self.view.snapshots = self.snapshots

    def watch_summaries(self) -> None:
        """Hand on."""
        self.view.summaries = self.summaries

    def watch_selected(self) -> None:
        """Hand on."""
        self.view.selected = self.selected

    def watch_look(self) -> None:
        """Hand on."""
        self.view.look = self.look
