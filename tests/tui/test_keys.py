"""Every key of the registry does what its line in the help says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from textual.widgets import Input

import tests.tui.keys.charts
import tests.tui.keys.panels
import tests.tui.keys.runs
import tests.tui.keys.screen  # noqa: F401
from tests.tui.driving import press, screen
from tests.tui.keys.checking import CHECKS, Check
from thermotui.tui.actions import ACTIONS, BY_NAME, SYMBOLS
from thermotui.tui.chart_screen import SMOOTHINGS
from thermotui.tui.charts.chart import Chart


@pytest.mark.parametrize(
    "check", sorted(set(CHECKS.values()), key=lambda check: check.__name__), ids=lambda c: c.__name__
)
async def test_key(check: Check, workspace: Path, tmp_path: Path) -> None:
    saved = tmp_path / "saved"
    saved.mkdir()
    async with screen([workspace], size=(120, 40), save_to=saved) as pilot:
        await check(pilot)


def test_every_action_has_a_test() -> None:
    assert set(CHECKS) == set(BY_NAME)


def test_no_key_that_a_multiplexer_or_a_shell_takes() -> None:
    for action in ACTIONS:
        for each in action.keys:
            assert not each.startswith("ctrl+"), action
            assert len(each) == 1 or each in SYMBOLS or each in (
                "up", "down", "left", "right", "tab", "shift+tab", "escape", "space", "f1", "pageup", "pagedown",
            )  # fmt: skip


def test_no_key_twice() -> None:
    keys = [each for action in ACTIONS for each in action.keys]
    assert len(keys) == len(set(keys))


def test_the_help_tells_every_smoothing() -> None:
    told = re.findall(r"\d[\d,]*", BY_NAME["smooth"].title)
    assert [int(number.replace(",", "")) for number in told] == list(SMOOTHINGS[1:])


async def test_enter_on_an_alert_shows_its_interval_on_every_chart(finished: Path) -> None:
    async with screen([finished]) as pilot:
        await press(pilot, "5", "down", "enter", "2")
        ranges = {chart.shown_range for chart in pilot.app.screen.query(Chart) if chart.display}
        assert len(ranges) == 1
        start, end = ranges.pop()
        assert start < 700 < 760 < end < 1000


async def test_typing_a_filter_types_letters(workspace: Path) -> None:
    async with screen([workspace]) as pilot:
        await press(pilot, "slash", *"q1t")
        assert pilot.app.screen.query_one("#filter", Input).value == "q1t"
