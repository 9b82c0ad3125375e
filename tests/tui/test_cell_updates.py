"""Reduced updates leave a terminal showing what the updates themselves would have left it showing."""

from __future__ import annotations

import pyte
import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.app import App, ComposeResult
from textual.driver import Driver
from textual.geometry import Size
from textual.widgets import Static

from thermotui.tui.cell_updates import CellUpdates
from thermotui.tui.thin_driver import SYNC_END, SYNC_START, thin_driver

WIDTH, HEIGHT = 24, 6

styles = st.sampled_from(
    ["", "1", "38;2;10;20;30", "38;2;10;20;30;48;2;1;2;3", "1;38;5;7;48;5;9", "31;42", "7;91;104", "48;2;1;2;3", "4"]
)
texts = st.text(alphabet=["a", "b", " ", "⣿", "─", "−", "漢", "Σ"], min_size=1, max_size=12)
pieces = st.tuples(st.integers(0, HEIGHT - 1), st.integers(0, WIDTH - 1), styles, texts)


def as_update(drawn: list[tuple[int, int, str, str]]) -> str:
    """The text as Textual would send it, cut at the right edge."""
    parts = []
    for y, x, style, text in drawn:
        shown = ""
        room = WIDTH - x
        for character in text:
            room -= 2 if character == "漢" else 1
            if room < 0:
                break
            shown += character
        parts.append(f"\x1b[{y + 1};{x + 1}H" + (f"\x1b[{style}m{shown}\x1b[0m" if style else shown))
    return "\n".join(parts) + "\x1b[1;1H"


def terminal() -> tuple[pyte.Screen, pyte.Stream]:
    screen = pyte.Screen(WIDTH, HEIGHT)
    return screen, pyte.Stream(screen)


def shown(screen: pyte.Screen) -> list[list[tuple[object, ...]]]:
    """What one sees of each cell: of a blank its background, unless it is reversed or underlined."""
    return [[visible(screen.buffer[y][x]) for x in range(WIDTH)] for y in range(HEIGHT)]


def visible(cell: pyte.screens.Char) -> tuple[object, ...]:
    if cell.data == " " and not (cell.reverse or cell.underscore):
        return " ", cell.bg
    return cell.data, cell.fg, cell.bg, cell.bold, cell.reverse, cell.underscore


@given(st.lists(st.lists(pieces, min_size=1, max_size=6), min_size=1, max_size=6))
def test_a_terminal_ends_up_the_same(updates: list[list[tuple[int, int, str, str]]]) -> None:
    plain, thin = terminal(), terminal()
    cells = CellUpdates()
    cells.forget(WIDTH, HEIGHT)
    for drawn in updates:
        # Textual never overwrites one half of a wide character; one piece in a blank row keeps to that.
        rows = dict(sorted((piece[0], piece) for piece in drawn))
        update = "".join(f"\x1b[{y + 1};1H{' ' * WIDTH}" for y in rows) + as_update(list(rows.values()))
        plain[1].feed(update)
        reduced = cells.reduce(update)
        assert reduced is not None
        thin[1].feed(reduced)
        assert shown(thin[0]) == shown(plain[0])


def test_the_same_again_sends_nothing() -> None:
    cells = CellUpdates()
    cells.forget(WIDTH, HEIGHT)
    update = "\x1b[2;3H\x1b[31mheat\x1b[0m\x1b[1;1H"
    assert cells.reduce(update)
    assert cells.reduce(update) == ""


def test_one_digit_costs_a_move_and_a_character() -> None:
    cells = CellUpdates()
    cells.forget(WIDTH, HEIGHT)
    cells.reduce("\x1b[2;3H\x1b[38;2;1;2;3mloss 0.1234\x1b[0m")
    assert cells.reduce("\x1b[2;3H\x1b[38;2;1;2;3mloss 0.1235\x1b[0m") == "\b5"


def test_cells_never_written_are_never_sent() -> None:
    cells = CellUpdates()
    cells.forget(WIDTH, HEIGHT)
    assert cells.reduce("\x1b[1;1Ha\x1b[1;3Hb") == "\x1b[0m\x1b[1;1Ha\x1b[Cb"


def test_a_style_is_set_once_for_all_cells_that_have_it() -> None:
    cells = CellUpdates()
    cells.forget(WIDTH, HEIGHT)
    update = "".join(
        f"\x1b[{y + 1};1H\x1b[38;2;9;9;{y % 2}m{'x'}\x1b[0m\x1b[{y + 1};9H\x1b[38;2;9;9;{1 - y % 2}my\x1b[0m"
        for y in range(HEIGHT)
    )
    reduced = cells.reduce(update)
    assert reduced is not None
    assert reduced.count("38;2;9;9;0") == reduced.count("38;2;9;9;1") == 1


def test_an_update_of_every_cell_is_sent_whole() -> None:
    cells = CellUpdates()
    cells.forget(WIDTH, HEIGHT)
    update = "".join(f"\x1b[{y + 1};1H{'heat'.ljust(WIDTH)}" for y in range(HEIGHT))
    first = cells.reduce(update)
    second = cells.reduce(update)
    assert first is not None and second is not None
    assert first.count("heat") == second.count("heat") == HEIGHT


@pytest.mark.parametrize("other", ["\x1b[?1049l", "\x1b]52;c;AA==\a", "\a", "e\u0301"])
def test_what_is_not_an_update_is_not_understood(other: str) -> None:
    cells = CellUpdates()
    cells.forget(WIDTH, HEIGHT)
    assert cells.reduce(f"\x1b[1;1H{other}") is None


class _Recorder(Driver):
    """Keeps what it is told to write."""

    written: list[str]

    def write(self, data: str) -> None:
        self.written.append(data)

    def start_application_mode(self) -> None: ...

    def disable_input(self) -> None: ...

    def stop_application_mode(self) -> None: ...


class _Hello(App[None]):
    def compose(self) -> ComposeResult:
        yield Static("hello")


async def test_the_driver_holds_markers_until_they_are_needed() -> None:
    size = Size(WIDTH, HEIGHT)
    driver = thin_driver(_Recorder, lambda: size)(_Hello())
    assert isinstance(driver, _Recorder)
    driver.written = []
    update = "\x1b[2;3H\x1b[31mheat\x1b[0m\x1b[1;1H"
    for data in (SYNC_START, update, SYNC_END, SYNC_START, update, SYNC_END):
        driver.write(data)
    assert driver.written == ["\x1b[0;31m\x1b[2;3Hheat"]
    driver.write("\x1b[?25l")
    assert driver.written[1:] == ["\x1b[0m\x1b[?25l"]
    driver.write(update)
    assert driver.written[2:] == ["\x1b[0;31m\x1b[2;3Hheat"], "after a foreign write every cell is sent again"
    size = Size(WIDTH, HEIGHT - 1)
    driver.write(update)
    assert driver.written[3:] == ["\x1b[0;31m\x1b[2;3Hheat"], "after a resize every cell is sent again"
