"""A table that sends only the lines that changed: a list of runs must cost nothing while it stands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widget import Widget

from thermotui.analysis.format import printable
from thermotui.tui.charts.numbers import to_ascii
from thermotui.tui.widgets.columns import Cell, Column, Row, cut_text, widths_of


def plain_text(widget: Widget) -> Callable[[str], str]:
    """What makes text fit for the widget's screen: control characters escaped, ASCII where that is wanted."""
    if widget.screen.has_class("-ascii"):
        return lambda text: to_ascii(printable(text))
    return printable


class Table(ScrollView, can_focus=True):
    """Rows of cells with a cursor. Control characters in any cell are shown escaped."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", show=False),
        Binding("down,j", "move(1)", show=False),
        Binding("pageup", "page(-1)", show=False),
        Binding("pagedown", "page(1)", show=False),
        Binding("home", "edge(0)", show=False),
        Binding("end", "edge(-1)", show=False),
        Binding("enter", "choose", show=False),
    ]
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "table--header",
        "table--cursor",
        *(f"table--{role}" for role in ("plain", "muted", "good", "minor", "warning", "critical", "accent")),
    }
    DEFAULT_CSS = """
    Table {
        scrollbar-size-vertical: 1; scrollbar-size-horizontal: 0; overflow-x: hidden; overflow-y: auto;
        & > .table--header { color: $text-muted; text-style: bold; }
        scrollbar-color: $panel; scrollbar-background: $background; scrollbar-background-hover: $background;
        & > .table--cursor { text-style: bold; }
        &:focus > .table--cursor { color: $block-cursor-foreground; background: $block-cursor-background; }
        & > .table--muted { color: $text-muted; }
        & > .table--good { color: $success; }
        & > .table--minor { color: $secondary; }
        & > .table--warning { color: $warning; }
        & > .table--critical { color: $error; text-style: bold; }
        & > .table--accent { color: $accent; }
    }
    """

    rows: reactive[tuple[Row, ...]] = reactive((), repaint=False)
    cursor: reactive[str] = reactive("", repaint=False)

    class Moved(Message):
        """The user moved the cursor to another row."""

        def __init__(self, table: Table, key: str) -> None:
            super().__init__()
            self.table, self.key = table, key

        @property
        def control(self) -> Table:
            """The table, for `@on` selectors."""
            return self.table

    class Chosen(Moved):
        """Enter, or a click on the row under the cursor."""

    def __init__(
        self,
        columns: tuple[Column, ...],
        *,
        header: bool = True,
        empty: str = "",
        can_focus: bool | None = None,
        id: str | None = None,
    ) -> None:
        super().__init__(id=id, can_focus=can_focus)
        self._columns = columns
        self._header = header
        self._empty = empty
        self._natural = [0] * len(columns)
        self._measured_in_ascii = False
        self._own_style: Style | None = None

    def notify_style_update(self) -> None:
        """The styles are others."""
        super().notify_style_update()
        self._own_style = None

    @property
    def own_style(self) -> Style:
        """That of the table, which Textual works out anew from all that it stands in whenever it is asked."""
        if self._own_style is None:
            self._own_style = self.rich_style
        return self._own_style

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns."""
        return self._columns

    def show(self, columns: tuple[Column, ...], rows: tuple[Row, ...]) -> None:
        """Show rows in these columns; all is painted anew only where the columns are others."""
        if columns != self._columns:
            self._columns = columns
            self._natural = [0] * len(columns)
            self.set_reactive(Table.rows, ())
        self.rows = rows

    def _measure(self, least: Sequence[int]) -> list[int]:
        """Width of the widest cell of each column that fits its cells, its title among them, and never below `least`:

        the columns of a live table would tremble with the digits of its numbers.
        """
        self._measured_in_ascii, plain = self.screen.has_class("-ascii"), plain_text(self)
        return [
            max(
                known,
                *(cell_len(plain(text)) for text in (column.title, *(row.cells[index].text for row in self.rows))),
            )
            if column.fit
            else 0
            for index, (column, known) in enumerate(zip(self._columns, least, strict=True))
        ]

    @property
    def cursor_index(self) -> int:
        """The index of the row under the cursor; −1 where there is none."""
        return next((index for index, row in enumerate(self.rows) if row.key == self.cursor), -1)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """As high as its rows, where the height is automatic."""
        return max(1, len(self.rows)) + self._header

    def watch_rows(self, old: tuple[Row, ...], new: tuple[Row, ...]) -> None:
        """Repaint the lines that changed, and no other."""
        self.virtual_size = Size(self.size.width, len(new) + self._header)
        choices = [row.key for row in new if not row.heading]
        if self.cursor not in choices:
            self.cursor = choices[0] if choices else ""
        same = {row.key for row in old} & {row.key for row in new}
        before, self._natural = self._natural, self._measure(self._natural if same else [0] * len(self._columns))
        if not new or not old or (len(new) != len(old) and self.styles.height and self.styles.height.is_auto):
            self.refresh(layout=True)
            return
        if self._natural != before:
            self.refresh()
            return
        for index in range(max(len(old), len(new))):
            earlier, later = (rows[index] if index < len(rows) else None for rows in (old, new))
            if earlier != later:
                self._refresh_row(index)

    def watch_cursor(self, old: str, new: str) -> None:
        """Repaint the two lines between which the cursor moved."""
        for index, row in enumerate(self.rows):
            if row.key in (old, new):
                self._refresh_row(index)
        index = self.cursor_index
        if index >= 0:
            self._reveal(index)

    def _move_to(self, key: str) -> None:
        """Move the cursor as the user asked. Only this is told: a cursor that is set must not answer back."""
        if key != self.cursor:
            self.cursor = key
            self.post_message(self.Moved(self, key))

    def _refresh_row(self, index: int) -> None:
        y = index + self._header - self.scroll_offset.y
        if self._header <= y < self.size.height:
            self.refresh(Region(0, y, self.size.width, 1))

    def _reveal(self, index: int) -> None:
        visible = max(1, self.size.height - self._header)
        top = self.scroll_offset.y
        if index < top:
            self.scroll_to(y=index, animate=False)
        elif index >= top + visible:
            self.scroll_to(y=index - visible + 1, animate=False)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Repaint all lines: they all moved."""
        super().watch_scroll_y(old_value, new_value)
        self.refresh()

    def action_move(self, by: int) -> None:
        """Move the cursor by so many rows."""
        choices = [row.key for row in self.rows if not row.heading]
        if choices:
            index = choices.index(self.cursor) if self.cursor in choices else 0
            self._move_to(choices[min(max(index + by, 0), len(choices) - 1)])

    def action_page(self, by: int) -> None:
        """Move the cursor by a page."""
        self.action_move(by * max(1, self.size.height - self._header - 1))

    def action_edge(self, index: int) -> None:
        """Move the cursor to the first (0) or last (−1) row."""
        choices = [row.key for row in self.rows if not row.heading]
        if choices:
            self._move_to(choices[index])

    def action_choose(self) -> None:
        """Say that the row under the cursor was chosen."""
        if self.cursor:
            self.post_message(self.Chosen(self, self.cursor))

    def on_click(self, event: events.Click) -> None:
        """Move the cursor to the row; choose it where the cursor is there already."""
        index = event.y - self._header + self.scroll_offset.y
        if event.y < self._header or not 0 <= index < len(self.rows) or self.rows[index].heading:
            return
        if self.rows[index].key == self.cursor:
            self.action_choose()
        else:
            self._move_to(self.rows[index].key)

    def render_line(self, y: int) -> Strip:
        """One line: the header, a row, or nothing."""
        width = self.scrollable_content_region.width
        if y < self._header:
            cells = tuple(Cell(column.title) for column in self._columns)
            return self._strip(cells, width, "table--header")
        if not self.rows:
            text = self._empty if y == self._header else ""
            return self._strip_of([(text, "table--muted")], width, False)
        index = y - self._header + self.scroll_offset.y
        if index >= len(self.rows):
            return Strip.blank(width, self.own_style)
        row = self.rows[index]
        return self._strip(row.cells, width, "", row.key == self.cursor)

    def _strip(self, cells: tuple[Cell, ...], width: int, component: str, cursor: bool = False) -> Strip:
        parts, plain = [], plain_text(self)
        if self._measured_in_ascii != self.screen.has_class("-ascii"):
            self._natural = self._measure([0] * len(self._columns))
        sizes = widths_of(self._columns, self._natural, width)
        for cell, column, size in zip(cells, self._columns, sizes, strict=True):
            if not size:
                continue
            text = cut_text(plain(cell.text), size, column.cut, plain("…"))
            padding = " " * (size - cell_len(text))
            text = padding + text if column.align == "right" else text + padding
            parts += [(text, component or f"table--{cell.role}"), (" ", component or "table--plain")]
        return self._strip_of(parts[:-1], width, cursor)

    def _strip_of(self, parts: list[tuple[str, str]], width: int, cursor: bool) -> Strip:
        marked = self.get_component_rich_style("table--cursor") if cursor else None
        segments = []
        for text, component in parts:
            style = marked or self.get_component_rich_style(component)
            segments.append(Segment(text, style))
        return Strip(segments).adjust_cell_length(width, marked or self.own_style)
