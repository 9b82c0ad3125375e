"""What every view has in common: it says what it asks of the log, and gets frozen answers by reactive attributes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

from textual.geometry import Size
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget

from thermotui.analysis.run_state import RunSummary
from thermotui.analysis.snapshot import Query, RunSnapshot
from thermotui.tui.attention import Snooze
from thermotui.tui.charts.cells import CellWidget
from thermotui.tui.charts.chart import Chart
from thermotui.tui.charts.linked import LinkedWidget
from thermotui.tui.charts.model import Scale
from thermotui.tui.charts.raster import Mode
from thermotui.tui.strips import forget_strips
from thermotui.tui.widgets.backdrop import Backdrop

Align = Literal["step", "time"]
ScaleChoice = Literal["own", "linear", "log", "symlog"]
SCALE_CHOICES: tuple[ScaleChoice, ...] = ("own", "linear", "log", "symlog")


@dataclass(frozen=True)
class Look:
    """How the user wants to see things: shared by all views.

    scale: that of the value axes; "own" gives each quantity the one that suits it.
    smoothing: half-life in rows, 0 for none. acknowledged: "path<tab>alert key" of each acknowledged alert.
    snoozed: alerts hidden for a while.
    """

    scale: ScaleChoice = "own"
    mode: Mode = "braille"
    align: Align = "step"
    smoothing: int = 0
    hidden_panels: frozenset[str] = frozenset()
    acknowledged: frozenset[str] = frozenset()
    snoozed: tuple[Snooze, ...] = ()

    def scale_of(self, own: Scale = "linear") -> Scale:
        """The scale to draw a quantity in whose own scale is `own`."""
        return own if self.scale == "own" else self.scale

    def snoozed_in(self, path: str) -> frozenset[str]:
        """Keys of the snoozed alerts of a run."""
        return frozenset(each.key for each in self.snoozed if each.path == path)


class View(Backdrop):
    """A view of the selected run or runs."""

    DEFAULT_CSS = "View { width: 1fr; height: 1fr; }"

    focused_first: ClassVar[str] = ""
    """Selector of what has the focus when the view is shown; empty for nothing."""
    several: ClassVar[bool] = False
    """Whether the view shows the marked runs beside the selected one."""
    moves: ClassVar[bool] = False
    """Whether the keys move what it shows along the steps of one run."""

    snapshots: reactive[tuple[RunSnapshot, ...]] = reactive((), repaint=False)
    """The runs shown, the selected one first."""
    summaries: reactive[tuple[RunSummary, ...]] = reactive((), repaint=False)
    """The runs in the list, in its order."""
    selected: reactive[str] = reactive("", repaint=False)
    """The path of the selected run."""
    look: reactive[Look] = reactive(Look(), repaint=False)

    class Asks(Message):
        """The view needs other answers than before."""

    @property
    def snapshot(self) -> RunSnapshot | None:
        """The selected run; None before its first answer, or where it cannot be read."""
        return self.snapshots[0] if self.snapshots else None

    def charts(self) -> Iterable[Chart]:
        """All charts of the view, in its order."""
        return self.query(Chart)

    def forget_ahead(self) -> None:
        """Keep nothing of what was drawn ahead: nobody presses keys."""
        for widget in self.walk_children(Widget):
            if isinstance(widget, LinkedWidget):
                widget.forget_ahead()

    def put_away(self) -> None:
        """Let go of the runs shown, once another view is: it gets what is known when it is shown again."""
        self.set_reactive(View.snapshots, ())
        self.forget_ahead()
        for widget in self.walk_children(Widget):
            forget_strips(widget)
            if isinstance(widget, CellWidget):
                widget.let_go()

    def ask_first(self, query: Query, size: Size, look: Look) -> Query | None:
        """What `ask` will say once the view has that size, in cells, and that look; None where only time will tell.

        Called before the view is mounted, when no reactive attribute may be read.
        """
        return None

    def draw_ahead(self, snapshot: RunSnapshot, steps: tuple[float, float] | None) -> Iterator[None]:
        """Draw what the view would show of the selected run at these steps, to have it at hand if that is next.

        Piece by piece, as somebody who presses a key should not wait for it.
        """
        yield from ()

    def ask(self, query: Query) -> Query:
        """Add to the query what this view needs."""
        return query
