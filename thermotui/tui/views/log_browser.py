"""The log itself: header attributes, streams, rows as they stand in the file, live."""

from __future__ import annotations

import math
import textwrap
from dataclasses import replace
from datetime import datetime

import numpy as np
from textual.app import ComposeResult
from textual.reactive import reactive

from thermotui.analysis.format import printable
from thermotui.analysis.snapshot import Query, RowsQuery, RunSnapshot
from thermotui.runlog.schema import STREAMS, Header
from thermotui.tui.views.view import View
from thermotui.tui.widgets.backdrop import PlainHorizontal
from thermotui.tui.widgets.columns import Cell, Column, Row
from thermotui.tui.widgets.lines import Line
from thermotui.tui.widgets.table import Table

ATTRIBUTES = "attributes"
COLUMN_WIDTH = 13
NAME_WIDTH = 24
VALUE_WIDTH = 12
"""Cells that names of attributes take at most, and that their values take at least."""


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


def attribute_lines(header: Header) -> list[tuple[str, str]]:
    """The header's attributes by name, nested ones entry by entry, last the many settings of the detectors."""
    found: list[tuple[str, str]] = []
    attributes = header.to_attributes()
    for name, value in sorted(attributes.items(), key=lambda each: each[0] == "detectors"):
        if name == "layers":
            for index, layer in enumerate(header.layers):
                estimator = f", temperature {layer.estimator}" if layer.estimator else ""
                found.append((f"layers.{index}", f"{layer.name}: {layer.size:,} parameters{estimator}"))
        elif isinstance(nested := getattr(header, name, None), dict) and nested:
            found += [(f"{name}.{key}", str(entry)) for key, entry in nested.items()]
        elif isinstance(nested, tuple) and nested:
            found += [(f"{name}.{index}", str(entry)) for index, entry in enumerate(nested)]
        elif name == "created":
            when = datetime.fromtimestamp(header.created).isoformat(" ", "seconds")
            found.append((name, f"{when} ({header.created:.3f} s)"))
        else:
            found.append((name, str(value)))
    return found


def _attribute_columns(name_width: int) -> tuple[Column, ...]:
    return Column("attribute", name_width, cut="middle"), Column("value")


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
        with PlainHorizontal():
            yield Table((Column("stream"), Column("rows", 9, "right")), id="streams")
            yield Table(_attribute_columns(NAME_WIDTH), id="rows", empty="no rows")

    def on_resize(self) -> None:
        """Long values are wrapped anew, once the table has its new width."""
        self.call_after_refresh(self._fill)

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
        if not self.display:
            # A key that came before the one that left: what is known comes when the view is shown again.
            return
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
            width = rows.size.width
            name_width = max(VALUE_WIDTH, min(NAME_WIDTH, width // 2))
            shown = tuple(
                Row(f"{name}/{number}", (Cell("" if number else name), Cell(part)))
                for name, value in attribute_lines(snapshot.header)
                for number, part in enumerate(
                    textwrap.wrap(printable(value), max(VALUE_WIDTH, width - name_width - 2)) or [""]
                )
            )
            rows.show(_attribute_columns(name_width), shown)
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
        if snapshot.rows is None or set(snapshot.rows.dtype.names or ()) != {field.name for field in stream.fields}:
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
