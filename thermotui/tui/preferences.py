"""Keys and themes of one's own: one TOML file under XDG_CONFIG_HOME.

theme = "colour-blind"
[keys]
pause = "P"
pan_left = ["H", "left"]
[themes.mine]
base = "dark"
series-1 = "#ff8800"
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from thermotui.errors import InputError
from thermotui.runlog.paths import is_there, unreadable
from thermotui.tui.actions import BY_NAME, key_text, keys_of

_MODIFIERS = {"alt", "ctrl", "hyper", "meta", "shift", "super"}


@dataclass(frozen=True)
class Preferences:
    """keys: action name to a comma-separated list of keys, as Textual's keymaps have it. themes: colours by theme."""

    theme: str = ""
    keys: dict[str, str] = field(default_factory=dict)
    themes: dict[str, dict[str, str]] = field(default_factory=dict)


def preferences_file() -> Path:
    """Where the preferences are looked for."""
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return home / "thermotui" / "screen.toml"


def load_preferences(file: Path) -> Preferences:
    """The preferences in `file`; none where there is no file. InputError names the entry that is wrong."""
    if not is_there(file):
        return Preferences()
    # Most people have no such file, and the import is not free.
    import tomllib

    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: is not TOML ({error})") from error
    except OSError as error:
        raise unreadable(file, error) from error
    unknown = sorted(values.keys() - {"theme", "keys", "themes"})
    if unknown:
        raise InputError(f"{file}: unknown entry {unknown[0]!r}; there are theme, keys and themes")
    theme = values.get("theme", "")
    if not isinstance(theme, str):
        raise InputError(f"{file}: theme must be the name of a theme")
    return Preferences(theme, _keys(file, values.get("keys", {})), _themes(file, values.get("themes", {})))


def _keys(file: Path, table: Any) -> dict[str, str]:
    if not isinstance(table, dict):
        raise InputError(f"{file}: [keys] must be a table of actions and their keys")
    keys: dict[str, str] = {}
    for action, chosen in table.items():
        if action not in BY_NAME:
            raise InputError(f"{file}: [keys] {action}: there is no such action; see `?` on the screen for their names")
        listed = [chosen] if isinstance(chosen, str) else chosen
        if not isinstance(listed, list) or not listed or not all(isinstance(key, str) and key for key in listed):
            raise InputError(f"{file}: [keys] {action}: must be a key or a list of keys")
        named = {key: _key_name(key) for key in listed}
        if "" in named.values():
            missing = next(key for key, name in named.items() if not name)
            raise InputError(f"{file}: [keys] {action}: there is no key {missing!r}")
        keys[action] = ",".join(named.values())
    _check_shared(file, keys)
    return keys


def _key_name(given: str) -> str:
    """Textual's name of a key that is given by its sign or that name; empty where no terminal sends such a key."""
    from textual._keyboard_protocol import FUNCTIONAL_KEYS
    from textual.keys import KEY_NAME_REPLACEMENTS, _character_to_key, key_to_character

    *modifiers, base = [given] if len(given) == 1 else given.split("+")
    base = _character_to_key(base) if len(base) == 1 else base
    known = base in {*FUNCTIONAL_KEYS.values(), *KEY_NAME_REPLACEMENTS.values()}
    known = known or _character_to_key(key_to_character(base) or " ") == base
    # Of shift and a letter a terminal sends the capital letter.
    capital = modifiers == ["shift"] and len(base) == 1
    return "+".join([*sorted(modifiers), base]) if known and not capital and _MODIFIERS.issuperset(modifiers) else ""


def _check_shared(file: Path, own: dict[str, str]) -> None:
    """InputError where a key of one's own is that of another action too, which could not be reached any more."""
    owners: dict[str, set[str]] = {}
    for action in BY_NAME:
        for key in keys_of(action, own):
            owners.setdefault(key, set()).add(action)
    for action in own:
        for key in keys_of(action, own):
            for other in sorted(owners[key] - {action}):
                shared = f"{key_text((key,))!r} is the key of {other} too"
                raise InputError(f"{file}: [keys] {action}: {shared}; give one of them another")


def _themes(file: Path, table: Any) -> dict[str, dict[str, str]]:
    if not isinstance(table, dict):
        raise InputError(f"{file}: [themes] must be a table of themes")
    for name, colours in table.items():
        if not isinstance(colours, dict) or not all(isinstance(colour, str) for colour in colours.values()):
            raise InputError(f"{file}: [themes.{name}] must be a table of colours")
    return table
