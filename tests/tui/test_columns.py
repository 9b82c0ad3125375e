"""Columns share a line out: none wider than its cells, no number ever cut, the telling part of a name kept."""

from __future__ import annotations

import pytest

from thermotui.tui.widgets.columns import Column, cut_text, widths_of

COLUMNS = (
    Column("name", 20, fit=True),
    Column("step", 0, "right", fit=True, last=1),
    Column("rate", 0, "right", fit=True, last=2),
    Column("message", last=3),
)
NATURAL = (12, 9, 7, 0)


@pytest.mark.parametrize(
    ("room", "expected"),
    [
        (100, [12, 9, 7, 69]),
        (45, [12, 9, 7, 14]),
        (44, [12, 9, 7, 0]),
        (30, [12, 9, 7, 0]),
        (29, [12, 9, 0, 0]),
        (22, [12, 9, 0, 0]),
        (21, [12, 0, 0, 0]),
    ],
)
def test_what_has_no_room_is_left_out_whole(room: int, expected: list[int]) -> None:
    assert widths_of(COLUMNS, NATURAL, room) == expected


def test_a_name_has_a_widest_and_what_is_left_is_shared() -> None:
    columns = (Column("name", 8, fit=True), Column("left"), Column("right"))
    assert widths_of(columns, (30, 0, 0), 30) == [8, 10, 10]


@pytest.mark.parametrize(("room", "expected"), [(30, [17, 7, 4]), (29, [16, 7, 4]), (20, [7, 7, 4])])
def test_a_name_makes_room_for_numbers(room: int, expected: list[int]) -> None:
    columns = (Column("run", 40, cut="middle", fit=True), Column("state", fit=True), Column("alerts", fit=True))
    assert widths_of(columns, (17, 7, 4), room) == expected


@pytest.mark.parametrize(
    ("name", "size", "expected"),
    [
        ("softmax-20261124-061733", 13, "soft…4-061733"),
        ("gaussian-20261124-061733", 11, "gaus…061733"),
        ("short", 5, "short"),
        ("short", 1, "…"),
    ],
)
def test_a_name_cut_in_the_middle_keeps_what_it_is_and_what_tells_it_apart(name: str, size: int, expected: str) -> None:
    assert cut_text(name, size, "middle") == expected
    assert len(expected) == min(size, len(name))


def test_other_texts_are_cut_at_their_end() -> None:
    assert cut_text("noise of the layer", 9) == "noise of…"
