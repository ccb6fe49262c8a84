"""Boxes that meet are found, all of them, and each pair once."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st
from tests.properties import examples

from gpuworker.masks.box_grid import Box, BoxGrid, around, intersection, meeting_pairs


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    left, top = draw(st.integers(0, 300)), draw(st.integers(0, 300))
    return (left, top, left + draw(st.integers(1, 150)), top + draw(st.integers(1, 150)))


@examples(100)
@given(st.lists(boxes(), max_size=25))
def test_the_pairs_are_those_that_share_a_pixel(drawn: list[Box]) -> None:
    expected = {(j, i) for i, j in combinations(range(len(drawn)), 2) if intersection(drawn[i], drawn[j])}
    found = list(meeting_pairs(drawn))
    assert set(found) == expected
    assert len(found) == len(expected)


@examples(100)
@given(st.lists(boxes(), min_size=1, max_size=15), boxes(), st.integers(1, 200))
def test_a_grid_of_any_cells_answers_the_same(drawn: list[Box], asked: Box, cell_px: int) -> None:
    grid = BoxGrid(cell_px)
    for number, box in enumerate(drawn):
        grid.add(number, box)
    assert grid.meeting(asked) == [i for i, box in enumerate(drawn) if intersection(box, asked)]


def test_boxes_that_only_touch_do_not_meet() -> None:
    assert list(meeting_pairs([(0, 0, 10, 10), (10, 0, 20, 10), (0, 10, 10, 20)])) == []
    assert intersection((0, 0, 10, 10), (10, 0, 20, 10)) is None


def test_around_and_intersection() -> None:
    assert around([(3, 4, 5, 6), (1, 5, 2, 9)]) == (1, 4, 5, 9)
    assert intersection((0, 0, 5, 5), (3, 2, 9, 4)) == (3, 2, 5, 4)
