"""Directories of run logs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from thermotui.runlog.errors import RunLogError
from thermotui.runlog.paths import is_directory, is_plain_file, is_there, unreadable


def find_logs(paths: Sequence[Path]) -> list[Path]:
    """The files among `paths` as given and every *.h5 below the directories among them, by name, without repeats.

    Hidden names are left out: such files are logs in the making, such directories (.venv, .git) are not looked through.
    RunLogError for a path that does not exist or may not be looked into.
    """
    found: dict[Path, None] = {}
    for path in map(Path, paths):
        if is_directory(path):
            found.update(dict.fromkeys(sorted(_below(path))))
        elif is_there(path):
            found[path] = None
        else:
            raise RunLogError(path, "no such file or directory")
    return list(found)


def _below(directory: Path) -> Iterator[Path]:
    def tell(error: OSError) -> None:
        # Of a directory that was asked for; what else lies beside one further down is still worth showing.
        if Path(error.filename) == directory:
            raise unreadable(directory, error) from error

    for folder, inner, names in os.walk(directory, onerror=tell):
        inner[:] = [name for name in inner if not name.startswith(".")]
        logs = (Path(folder, name) for name in names if name.endswith(".h5") and not name.startswith("."))
        yield from (log for log in logs if _may_be_a_log(log))


def _may_be_a_log(path: Path) -> bool:
    try:
        return is_plain_file(path)
    except RunLogError:
        # Listed all the same, so that whoever opens it says why it cannot be read.
        return True
