"""What the screen remembers of a workspace: which panels, which order, what was acknowledged."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from thermotui.errors import InputError


class Session(NamedTuple):
    """How a workspace was last looked at. acknowledged: "path\\talert key" of each acknowledged alert."""

    view: str = "dashboard"
    theme: str = ""
    order: str = "state"
    grouping: str = "none"
    runs_shown: bool = True
    hidden_panels: tuple[str, ...] = ()
    acknowledged: tuple[str, ...] = ()


def session_file(paths: Sequence[Path]) -> Path:
    """Where the session of a workspace is kept: under XDG_STATE_HOME, by a hash of its paths."""
    home = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    places = "\n".join(sorted(str(path.resolve()) for path in paths))
    return home / "thermotui" / f"{hashlib.sha256(places.encode()).hexdigest()[:16]}.json"


def load_session(file: Path) -> Session:
    """The session kept in `file`; a fresh one where there is none. InputError where the file holds something else."""
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        lists = {"hidden_panels", "acknowledged"}
        taken: dict[str, Any] = {
            name: tuple(map(str, value)) if name in lists else value for name, value in values.items()
        }
        session = Session(**taken)
        if any(type(value) is not type(default) for value, default in zip(session, Session(), strict=True)):
            raise TypeError("a value of another type")
        return session
    except FileNotFoundError:
        return Session()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{file}: is not a saved view of this version ({error}); delete it") from error


def save_session(file: Path, session: Session) -> None:
    """Write the session, or leave the old one. Raises OSError where that is not possible."""
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_suffix(f".{os.getpid()}.tmp")
    fresh.write_text(json.dumps(session._asdict(), indent=1), encoding="utf-8")
    fresh.replace(file)
