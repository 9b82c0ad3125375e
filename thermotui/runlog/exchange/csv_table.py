"""A stream as CSV: a header line, a line a row; what was not measured is an empty cell."""

from __future__ import annotations

import csv
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from thermotui.runlog.exchange.selection import Selection


def write_csv(selection: Selection, output: TextIO) -> None:
    """Write one stream to `output`, block by block. Floats are the shortest text that reads back the same."""
    writer = csv.writer(output, lineterminator="\n")
    columns = selection.columns()
    writer.writerow(column.name for column in columns)
    for block in selection.blocks():
        writer.writerows(zip(*(_cells(column.values(block)) for column in columns), strict=True))


def _cells(values: NDArray[np.generic]) -> list[str]:
    if values.dtype.kind == "S":
        return [text.decode("utf-8", "replace") for text in values.tolist()]
    cells = values.astype(np.str_)
    if values.dtype.kind == "f":
        cells[np.isnan(values.astype(np.float64))] = ""
    texts: list[str] = cells.tolist()
    return texts
