"""Reads files as the commands do, for the fuzz tests: `python reading.py SCRATCH` takes one path a line on standard
input and answers each with one line: what went wrong as an input error, or "sound".

Anything else, a traceback, a crash, a hang or much memory, is for the parent to see.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

from thermotui.analysis.inspection import inspect_run
from thermotui.analysis.scanning import scan_file
from thermotui.errors import InputError
from thermotui.runlog import overview
from thermotui.runlog.exchange.csv_table import write_csv
from thermotui.runlog.exchange.selection import select
from thermotui.runlog.reader import RunLogReader
from thermotui.runlog.repair import repair
from thermotui.runlog.schema import STREAMS
from thermotui.tui.plain_frame import plain_frame, read_once

# Rollups are read of short logs too.
overview.FEW_BYTES = 0


def read_everything(path: Path, scratch: Path) -> str:
    """Header, state, lengths, windows, step ranges, overviews of every stream; the cores of `inspect`, `scan`, `export`
    and `watch --once`; a repair into `scratch`.
    """
    said = "sound"
    try:
        with RunLogReader(path) as reader:
            reader.state()
            reader.refresh()
            for stream in STREAMS.values():
                try:
                    read_stream(reader, stream.name)
                except InputError as error:
                    said = str(error)
    except InputError as error:
        said = str(error)
    for command in (inspect_run, scan_file, export, watch_once):
        try:
            command(path)
        except InputError as error:
            said = str(error)
    scratch.unlink(missing_ok=True)
    try:
        repair(path, scratch)
        with RunLogReader(scratch) as reader:
            for stream in STREAMS.values():
                read_stream(reader, stream.name)
    except InputError as error:
        said = str(error)
    return said


def export(path: Path) -> None:
    with RunLogReader(path) as reader:
        for selection in select(reader, [], [], None):
            write_csv(selection, io.StringIO())


def watch_once(path: Path) -> None:
    for _ in plain_frame(read_once([path], 400), 100, "braille"):
        pass


def read_stream(reader: RunLogReader, stream: str) -> None:
    length = reader.length(stream)
    reader.read(stream, None, 0, 300)
    reader.read(stream, None, -300)
    if STREAMS[stream].ordered:
        reader.row_range(stream, 10, 100)
    if STREAMS[stream].rollups:
        reader.overview(stream, [STREAMS[stream].fields[-1].name], 0, length, 100)


def peak_megabytes() -> int:
    """Of this program alone: `ru_maxrss` would count what the parent held when it forked."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024


def main() -> None:
    scratch = Path(sys.argv[1])
    for line in sys.stdin:
        said = read_everything(Path(line.rstrip("\n")), scratch)
        print(f"{peak_megabytes()}\t{' '.join(said.split())}", flush=True)


if __name__ == "__main__":
    main()
