"""What the keys do to charts, panels and alerts: the part of the main screen that knows nothing of the list of runs."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from textual.reactive import reactive
from textual.screen import Screen

from thermotui.analysis.format import printable, words_of
from thermotui.analysis.snapshot import RunSnapshot
from thermotui.detect.alert import Alert
from thermotui.errors import InputError
from thermotui.tui.attention import SNOOZE_MINUTES, acknowledgement, alert_key, snooze
from thermotui.tui.charts.chart import Chart
from thermotui.tui.charts.layers import LayerRows
from thermotui.tui.charts.raster import MODES
from thermotui.tui.charts.view import StepView, widened
from thermotui.tui.stage import Stage
from thermotui.tui.views.view import SCALE_CHOICES, Look
from thermotui.tui.widgets.backdrop import Backdrop
from thermotui.tui.widgets.table import Table

ZOOM = 2.0
PAN = 0.25
CURSOR_CELLS = 2
SMOOTHINGS = (0, 16, 128, 1024)
"""Half-lives in rows to choose from."""


class ChartScreen(Screen[None], Backdrop):
    """Actions on what the stage shows. All charts share `steps`, so that their x axes and cursors are linked."""

    look: reactive[Look] = reactive(Look(), init=False)

    def __init__(self, view: str, save_to: Path) -> None:
        """view: the name of the one shown first. save_to: the directory that views are written to."""
        super().__init__()
        self.steps = StepView()
        self.stage = Stage(self.steps, view, id="stage")
        self._moved: tuple[str, int] = "pan", 1
        """The last move along the steps, by keys."""
        self.save_to = save_to

    def chart(self) -> Chart | None:
        """The chart that keys move: the focused one, or else the first shown with data."""
        if isinstance(self.focused, Chart):
            return self.focused
        shown = (chart for chart in self.stage.view.charts() if chart.display and chart.data is not None)
        return next(shown, None)

    def action_pan(self, direction: int) -> None:
        """Move all charts by a quarter of what they show; in the log browser, by a column."""
        from thermotui.tui.views.log_browser import LogBrowser

        view = self.stage.view
        if isinstance(view, LogBrowser):
            view.columns(direction)
        elif chart := self.chart():
            self._moved = "pan", direction
            chart.pan_x(direction * PAN)

    def action_zoom(self, direction: int) -> None:
        """Zoom all charts about the cursor, or about their middle."""
        if chart := self.chart():
            self._moved = "zoom", direction
            chart.zoom_x(ZOOM if direction > 0 else 1 / ZOOM)

    def next_ranges(self) -> tuple[tuple[float, float] | None, ...]:
        """The steps that the next key may ask for, the likeliest first: the last move once more, then the others."""
        chart = self.chart()
        if chart is None:
            return ()
        moves = dict.fromkeys((self._moved, ("pan", 1), ("pan", -1), ("zoom", 1), ("zoom", -1)))
        ranges = []
        for kind, direction in moves:
            if kind == "zoom":
                ranges.append(widened(chart.zoomed(ZOOM if direction > 0 else 1 / ZOOM)))
            elif (moved := chart.panned(direction * PAN)) is not None:
                ranges.append(widened(moved))
        return tuple(each for each in dict.fromkeys(ranges) if each != self.steps.x_range)

    def action_zoom_values(self, direction: int) -> None:
        """Zoom the value axis of one chart."""
        if chart := self.chart():
            chart.zoom_y(ZOOM if direction > 0 else 1 / ZOOM)

    def action_pan_values(self, direction: int) -> None:
        """Move the value axis of one chart."""
        if chart := self.chart():
            chart.pan_y(direction * PAN)

    def action_zoom_all(self) -> None:
        """The whole run and all values on every chart."""
        self.steps.show(None)
        for chart in self.stage.view.charts():
            chart.set_y_range(None)

    def action_follow_latest(self) -> None:
        """Keep the last eighth of the run in sight, and move with it."""
        chart = self.chart()
        if chart is not None and chart.data is not None:
            first, last = chart.data.extent()
            self.steps.follow(max((last - first) / 8, 1.0))

    def action_cursor(self, direction: int) -> None:
        """Move the cursor of all charts."""
        if chart := self.chart():
            chart.move_cursor(direction * CURSOR_CELLS)

    def action_cursor_off(self) -> None:
        """Put a cursor on the charts, or take it away."""
        if self.steps.cursor is not None:
            self.steps.point(None)
        elif chart := self.chart():
            chart.move_cursor(-1)

    def action_scale(self) -> None:
        """Each quantity in its own scale, or all linear, logarithmic, symmetric logarithmic."""
        at = SCALE_CHOICES.index(self.look.scale)
        self.look = replace(self.look, scale=SCALE_CHOICES[(at + 1) % len(SCALE_CHOICES)])

    def action_smooth(self) -> None:
        """The next half-life of the smoothing."""
        at = SMOOTHINGS.index(self.look.smoothing) if self.look.smoothing in SMOOTHINGS else 0
        self.look = replace(self.look, smoothing=SMOOTHINGS[(at + 1) % len(SMOOTHINGS)])

    def action_align(self) -> None:
        """Compare by step or by time."""
        self.look = replace(self.look, align="time" if self.look.align == "step" else "step")

    def action_glyphs(self) -> None:
        """Braille, blocks, ASCII."""
        self.look = replace(self.look, mode=MODES[(MODES.index(self.look.mode) + 1) % len(MODES)])

    def action_full_screen(self) -> None:
        """The focused panel, or the first, on the whole stage; and back."""
        from thermotui.tui.views.dashboard import Dashboard

        view = self.stage.view
        if isinstance(view, Dashboard):
            view.toggle_full(self.focused)

    def action_choose_panels(self) -> None:
        """Switch panels on and off."""
        from thermotui.tui.dialogs.panel_chooser import PanelChooser

        def hide(hidden: frozenset[str] | None) -> None:
            if hidden is not None:
                self.look = replace(self.look, hidden_panels=hidden)

        self.app.push_screen(PanelChooser(self.look.hidden_panels), hide)

    def action_save(self) -> None:
        """Write the view as SVG, text and JSON."""
        from thermotui.tui.take_away import save_view

        # Textual has no public way to the text of a screen.
        text = "\n".join(strip.text.rstrip() for strip in self._compositor.render_strips())
        try:
            files = save_view(
                self.save_to, self.stage.name_shown, self.app.export_screenshot(), text, self.stage.snapshots
            )
        except InputError as error:
            self.notify(printable(str(error)), severity="error", markup=False)
            return
        self.notify(printable(f"saved {files[0].with_suffix('')}.svg, .txt, .json"), markup=False)

    def action_copy(self) -> None:
        """Copy the values of the chart at the cursor to the clipboard, through the terminal."""
        from thermotui.tui.take_away import values_line

        chart = self.chart()
        line = values_line(chart) if chart else ""
        if line:
            self.app.copy_to_clipboard(line)
        self.notify(f"copied: {line}" if line else "there is no chart to copy from", timeout=3, markup=False)

    def action_quantity(self) -> None:
        """The next quantity of the layers view."""
        from thermotui.tui.views.layers import LayersView

        if isinstance(self.stage.view, LayersView):
            self.stage.view.next_quantity()

    def action_move_layer(self, by: int) -> None:
        """Another layer in the layers view."""
        for rows in self.stage.view.walk_children():
            if isinstance(rows, LayerRows):
                rows.selected += by

    def action_page_rows(self, by: int) -> None:
        """Earlier or later rows in the log view."""
        from thermotui.tui.views.log_browser import LogBrowser

        if isinstance(self.stage.view, LogBrowser):
            self.stage.view.page(by)

    def alerts(self) -> tuple[Alert, ...]:
        """The alerts of the selected run, by step."""
        snapshots = self.stage.snapshots
        return tuple(sorted(snapshots[0].alerts, key=lambda alert: alert.start)) if snapshots else ()

    def action_jump_alert(self, direction: int) -> None:
        """The next or previous alert after what the charts show now."""
        alerts = self.alerts()
        if not alerts:
            self.notify("this run has no alerts", timeout=2)
            return
        at = self.steps.cursor
        if at is None:
            chosen = alerts[0] if direction > 0 else alerts[-1]
        elif direction > 0:
            chosen = next((alert for alert in alerts if alert.start > at), alerts[0])
        else:
            chosen = next((alert for alert in reversed(alerts) if alert.start < at), alerts[-1])
        self.show_alert(chosen)

    def show_alert(self, alert: Alert) -> None:
        """Have all charts show the interval of an alert with as much on either side, the cursor on its first step."""
        last = max(self.stage.snapshots[0].summary.step, alert.start + 1)
        end = last if alert.end is None else alert.end
        margin = max(float(end - alert.start), 0.01 * last, 8.0)
        self.steps.show((max(0.0, alert.start - margin), min(float(last), end + margin) + 1))
        self.steps.point(float(alert.start))

    def action_acknowledge(self) -> None:
        """Mark the alert under the cursor of the alerts view as seen, or take the mark back."""
        found = self._alert_under_cursor()
        if found is not None:
            snapshot, alert = found
            changed = {acknowledgement(snapshot.path, alert)}
            self.look = replace(self.look, acknowledged=self.look.acknowledged ^ changed)

    def action_snooze(self) -> None:
        """Hide the alert under the cursor of the alerts view for a while, or show it again."""
        found = self._alert_under_cursor()
        if found is None:
            return
        snapshot, alert = found
        others = tuple(each for each in self.look.snoozed if (each.path, each.key) != (snapshot.path, alert_key(alert)))
        if len(others) == len(self.look.snoozed):
            others = (*others, snooze(snapshot.path, alert, snapshot.alerts, time.time()))
            kind = printable(words_of(alert.kind))
            self.notify(f"snoozed for {SNOOZE_MINUTES} min or until the next {kind}", timeout=3, markup=False)
        self.look = replace(self.look, snoozed=others)

    def _alert_under_cursor(self) -> tuple[RunSnapshot, Alert] | None:
        from thermotui.tui.views.alerts import AlertsView

        view = self.stage.view
        if not isinstance(view, AlertsView):
            self.notify("alerts are acknowledged and snoozed in the alerts view (5)", timeout=2)
            return None
        alert = view.current()
        return None if alert is None or view.snapshot is None else (view.snapshot, alert)

    def action_filter_alerts(self) -> None:
        """The next filter of the alerts view."""
        from thermotui.tui.views.alerts import AlertsView

        if isinstance(self.stage.view, AlertsView):
            self.stage.view.next_choice()

    async def on_table_chosen(self, message: Table.Chosen) -> None:
        """Enter on an alert: all charts jump to its interval."""
        if message.table.id in ("alerts", "panel-alerts"):
            alert = next((alert for alert in self.alerts() if alert_key(alert) == message.key), None)
            if alert is not None:
                self.show_alert(alert)
