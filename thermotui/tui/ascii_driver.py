"""A driver for terminals that have nothing but ASCII: whatever a widget draws, no other byte is sent."""

from __future__ import annotations

from textual.driver import Driver

_SIGNS = {
    "▁▂▃▄▅": "_", "▆▇█": "#", "▔▀": "-", "▕▏│┃▌▐": "|", "─━═": "-", "╭╮╰╯┌┐└┘├┤┬┴┼": "+", "…": "~", "−–": "-",
    "·": ".", "✓": "x", "●": "o", "▲": "^", "▶": ">", "△▽": "^", "Σ": "S", "Θθ": "T", "η": "n", "μ": "u", "×": "x",
}  # fmt: skip
_TABLE = {ord(character): sign for characters, sign in _SIGNS.items() for character in characters}


def in_ascii(text: str) -> str:
    """The text with every other character replaced by one in ASCII, so that no cell moves."""
    return text.translate(_TABLE).encode("ascii", "replace").decode("ascii")


def ascii_driver(base: type[Driver]) -> type[Driver]:
    """A driver class like `base` that sends ASCII only."""

    def write(self: Driver, data: str) -> None:
        base.write(self, data if data.isascii() else in_ascii(data))

    return type("AsciiDriver", (base,), {"write": write})
