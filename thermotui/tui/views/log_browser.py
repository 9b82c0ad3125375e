"""The log itself: header attributes, streams, rows as they stand in the file, live."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import datetime

import numpy as np
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.reactive import reactive

from thermotui.analysis.snapshot import Query, RowsQuery, RunSnapshot
from thermotui.runlog.schema import STREAMS
from thermotui.tui.views.view import View
from thermotui.tui.widgets.columns import Cell, Column, Row
from thermotui.tui.widgets.lines import Line
from thermotui.tui.widgets.table import Table

ATTRIBUTES = "attributes"
COLUMN_WIDTH = 13


def value_text(name: str, value: object) -> str:
    """A value of a row: times of the clock, numbers to six digits, texts decoded, arrays in brackets."""
    if name == "time" and isinstance(value, float) and math.isfinite(value):
        return datetime.fromtimestamp(value).strftime("%H:%M:%S.%f")[:-3]
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, np.ndarray):
        return f"[{' '.join(value_text('', part) for part in value.ravel()[:64])}]"
    if isinstance(value, float | np.floating):
        return f"{value:.6g}"
    return str(value)


class LogBrowser(View):
    """Streams at the left, their rows at the right: the newest rows unless one scrolls up."""

    DEFAULT_CSS = """
    LogBrowser {
        layout: vertical;
        & #streams { width: 26; border-right: vkey $panel; }
        & #rows { width: 1fr; }
        & > Line { color: $text-muted; }
    }
    """

    focused_first = "#streams"
    stream: reactive[str] = reactive(ATTRIBUTES, init=False)
    start: reactive[int | None] = reactive(None, init=False)
    """The first row shown; None to follow the newest."""
    first_column: reactive[int] = reactive(0, init=False)

    def compose(self) -> ComposeResult:
        """What there is to see, and the rows of one stream."""
        yield Line()
        with Horizontal():
            yield Table((Column("stream"), Column("rows", 9, "right")), id="streams")
            yield Table((Column("attribute", 20), Column("value")), id="rows", empty="no rows", can_focus=False)

    def ask(self, query: Query) -> Query:
        """A page of rows."""
        if self.stream == ATTRIBUTES or self.snapshot is None:
            return query
        length, page = self.snapshot.lengths[self.stream], self._page()
        start = max(0, length - page) if self.start is None else self.start
        return replace(query, rows=RowsQuery(self.stream, start, page))

    def _page(self) -> int:
        return max(8, self.size.height - 3)

    def on_table_moved(self, message: Table.Moved) -> None:
        """Another stream."""
        if message.table.id == "streams" and message.key:
            self.stream = message.key

    def watch_stream(self) -> None:
        """Show the other stream from its end."""
        self.set_reactive(LogBrowser.start, None)
        self.first_column = 0
        self.post_message(self.Asks())
        self._fill()

    def watch_start(self) -> None:
        """Ask for other rows."""
        self.post_message(self.Asks())

    def watch_first_column(self) -> None:
        """Show other columns."""
        self._fill()

    def watch_snapshots(self, old: tuple[RunSnapshot, ...], new: tuple[RunSnapshot, ...]) -> None:
        """Show what is new; while the newest rows are followed, ask for them."""
        if self.start is None and new and (not old or old[0].lengths != new[0].lengths):
            self.post_message(self.Asks())
        self._fill()

    def page(self, by: int) -> None:
        """Earlier (−1) or later (1) rows; past the newest, follow them."""
        if self.snapshot is None or self.stream == ATTRIBUTES:
            return
        length, page = self.snapshot.lengths[self.stream], self._page()
        start = max(0, length - page) if self.start is None else self.start
        start = max(0, start + by * page)
        self.start = None if start + page >= length else start

    def columns(self, by: int) -> None:
        """Other columns: later (1) or earlier (−1) ones."""
        if self.stream != ATTRIBUTES:
            self.first_column = min(max(0, self.first_column + by), len(STREAMS[self.stream].fields) - 1)

    def _fill(self) -> None:
        snapshot = self.snapshot
        streams, rows = self.query_one("#streams", Table), self.query_one("#rows", Table)
        if snapshot is None:
            streams.rows = rows.rows = ()
            return
        streams.rows = (
            Row(ATTRIBUTES, (Cell(ATTRIBUTES), Cell(""))),
            *(Row(name, (Cell(name), Cell(str(length)))) for name, length in snapshot.lengths.items()),
        )
        if self.stream == ATTRIBUTES:
            attributes = snapshot.header.to_attributes()
            shown = tuple(Row(name, (Cell(name), Cell(str(value)))) for name, value in attributes.items())
            rows.show((Column("attribute", 20), Column("value")), shown)
            self.query_one(Line).parts = (snapshot.path,)
        else:
            self._fill_rows(snapshot, rows)

    def _fill_rows(self, snapshot: RunSnapshot, table: Table) -> None:
        stream = STREAMS[self.stream]
        self.query_one(Line).parts = (
            f"{stream.name}: {stream.description}",
            "< >: rows",
            "←→: columns",
        )
        if snapshot.rows is None or snapshot.rows.dtype.names != tuple(field.name for field in stream.fields):
            return
        room = max(1, (table.size.width - 10) // (COLUMN_WIDTH + 1))
        fields = stream.fields[self.first_column : self.first_column + room]
        columns = (
            Column("row", 9, "right"),
            *(
                Column(f"{each.name} [{each.unit}]" if each.unit else each.name, COLUMN_WIDTH, "right")
                for each in fields
            ),
        )
        rows = tuple(
            Row(
                str(number),
                (
                    Cell(str(number), "muted"),
                    *(
                        Cell(
                            value_text(each.name, row[each.name].item() if row[each.name].ndim == 0 else row[each.name])
                        )
                        for each in fields
                    ),
                ),
            )
            for number, row in enumerate(snapshot.rows, start=snapshot.rows_start)
        )
        table.show(columns, rows)
