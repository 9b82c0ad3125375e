"""Streams as one NPZ archive of `stream.field` arrays, for numpy.load; written column by column in bounded memory."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from thermotui.runlog.exchange.selection import Selection


def write_npz(selections: Sequence[Selection], path: Path) -> None:
    """Arrays keep their axes: `reservoir.temperature` is [rows, layers]. Uncompressed, so that it can be mapped."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for selection in selections:
            rows = sum(len(block) for block in replace(selection, fields=("step",)).blocks())
            for field in selection.fields:
                _write_array(archive, selection, field, rows)


def _write_array(archive: zipfile.ZipFile, selection: Selection, field: str, rows: int) -> None:
    dtype = selection.reader.dtype(selection.stream)[field]
    with archive.open(f"{selection.stream}.{field}.npy", "w", force_zip64=True) as member:
        header = {"descr": np.lib.format.dtype_to_descr(dtype.base), "fortran_order": False}
        np.lib.format.write_array_header_1_0(member, {**header, "shape": (rows, *dtype.shape)})
        left = rows
        for block in replace(selection, fields=(field,)).blocks():
            part = np.ascontiguousarray(block[field][:left])
            member.write(part.tobytes())
            left -= len(part)
