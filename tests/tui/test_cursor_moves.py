"""Moves lead where they are to lead, and places are visited each once, the nearest first."""

from __future__ import annotations

import numpy as np
import pyte
from hypothesis import given
from hypothesis import strategies as st

from thermotui.tui.cursor_moves import move, nearest_first

HEIGHT, WIDTH = 30, 120
PLACES = st.tuples(st.integers(0, HEIGHT - 1), st.integers(0, WIDTH - 1))


@given(PLACES, PLACES)
def test_a_move_ends_at_its_target(begin: tuple[int, int], target: tuple[int, int]) -> None:
    screen = pyte.Screen(WIDTH, HEIGHT)
    stream = pyte.Stream(screen)
    stream.feed(move(None, begin, WIDTH) + move(begin, target, WIDTH))
    assert (screen.cursor.y, screen.cursor.x) == target


def test_the_nearest_comes_first() -> None:
    rows, columns = np.array([0, 0, 5, 6]), np.array([0, 60, 2, 1])
    order = nearest_first((5, 1), rows, columns, columns + 1)
    assert sorted(order.tolist()) == [0, 1, 2, 3]
    assert order[:2].tolist() == [3, 2]


@given(st.lists(st.tuples(st.integers(0, 1500), st.integers(0, 1500)), min_size=1, max_size=40, unique=True))
def test_every_place_is_visited_once_on_a_terminal_of_any_size(places: list[tuple[int, int]]) -> None:
    rows, columns = np.array(places).T
    for cursor in (None, (0, 0), (1400, 3)):
        order = nearest_first(cursor, rows, columns, columns + 1)
        assert sorted(order.tolist()) == list(range(len(places)))
