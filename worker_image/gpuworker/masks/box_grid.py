"""Boxes by the cells of a grid that they touch, so that a box finds those it meets without asking all of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from statistics import median_high

Box = tuple[int, int, int, int]
"""Left, top, right and bottom; the last two lie just outside."""

_CELL_PX_AT_LEAST, _CELL_PX_AT_MOST = 32, 4096


class BoxGrid:
    """Numbered boxes. Of 10,000 boxes that each meet a few, one is asked for those in microseconds."""

    def __init__(self, cell_px: int) -> None:
        self._cell_px = cell_px
        self._boxes: dict[int, Box] = {}
        self._cells: defaultdict[tuple[int, int], list[int]] = defaultdict(list)

    @classmethod
    def for_boxes(cls, boxes: Iterable[Box]) -> BoxGrid:
        """An empty grid whose cells suit boxes of this size."""
        sides = [max(right - left, bottom - top) for left, top, right, bottom in boxes]
        return cls(min(_CELL_PX_AT_MOST, max(_CELL_PX_AT_LEAST, median_high(sides or [0]))))

    def add(self, number: int, box: Box) -> None:
        self._boxes[number] = box
        for cell in self._touched(box):
            self._cells[cell].append(number)

    def meeting(self, box: Box) -> list[int]:
        """Numbers of the boxes that share a pixel with `box`, in order."""
        near = {number for cell in self._touched(box) for number in self._cells.get(cell, ())}
        return sorted(number for number in near if _meet(self._boxes[number], box))

    def _touched(self, box: Box) -> Iterator[tuple[int, int]]:
        left, top, right, bottom = box
        rows = range(top // self._cell_px, (bottom - 1) // self._cell_px + 1)
        return product(rows, range(left // self._cell_px, (right - 1) // self._cell_px + 1))


def meeting_pairs(boxes: Sequence[Box]) -> Iterator[tuple[int, int]]:
    """Indices of all pairs of boxes that share a pixel, each pair once, the greater index first."""
    grid = BoxGrid.for_boxes(boxes)
    for i, box in enumerate(boxes):
        yield from ((i, j) for j in grid.meeting(box))
        grid.add(i, box)


def around(boxes: Iterable[Box]) -> Box:
    """The smallest box that holds all of them."""
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return (min(lefts), min(tops), max(rights), max(bottoms))


def intersection(one: Box, other: Box) -> Box | None:
    """What both have; None where they share no pixel."""
    left, top, right, bottom = (
        max(one[0], other[0]),
        max(one[1], other[1]),
        min(one[2], other[2]),
        min(one[3], other[3]),
    )
    return (left, top, right, bottom) if left < right and top < bottom else None


def _meet(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
