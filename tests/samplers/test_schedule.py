"""The RePaint schedule."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chggen_kit.errors import InputError
from chggen_kit.samplers import repaint_schedule


def test_the_papers_counts() -> None:
    moves = repaint_schedule(200, 10, 3)
    assert sum(b > a for a, b in moves) == 579
    assert sum(b < a for a, b in moves) == 380


def test_one_pass_is_a_plain_descent() -> None:
    assert repaint_schedule(5, 2, 1) == [(0, 1), (1, 2), (2, 3), (3, 4)]


def test_jump_length_one_repeats_every_level_as_the_listing_does() -> None:
    moves = repaint_schedule(4, 1, 2)
    assert moves == [(0, 1), (1, 0), (0, 1), (1, 2), (2, 1), (1, 2), (2, 3)]


@given(st.integers(2, 60), st.integers(1, 20), st.integers(1, 4), st.integers(0, 20))
def test_walks_are_connected_and_never_leave_the_clean_level(levels: int, jump: int, passes: int, start: int) -> None:
    if start >= levels - 1:
        with pytest.raises(InputError, match="clean level"):
            repaint_schedule(levels, jump, passes, start)
        return
    if passes > 1 and jump >= levels - 1 - start:
        with pytest.raises(InputError, match="does not fit"):
            repaint_schedule(levels, jump, passes, start)
        return
    moves = repaint_schedule(levels, jump, passes, start)
    assert moves[0][0] == start
    assert moves[-1][1] == levels - 1
    assert all(abs(a - b) == 1 for a, b in moves)
    assert all(first[1] == second[0] for first, second in pairwise(moves))
    assert all(a != levels - 1 for a, _ in moves)
    assert all(b >= start for _, b in moves)
    assert (passes > 1) == any(b < a for a, b in moves)


@pytest.mark.parametrize(("levels", "jump", "passes"), [(1, 1, 1), (10, 0, 1), (10, 1, 0)])
def test_counts_out_of_range(levels: int, jump: int, passes: int) -> None:
    with pytest.raises(InputError, match="schedule"):
        repaint_schedule(levels, jump, passes)


def test_start_levels_out_of_range() -> None:
    for start in (-1, 9, 20):
        with pytest.raises(InputError, match="from 0 to 8"):
            repaint_schedule(10, 1, 1, start)
