"""Directories of run logs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from thermotui.runlog.errors import RunLogError


def find_logs(paths: Sequence[Path]) -> list[Path]:
    """The files among `paths` as given and every *.h5 below the directories among them, by name, without repeats.

    Hidden names are left out: they are logs in the making. RunLogError for a path that does not exist.
    """
    found: dict[Path, None] = {}
    for path in map(Path, paths):
        if path.is_dir():
            logs = (log for log in sorted(path.rglob("*.h5")) if not log.name.startswith(".") and log.is_file())
            found.update(dict.fromkeys(logs))
        elif path.exists():
            found[path] = None
        else:
            raise RunLogError(path, "no such file or directory")
    return list(found)
