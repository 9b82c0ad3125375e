"""Pictures of each view in three sizes and every theme, cell by cell, against those kept beside this file.

A picture holds the text, the style of each cell as a letter, and what each letter is in each theme: a theme changes
colours and nothing else, so that five themes take little more than one, and a changed cell is seen in a diff.

After a change that is meant: `pytest tests/tui/test_pictures.py --snapshot-update`, and look at what changed.
"""

from __future__ import annotations

import string
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.color import Color
from rich.style import Style
from textual.pilot import Pilot

from tests.tui import scripted
from tests.tui.driving import press, screen
from thermotui.tui.actions import BY_NAME, VIEWS
from thermotui.tui.themes import THEMES

SIZES = [(80, 24), (120, 36), (160, 48)]
NOW = scripted.CREATED + 60
PICTURES = Path(__file__).parent / "pictures"
LETTERS = string.ascii_letters + string.digits + "".join(map(chr, range(0x3B1, 0x3CA)))


def colour(chosen: Color | None) -> str:
    if chosen is None:
        return "-"
    return chosen.triplet.hex if chosen.triplet else chosen.name


def described(style: Style | None) -> str:
    if style is None:
        return "- -"
    attributes = [name for name in ("bold", "dim", "italic", "underline", "reverse") if getattr(style, name)]
    return " ".join((colour(style.color), colour(style.bgcolor), *attributes))


def lines(pilot: Pilot[None]) -> tuple[list[str], list[list[str]]]:
    """The text of the screen, and the style of every cell of each line."""
    text, styles = [], []
    for strip in pilot.app.screen._compositor.render_strips():
        text.append(strip.text)
        styles.append([described(segment.style) for segment in strip for _ in range(cell_len(segment.text))])
    return text, styles


def drawn(text: list[str], by_theme: dict[str, list[list[str]]]) -> str:
    """The picture as text: cells, letters, and a line for each letter."""
    letters: dict[tuple[str, ...], str] = {}
    grid = []
    for y in range(len(text)):
        cells = zip(*(styles[y] for styles in by_theme.values()), strict=True)
        grid.append("".join(letters.setdefault(cell, LETTERS[len(letters)]) for cell in cells))

    def meaning() -> Iterator[str]:
        for index, theme in enumerate(by_theme):
            yield f"{theme}:"
            yield from (f"  {letter} {cell[index]}" for cell, letter in letters.items())

    return "\n".join("|" + line + "|" for line in text) + "\n" + "\n".join((*grid, *meaning())) + "\n"


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("view", VIEWS)
async def test_view(
    view: str, size: tuple[int, int], pictured: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    kept = PICTURES / f"{view}-{size[0]}x{size[1]}.txt"
    by_theme, texts = {}, []
    async with screen([pictured], size=size, now=NOW) as pilot:
        await press(pilot, "m", "j", "m", "k", BY_NAME[f"view_{view}"].keys[0])
        if view == "log":
            # The attributes hold the place of the file, which differs from run to run; the rows do not.
            await press(pilot, "down", "down")
        for theme in THEMES:
            pilot.app.theme = theme
            await pilot.pause()
            text, by_theme[theme] = lines(pilot)
            texts.append(text)
        pilot.app.theme = "dark"
        await pilot.pause()
        (tmp_path / "seen.svg").write_text(pilot.app.export_screenshot(), encoding="utf-8")
    assert all(text == texts[0] for text in texts), "a theme changes colours alone"
    picture = drawn(texts[0], by_theme)
    if request.config.getoption("--snapshot-update"):
        kept.parent.mkdir(exist_ok=True)
        kept.write_text(picture, encoding="utf-8")
    assert picture.split("\n") == kept.read_text(encoding="utf-8").split("\n"), f"see {tmp_path / 'seen.svg'}"


def test_every_picture_is_one_of_a_view() -> None:
    expected = {f"{view}-{width}x{height}.txt" for view in VIEWS for width, height in SIZES}
    assert {file.name for file in PICTURES.iterdir()} == expected


@pytest.fixture(scope="module")
def pictured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two comparable runs and one of another stride."""
    folder = tmp_path_factory.mktemp("pictured")
    created = scripted.CREATED
    scripted.scripted_log(folder / "batch-10.h5", created=created)
    scripted.scripted_log(folder / "batch-100.h5", rows=1500, state="interrupted", alerts=False, created=created - 1)
    scripted.scripted_log(folder / "every-step.h5", rows=300, state="failed", stride=1, created=created - 2)
    return folder
