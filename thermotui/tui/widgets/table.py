"""A table that sends only the lines that changed: a list of runs must cost nothing while it stands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
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

Role = Literal["plain", "muted", "good", "minor", "warning", "critical", "accent"]


@dataclass(frozen=True)
class Column:
    """A column: its title, its width in cells (0: what the others leave), and where its text stands.

    cut: the end of a text that is too long to give up; names of runs differ at their end.
    """

    title: str
    width: int = 0
    align: Literal["left", "right"] = "left"
    cut: Literal["left", "right"] = "right"


@dataclass(frozen=True)
class Cell:
    """Text with a role, which the theme colours."""

    text: str
    role: Role = "plain"


@dataclass(frozen=True)
class Row:
    """A row. The key keeps the cursor on the row when rows are added or ordered anew."""

    key: str
    cells: tuple[Cell, ...]
    heading: bool = False
    """Whether it only names the rows below; the cursor passes it by."""


def _cut(text: str, size: int, end: Literal["left", "right"], mark: str) -> str:
    """The text in `size` cells, with a mark where it was cut."""
    room = size - cell_len(mark)
    if room < 0:
        return " " * size
    if end == "right":
        return set_cell_size(text, room) + mark
    kept = text
    while cell_len(kept) > room:
        kept = kept[1:]
    return mark + kept


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

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns."""
        return self._columns

    def show(self, columns: tuple[Column, ...], rows: tuple[Row, ...]) -> None:
        """Show rows in these columns; all is painted anew only where the columns are others."""
        if columns != self._columns:
            self._columns = columns
            self.set_reactive(Table.rows, ())
        self.rows = rows

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
        if not new or not old or (len(new) != len(old) and self.styles.height and self.styles.height.is_auto):
            self.refresh(layout=True)
            return
        for index in range(max(len(old), len(new))):
            before, after = (rows[index] if index < len(rows) else None for rows in (old, new))
            if before != after:
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

    def _widths(self) -> list[int]:
        fixed = sum(column.width for column in self._columns) + len(self._columns) - 1
        free = [column for column in self._columns if column.width == 0]
        rest = max(0, self.scrollable_content_region.width - fixed)
        return [column.width or rest // len(free) for column in self._columns]

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
            return Strip.blank(width, self.rich_style)
        row = self.rows[index]
        return self._strip(row.cells, width, "", row.key == self.cursor)

    def _strip(self, cells: tuple[Cell, ...], width: int, component: str, cursor: bool = False) -> Strip:
        parts, plain = [], plain_text(self)
        for cell, column, size in zip(cells, self._columns, self._widths(), strict=True):
            text = plain(cell.text)
            if cell_len(text) > size:
                text = _cut(text, size, column.cut, plain("…"))
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
        return Strip(segments).adjust_cell_length(width, marked or self.rich_style)
