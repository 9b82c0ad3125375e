"""Directories of run logs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from thermotui.runlog.errors import RunLogError


def find_logs(paths: Sequence[Path]) -> list[Path]:
    """The files among `paths` as given and every *.h5 below the directories among them, by name, without repeats.

    Hidden names are left out: such files are logs in the making, such directories (.venv, .git) are not looked through.
    RunLogError for a path that does not exist.
    """
    found: dict[Path, None] = {}
    for path in map(Path, paths):
        if path.is_dir():
            found.update(dict.fromkeys(sorted(_below(path))))
        elif path.exists():
            found[path] = None
        else:
            raise RunLogError(path, "no such file or directory")
    return list(found)


def _below(directory: Path) -> Iterator[Path]:
    for folder, inner, names in os.walk(directory):
        inner[:] = [name for name in inner if not name.startswith(".")]
        logs = (Path(folder, name) for name in names if name.endswith(".h5") and not name.startswith("."))
        yield from (log for log in logs if log.is_file())
