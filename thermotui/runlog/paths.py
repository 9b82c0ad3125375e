"""What lies at a path; one sentence where the system does not let one look."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Literal

from thermotui.runlog.errors import RunLogError

Purpose = Literal["read", "written"]


def is_there(path: Path, to_be: Purpose = "read") -> bool:
    """Whether anything lies at `path`; RunLogError where that cannot be seen, below a directory that is closed, say."""
    return _status(path, to_be) is not None


def is_directory(path: Path) -> bool:
    """Whether a directory lies at `path`; RunLogError as `is_there`."""
    status = _status(path, "read")
    return status is not None and stat.S_ISDIR(status.st_mode)


def is_plain_file(path: Path) -> bool:
    """Whether a regular file lies at `path`; RunLogError as `is_there`."""
    status = _status(path, "read")
    return status is not None and stat.S_ISREG(status.st_mode)


def unreadable(path: Path, error: OSError) -> RunLogError:
    """What to raise for `path` where the system has refused to read it."""
    return RunLogError(path, f"cannot be read ({error.strerror or error})")


def _status(path: Path, to_be: Purpose) -> os.stat_result | None:
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if to_be == "read":
            raise unreadable(path, error) from error
        raise RunLogError(path, f"cannot be written ({error.strerror}); choose another place") from error
