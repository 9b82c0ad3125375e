"""The line above the views, which says what is looked at, and the line below, which says where and how."""

from __future__ import annotations

import math

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from textual.reactive import reactive
from textual.strip import Strip

from thermotui.analysis.snapshot import RunSnapshot
from thermotui.tui.charts.cells import CellWidget
from thermotui.tui.charts.frame import Frame, blank
from thermotui.tui.widgets.run_list import short_count
from thermotui.tui.widgets.table import plain_text

VARIES = {"seed": "by seed: I(X;Θ|B)", "data": "by data and seed: I(X;Θ)"}
MARGINALS = {"ensemble": "marginal: ensemble", "window": "marginal: its own past", "none": "no marginal"}


class Line(CellWidget):
    """One line of text: as many parts as fit, the first ones first; control characters escaped.

    Painted together with the charts, so that what a key changes goes out in one piece.
    """

    DEFAULT_CSS = "Line { height: 1; }"

    parts: reactive[tuple[str, ...]] = reactive((), repaint=False)
    right: reactive[str] = reactive("", repaint=False)

    def watch_parts(self) -> None:
        self.redraw()

    def watch_right(self) -> None:
        self.redraw()

    def redraw(self) -> None:
        """Paint the line; one with characters of another width than a cell is left to Textual."""
        if not self.drawable:
            return
        if all(cell_len(character) == 1 for character in set(self.text())):
            self._frame = None
            super().redraw()
        else:
            self.refresh()

    def draw_frame(self, width: int, height: int) -> Frame:
        """The text in the first row."""
        frame = blank(height, width)
        frame.write(0, 0, self.text())
        return frame

    def render_line(self, y: int) -> Strip:
        """The text in the first row."""
        width = self.size.width
        if y > 0:
            return Strip.blank(width, self._style(0, 0))
        return Strip([Segment(self.text(), self._style(0, 0))]).adjust_cell_length(width)

    def _rows(self, first: int, stop: int, width: int) -> list[Strip]:
        return [self.render_line(y) for y in range(first, stop)]

    def text(self) -> str:
        """Left parts joined by two blanks, the right part at the right edge."""
        width = self.size.width
        plain = plain_text(self)
        right = plain(self.right)
        room = width - (cell_len(right) + 2 if right else 0)
        text = ""
        for part in self.parts:
            longer = f"{text}  {plain(part)}" if text else plain(part)
            if cell_len(longer) > room:
                # The first part says what it is about: rather cut than left out.
                text = text or set_cell_size(longer, max(0, room - 1)) + plain("…")
                break
            text = longer
        gap = width - cell_len(text) - cell_len(right)
        return text + " " * max(0, gap) + right


class HeaderLine(Line):
    """What the selected run is: family, members and what varies among them, stride, kind of marginal."""

    DEFAULT_CSS = "HeaderLine { background: $panel; color: $foreground; text-style: bold; }"

    def show(self, snapshot: RunSnapshot | None, problem: str = "") -> None:
        """Show a run's header; `problem` instead where it cannot be read."""
        if snapshot is None:
            self.parts = ("thermotui", problem) if problem else ("thermotui",)
            self.right = ""
            return
        header, summary = snapshot.header, snapshot.summary
        ensemble = f"K={header.ensemble} {VARIES[header.ensemble_varies]}" if header.ensemble > 1 else "K=1"
        # A log of another tool has no transitions that these would belong to.
        physics = (f"stride {header.stride}", ensemble, MARGINALS[header.marginal])
        rank = f"rank {header.rank}/{header.world_size}" if header.world_size > 1 else ""
        parts = (
            summary.name,
            header.family,
            *(physics if snapshot.lengths["thermo"] or header.ensemble > 1 else ()),
            f"batch {header.batch_size}" if header.batch_size else "",
            rank,
        )
        self.parts = tuple(part for part in parts if part)
        steps = short_count(summary.step) + (f"/{short_count(summary.steps)}" if summary.steps else "")
        rate = "" if math.isnan(summary.rate) or not summary.live else f" {summary.rate:.3g}/s"
        self.right = f"{summary.state} {steps}{rate}"
