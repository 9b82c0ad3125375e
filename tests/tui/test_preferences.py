"""Keys, themes and saved views: read, refused with a sentence, remembered."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from textual.theme import Theme

from tests.tui.driving import main_screen, press, screen, text_of
from thermotui.errors import InputError
from thermotui.tui.actions import ACTIONS, key_table, key_text
from thermotui.tui.charts.palette import from_variables
from thermotui.tui.charts.roles import ROLES
from thermotui.tui.dialogs.panel_chooser import PanelChooser
from thermotui.tui.preferences import Preferences, load_preferences, preferences_file
from thermotui.tui.session import Session, load_session, save_session, session_file
from thermotui.tui.themes import THEMES, all_themes, fitting_theme


def write(text: str) -> Path:
    file = preferences_file()
    file.parent.mkdir(parents=True)
    file.write_text(text, encoding="utf-8")
    return file


def test_no_file_no_preferences() -> None:
    assert load_preferences(preferences_file()) == Preferences()


def test_keys_and_themes_are_read() -> None:
    file = write('theme = "mine"\n[keys]\npause = "P"\nfilter_runs = ["/", "V"]\n[themes.mine]\nseries-1 = "#ff8800"\n')
    loaded = load_preferences(file)
    assert loaded.theme == "mine"
    assert loaded.keys == {"pause": "P", "filter_runs": "slash,V"}
    mine = all_themes(loaded.themes)["mine"]
    assert from_variables(mine.variables, dark=True).colours["series_1"] == "#ff8800"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("theme = ", "is not TOML"),
        ("colour = 3", "unknown entry 'colour'"),
        ("theme = 3", "theme must be the name"),
        ('[keys]\nexplode = "x"', "explode: there is no such action"),
        ("[keys]\npause = 3", "pause: must be a key"),
        ('[keys]\npause = "q"', "pause: 'q' is the key of quit too"),
        ('[keys]\npause = ["P", "?"]', "pause: '\\?' is the key of help too"),
        ('[keys]\npause = "P"\nquit = "P"', "pause: 'P' is the key of quit too"),
        ('[keys]\npause = "ctrl+nope"', "pause: there is no key 'ctrl\\+nope'"),
        ('[keys]\npause = "Space"', "there is no key 'Space'"),
        ('[keys]\npause = "shift+p"', "there is no key 'shift\\+p'"),
        ('[keys]\npause = "ctrl+"', "there is no key 'ctrl\\+'"),
        ('[keys]\npause = "a,b"', "there is no key 'a,b'"),
        ("keys = 3", r"\[keys\] must be a table"),
        ("themes = 3", r"\[themes\] must be a table"),
        ("[themes]\nmine = 3", "must be a table of colours"),
    ],
)
def test_what_is_wrong_is_named(text: str, said: str) -> None:
    file = write(text)
    with pytest.raises(InputError, match=said) as caught:
        load_preferences(file)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize(
    ("colours", "said"),
    [
        ({"base": "nothing"}, "no theme 'nothing'"),
        ({"series-1": "orangey"}, "'orangey' is not a colour"),
        ({"series-99": "#000000"}, "no colour 'series-99'"),
    ],
)
def test_wrong_themes_are_named(colours: dict[str, str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        all_themes({"mine": colours})


@pytest.mark.parametrize("theme", THEMES.values(), ids=lambda theme: theme.name)
def test_every_theme_has_a_colour_for_every_role(theme: Theme) -> None:
    prefixes = {f"chart-{role.replace('_', '-')}" for role in ROLES[1:]}
    assert prefixes <= theme.variables.keys()


def test_the_theme_fits_the_terminal() -> None:
    assert fitting_theme({"TERM": "xterm-256color"}) == "dark"
    assert fitting_theme({"TERM": "xterm", "COLORTERM": "truecolor"}) == "dark"
    assert fitting_theme({"TERM": "xterm-kitty"}) == "dark"
    for term in ("xterm", "screen", "linux", "vt100", ""):
        assert fitting_theme({"TERM": term}) == "sixteen"


async def test_a_remapped_key_works_and_the_old_one_does_not(finished: Path) -> None:
    async with screen([finished], preferences=Preferences(keys={"view_layers": "9"})) as pilot:
        await press(pilot, "3")
        assert main_screen(pilot).stage.name_shown == "dashboard"
        await press(pilot, "9")
        assert main_screen(pilot).stage.name_shown == "layers"
        await pilot.press("question_mark")
        await pilot.pause()
        assert re.search(r"9 +Show the layers view", text_of(pilot))


@pytest.mark.parametrize(
    ("given", "name"),
    [("pageup", "pageup"), ("f5", "f5"), ("!", "exclamation_mark"), (" ", "space"), ("ctrl+p", "ctrl+p"),
     ("shift+ctrl+up", "ctrl+shift+up"), ("alt+/", "alt+slash"), ("at", "at"), ("ä", "ä")],
)  # fmt: skip
def test_keys_are_named_as_they_come_from_a_terminal(given: str, name: str) -> None:
    assert load_preferences(write(f'[keys]\npause = "{given}"')).keys == {"pause": name}


def test_every_key_of_the_program_is_one_that_may_be_chosen() -> None:
    lines = (f"{action.name} = {json.dumps(key_text(action.keys).split())}" for action in ACTIONS)
    file = write("[keys]\n" + "\n".join(lines))
    assert load_preferences(file).keys == {action.name: ",".join(action.keys) for action in ACTIONS}


async def test_two_keys_are_swapped_and_the_screen_names_the_new_ones(finished: Path) -> None:
    file = write('[keys]\nquit = "p"\nchoose_panels = "q"\nhelp = "H"')
    async with screen([finished], preferences=load_preferences(file)) as pilot:
        assert text_of(pilot).splitlines()[-1].endswith("1–7: views  H: help  p: quit")
        await press(pilot, "q")
        assert isinstance(pilot.app.screen, PanelChooser)
        await press(pilot, "escape", "p")
        assert pilot.app.return_code == 0


def test_a_session_is_kept_by_workspace(tmp_path: Path) -> None:
    here, there = session_file([tmp_path / "a"]), session_file([tmp_path / "b"])
    assert here != there
    assert load_session(here) == Session()
    session = Session(view="layers", hidden_panels=("loss",), acknowledged=("x\tkind/0/1",), runs_shown=False)
    save_session(here, session)
    assert load_session(here) == session
    assert load_session(there) == Session()
    assert [file.name for file in here.parent.iterdir()] == [here.name]


@pytest.mark.parametrize("text", ["{", "[]", '{"view": 3}', '{"nonsense": 1}', '{"acknowledged": 5}', "\xff"])
def test_a_foreign_session_file_is_said(tmp_path: Path, text: str) -> None:
    file = session_file([tmp_path])
    file.parent.mkdir(parents=True)
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match="is not a saved view"):
        load_session(file)


async def test_the_session_shows_again(workspace: Path) -> None:
    session = Session(view="alerts", order="name", runs_shown=False, hidden_panels=("heat_work",))
    async with screen([workspace], session=session) as pilot:
        main = main_screen(pilot)
        assert main.stage.name_shown == "alerts"
        assert main.order == "name"
        await press(pilot, "2")
        assert "heat_work" not in main.stage.view.shown
        await press(pilot, "r", "o", "q")
    kept = pilot.app.last_session
    assert (kept.view, kept.order, kept.runs_shown) == ("dashboard", "age", True)
    assert json.loads(json.dumps(kept.hidden_panels)) == ["heat_work"]


def test_the_table_of_keys_in_the_docs_is_that_of_the_program() -> None:
    text = (Path(__file__).parents[2] / "docs" / "screen.md").read_text(encoding="utf-8")
    assert key_table() in text
