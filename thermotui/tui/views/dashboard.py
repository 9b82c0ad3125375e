"""The dashboard of one run: as many panels as the terminal holds, in the order in which they matter."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
from textual.app import ComposeResult
from textual.geometry import Size
from textual.reactive import reactive
from textual.widget import Widget

from thermotui.analysis.panels import PANELS, Panel, fields_of
from thermotui.analysis.snapshot import Query, RunSnapshot
from thermotui.tui.charts.chart import Chart
from thermotui.tui.charts.linked import draw_ahead
from thermotui.tui.charts.model import ChartData
from thermotui.tui.charts.turns import update_charts
from thermotui.tui.charts.view import StepView
from thermotui.tui.made import MadeOnce
from thermotui.tui.panels import charts_of
from thermotui.tui.views.view import Look, View
from thermotui.tui.widgets.alert_table import AlertTable
from thermotui.tui.widgets.backdrop import PlainGrid
from thermotui.tui.widgets.layer_panel import LayerPanel

ORDER = (
    "heat_work",
    "entropy_production",
    "information",
    "loss",
    "temperature",
    "alerts",
    "accuracy",
    "efficiency",
    "entropy",
    "first_law",
    "log_partition",
    "gradient_norm",
    "learning_rate",
    "mobility",
)
"""Panels by how soon they get a place."""
PANEL_HEIGHT = 7
POINTS_FOR_A_DOT = 4
"""Of the points asked for: panned or zoomed by two there is still one for each until the answer is there."""
RUNS_KNOWN = 64
"""Runs of which it is remembered what they have nothing for."""
CHARTS_AT_ONCE = 6
"""Drawn ahead without a look at whether a key was pressed."""
COLUMN_WIDTHS = (54, 150, 210)
"""Widths from which on there are two, three and four columns."""
BY_NAME = {panel.name: panel for panel in PANELS}


def grid_shape(width: int, height: int) -> tuple[int, int]:
    """Columns and rows of panels in a stage of that size, in cells."""
    panel_height = PANEL_HEIGHT if height < 5 * PANEL_HEIGHT else PANEL_HEIGHT + 2
    return 1 + sum(width >= limit for limit in COLUMN_WIDTHS), max(1, height // panel_height)


def absent(panel: Panel, snapshot: RunSnapshot) -> bool | None:
    """Whether a run does not have what a panel shows: no rows when others have come, or none with a finite value.

    None where the snapshot does not tell, which is not of the whole run or of a young one.
    """
    if not snapshot.lengths[panel.stream]:
        header = snapshot.header
        stride = header.reservoir_stride if panel.stream == "reservoir" else header.stride
        return True if snapshot.lengths["steps"] > 2 * stride else None
    if snapshot.steps is not None:
        return None
    overview = snapshot.curves.get(panel.stream)
    if overview is None or not set(panel.fields) <= overview.mean.keys():
        return None
    return not any(np.isfinite(overview.mean[line.field]).any() for line in panel.lines)


class Dashboard(View):
    """Panels with one x axis: heat and work, entropy production, information, loss, temperatures, alerts."""

    DEFAULT_CSS = """
    Dashboard {
        & > Grid { grid-gutter: 0 1; }
        & > Grid > * { height: 1fr; display: none; }
        & > Grid > *:focus { background: $boost; }
    }
    """

    moves = True
    full: reactive[str] = reactive("", init=False)
    """The panel that has the whole stage; empty for all."""

    def __init__(self, view: StepView, id: str | None = None) -> None:
        super().__init__(id=id)
        self._view = view
        self._charts = {name: Chart(view=view, id=f"panel-{name}") for name in ORDER if name in BY_NAME}
        self._absent: dict[str, int] = {}
        """Panels that the run shown has nothing for, with the rows of their stream when that was seen."""
        self._absent_of: dict[tuple[str, str, float], dict[str, int]] = {}
        """The same of runs shown before."""
        self._shown: tuple[str, ...] = ()
        self._expected: tuple[Size, frozenset[str]] | None = None
        """The size and the hidden panels to lay out for before there is a size."""
        self._followed = False
        """Whether the newest answer was to be about the whole run."""
        self._made = MadeOnce(_data_of)

    def compose(self) -> ComposeResult:
        """All panels, of which some are shown."""
        with PlainGrid():
            for name in ORDER:
                if name == "alerts":
                    yield AlertTable(id="panel-alerts")
                elif name == "temperature":
                    yield LayerPanel(self._view, id="panel-temperature")
                else:
                    yield self._charts[name]

    def on_mount(self) -> None:
        """Lay the panels out for the size that is expected, so that the first layout is the last."""
        if self._expected is not None:
            self._arrange()

    def on_resize(self) -> None:
        """Another size holds another number of panels."""
        self._expected = None
        self._arrange()

    def watch_full(self) -> None:
        """Arrange anew."""
        self._arrange()

    def toggle_full(self, focused: Widget | None) -> None:
        """Give a panel the whole stage, the focused or else the first one; or give it back."""
        if self.full:
            self.full = ""
            return
        holders = focused.ancestors_with_self if focused else ()
        names = [widget.id.removeprefix("panel-") for widget in holders if widget.id and widget.id.startswith("panel-")]
        self.full = names[0] if names else next(iter(self._shown), "")

    def charts(self) -> Iterable[Chart]:
        """All charts, without looking for them among everything else."""
        return self._charts.values()

    def forget_ahead(self) -> None:
        super().forget_ahead()
        self._made.clear()
        self.query_one(LayerPanel).forget_ahead()

    def put_away(self) -> None:
        super().put_away()
        self.query_one(LayerPanel).put_away()
        self.query_one(AlertTable).set_reactive(AlertTable.snapshot, None)

    @property
    def shown(self) -> tuple[str, ...]:
        """Names of the panels shown, in order."""
        return self._shown

    def _fitting(self) -> tuple[int, tuple[str, ...]]:
        """Columns of the grid, and the panels that there is room for."""
        size, hidden = self._expected or (self.size, self.look.hidden_panels)
        columns, rows = grid_shape(size.width, size.height)
        chosen = [name for name in ORDER if name not in hidden]
        wanted = [name for name in chosen if name not in self._absent] or chosen
        shown = (self.full,) if self.full else tuple(wanted[: columns * rows])
        return min(columns, len(shown)) or 1, shown

    def _arrange(self) -> None:
        columns, shown = self._fitting()
        grid = self.query_one(PlainGrid)
        grid.styles.grid_size_columns = columns
        grid.styles.grid_size_rows = -(-len(shown) // columns)
        if shown == self._shown:
            return
        self._shown = shown
        for name in ORDER:
            self.query_one(f"#panel-{name}").display = name in shown
            if name in self._charts and name not in shown:
                self._charts[name].forget_frame()
        if "temperature" not in shown:
            self.query_one(LayerPanel).put_away()
        self.post_message(self.Asks())
        self._update(shown)

    def ask(self, query: Query) -> Query:
        """The columns of the panels shown. Over part of a run, whose buckets stay, as many points as a chart shows."""
        if query.steps is not None:
            # All are as wide, but for a cell.
            dots = next((self._charts[name].columns for name in self._shown if name in self._charts), 0)
            query = replace(query, columns=min(query.columns, max(POINTS_FOR_A_DOT * dots, 64)))
        return replace(query, fields=_fields((*self._shown, *self._due())))

    def ask_first(self, query: Query, size: Size, look: Look) -> Query | None:
        """The columns of the panels that a dashboard of that size holds, and that it will begin with."""
        self._expected = size, look.hidden_panels
        _, shown = self._fitting()
        return replace(query, fields=_fields(shown))

    def watch_snapshots(self, old: tuple[RunSnapshot, ...], _new: tuple[RunSnapshot, ...]) -> None:
        """Draw what is new, which need not be all at once where a run goes on."""
        followed, self._followed = self._followed, self._view.x_range is None
        if self.snapshot is not None:
            self._look_for_absent(self.snapshot)
        goes_on = followed and self._followed and self._goes_on(old[0] if old else None)
        self._update(self._shown, goes_on=goes_on)

    def _look_for_absent(self, snapshot: RunSnapshot) -> None:
        """Leave out panels that this run has nothing for, until it has."""
        # One begun anew under the name of another is another.
        run = snapshot.path, snapshot.header.run_id, snapshot.header.created
        known = dict(self._absent_of.pop(run, {}))
        for panel in PANELS:
            nothing = absent(panel, snapshot)
            if nothing:
                known[panel.name] = snapshot.lengths[panel.stream]
            elif nothing is not None:
                known.pop(panel.name, None)
        changed = known.keys() != self._absent.keys()
        self._absent = self._absent_of[run] = known
        while len(self._absent_of) > RUNS_KNOWN:
            del self._absent_of[next(iter(self._absent_of))]
        if changed:
            self._arrange()
        elif self._due():
            self.post_message(self.Asks())

    def _due(self) -> tuple[str, ...]:
        """Panels without data whose stream has got twice as many rows since that was seen: they may have some now.

        Or fewer: then rows were dropped to continue the run.
        """
        if self.snapshot is None or self._view.x_range is not None:
            return ()
        lengths = self.snapshot.lengths
        now = {name: (rows, lengths[BY_NAME[name].stream]) for name, rows in self._absent.items()}
        return tuple(name for name, (before, rows) in now.items() if rows > 2 * before or rows < before)

    def _goes_on(self, before: RunSnapshot | None) -> bool:
        """Whether a live run is looked at in the same way as before."""
        snapshot = self.snapshot
        return (
            before is not None
            and snapshot is not None
            and snapshot.summary.live
            and (before.path, before.smoothing, before.at) == (snapshot.path, snapshot.smoothing, snapshot.at)
        )

    def watch_look(self, old: Look, look: Look) -> None:
        """Draw in another way."""
        if old.hidden_panels != look.hidden_panels:
            self._arrange()
        for chart in self._charts.values():
            chart.mode = look.mode
            chart.scale = look.scale_of()
        self.query_one(LayerPanel).look = look
        if old.snoozed != look.snoozed:
            self._update(self._shown)

    def draw_ahead(self, snapshot: RunSnapshot, steps: tuple[float, float] | None) -> Iterator[None]:
        """Draw the panels shown."""
        names = self._shown
        pairs = list(zip(self._charts_of(names), self._made.of(snapshot, names), strict=True))
        for first in range(0, len(pairs), CHARTS_AT_ONCE):
            draw_ahead(pairs[first : first + CHARTS_AT_ONCE], self._view, steps)
            yield
        if "temperature" in names:
            self.query_one(LayerPanel).draw_ahead(snapshot, steps)

    def _charts_of(self, names: tuple[str, ...]) -> list[Chart]:
        return [self._charts[name] for name in names if name in BY_NAME]

    def _update(self, names: tuple[str, ...], *, goes_on: bool = False) -> None:
        snapshot = self.snapshot
        charts = self._charts_of(names)
        data = [None] * len(charts) if snapshot is None else self._made.of(snapshot, names)
        self._made.clear()
        update_charts(zip(charts, data, strict=True), goes_on=goes_on)
        if "temperature" in names:
            self.query_one(LayerPanel).snapshot = snapshot
        if "alerts" in names:
            self.query_one(AlertTable).snapshot = snapshot
        if snapshot is not None:
            self.query_one(AlertTable).snoozed = self.look.snoozed_in(snapshot.path)


def _data_of(snapshot: RunSnapshot, names: tuple[str, ...]) -> list[ChartData]:
    return charts_of([BY_NAME[name] for name in names if name in BY_NAME], snapshot)


def _fields(shown: tuple[str, ...]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    fields = fields_of(tuple(BY_NAME[name] for name in shown if name in BY_NAME))
    return merge_fields(fields, LayerPanel.FIELDS) if "temperature" in shown else fields


def merge_fields(
    left: tuple[tuple[str, tuple[str, ...]], ...], right: tuple[tuple[str, tuple[str, ...]], ...]
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Two field selections of a query as one."""
    merged: dict[str, dict[str, None]] = {}
    for stream, names in (*left, *right):
        merged.setdefault(stream, {}).update(dict.fromkeys(names))
    return tuple((stream, tuple(names)) for stream, names in merged.items())
