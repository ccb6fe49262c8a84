"""Where walls, rooms, doors and windows of a synthetic plan are, in whole pixels before the paper is turned."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

Corners = list[tuple[float, float]]
"""The outline of a floor; every edge is horizontal or vertical."""

LEAST_ROOM_PX = 140
LEAST_CORNER_PX = 110
"""The room in the corner of an L is a toilet, a store."""
LEAST_SHARE = 0.3
"""A wall leaves at least this share of a floor on either side."""
LEAST_OPENING_PX = 150


@dataclass(frozen=True, kw_only=True)
class Gap:
    """A hole in a wall: `start`..`end` along it, `near`..`far` through it; `along` is "x" or "y"."""

    along: str
    start: int
    end: int
    near: int
    far: int
    kind: str
    """`swing`, `double`, `sliding`, `opening` or `window`."""
    side: int
    """-1 or 1: where a door opens to, towards `near` or `far`."""


@dataclass(kw_only=True, eq=False)
class Layout:
    """A whole plan; `walls` is H×W uint8, 255 where there is wall."""

    walls: NDArray[np.uint8]
    rooms: list[Corners]
    gaps: list[Gap] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Floor:
    """A free rectangle between walls: left, top, right, bottom; right and bottom are the first pixels of wall."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def corners(self) -> Corners:
        return [(self.left, self.top), (self.right, self.top), (self.right, self.bottom), (self.left, self.bottom)]


def lay_out(random: np.random.Generator) -> Layout:
    """Split a building into rooms, and make some of them odd; its walls have no openings yet."""
    width, height = int(random.integers(1000, 1600)), int(random.integers(800, 1200))
    margin, outer = int(random.integers(80, 130)), int(random.integers(9, 19))
    building = Floor(left=margin, top=margin, right=width - margin, bottom=height - margin)
    inside = Floor(
        left=building.left + outer,
        top=building.top + outer,
        right=building.right - outer,
        bottom=building.bottom - outer,
    )
    floors = _split(inside, random, int(random.integers(4, 9)))
    walls = np.zeros((height, width), np.uint8)
    walls[building.top : building.bottom, building.left : building.right] = 255
    floors = _without_a_corner(walls, floors, inside, outer, random)
    rooms = [room for floor in floors for room in _shaped(floor, random)]
    for room in rooms:
        _fill(walls, room)
    return Layout(walls=walls, rooms=rooms)


def _split(inside: Floor, random: np.random.Generator, count: int) -> list[Floor]:
    """Halve the largest floor by walls of any thickness until there are `count`, or none is large enough."""
    floors = [inside]
    while len(floors) < count:
        largest = max(floors, key=lambda floor: floor.width * floor.height)
        parts = _halved(largest, random)
        if not parts:
            break
        floors.remove(largest)
        floors += parts
    return floors


def _halved(floor: Floor, random: np.random.Generator) -> list[Floor]:
    """Two floors with a wall between them, across the longer side; none where one would be too small."""
    wall = int(random.integers(6, 14))
    long = max(floor.width, floor.height)
    if long < 2 * LEAST_ROOM_PX + wall:
        return []
    least = max(LEAST_ROOM_PX, round(LEAST_SHARE * long))
    at = int(random.integers(least, max(least + 1, long - wall - least + 1)))
    if floor.width >= floor.height:
        return [
            Floor(left=floor.left, top=floor.top, right=floor.left + at, bottom=floor.bottom),
            Floor(left=floor.left + at + wall, top=floor.top, right=floor.right, bottom=floor.bottom),
        ]
    return [
        Floor(left=floor.left, top=floor.top, right=floor.right, bottom=floor.top + at),
        Floor(left=floor.left, top=floor.top + at + wall, right=floor.right, bottom=floor.bottom),
    ]


def _without_a_corner(
    walls: NDArray[np.uint8], floors: list[Floor], inside: Floor, outer: int, random: np.random.Generator
) -> list[Floor]:
    """In three plans of ten the room at a corner of the building is outside."""
    corner = next(floor for floor in floors if (floor.left, floor.top) == (inside.left, inside.top))
    if random.random() > 0.3 or len(floors) < 4:
        return floors
    walls[corner.top - outer : corner.bottom, corner.left - outer : corner.right] = 0
    return [floor for floor in floors if floor is not corner]


def _shaped(floor: Floor, random: np.random.Generator) -> list[Corners]:
    """The floor as one room, as an L with a room in its corner, or as two rooms open to each other."""
    wall = int(random.integers(6, 13))
    roomy = min(floor.width, floor.height) >= 2 * LEAST_CORNER_PX + wall
    if roomy and random.random() < 0.45:
        return _ell(floor, wall, random)
    if max(floor.width, floor.height) > 260 and min(floor.width, floor.height) > 190 and random.random() < 0.4:
        return [_open_plan(floor, wall, random)]
    return [floor.corners]


def _ell(floor: Floor, wall: int, random: np.random.Generator) -> list[Corners]:
    """An L and the room in its corner (any of the four)."""
    w = int(random.integers(LEAST_CORNER_PX, floor.width - wall - LEAST_CORNER_PX + 1))
    h = int(random.integers(LEAST_CORNER_PX, floor.height - wall - LEAST_CORNER_PX + 1))
    room = [(0, 0), (w, 0), (w, h), (0, h)]
    ell = [
        (w + wall, 0),
        (floor.width, 0),
        (floor.width, floor.height),
        (0, floor.height),
        (0, h + wall),
        (w + wall, h + wall),
    ]
    mirror_x, mirror_y = random.random() < 0.5, random.random() < 0.5
    return [
        [
            (
                floor.left + (floor.width - x if mirror_x else x),
                floor.top + (floor.height - y if mirror_y else y),
            )
            for x, y in shape
        ]
        for shape in (room, ell)
    ]


def _open_plan(floor: Floor, wall: int, random: np.random.Generator) -> Corners:
    """One room with a stub of wall on one or both sides, at least `LEAST_OPENING_PX` between them."""
    across = floor.width >= floor.height
    depth, length = (floor.height, floor.width) if across else (floor.width, floor.height)
    at = int(random.integers(100, length - wall - 99))
    spare = depth - LEAST_OPENING_PX
    first = int(random.integers(15, max(16, min(90, spare - 15))))
    second = int(random.integers(15, max(16, spare - first))) if random.random() < 0.6 and spare - first > 16 else 0
    outline = [(0, 0), (at, 0), (at, first), (at + wall, first), (at + wall, 0), (length, 0), (length, depth)]
    if second:
        outline += [(at + wall, depth), (at + wall, depth - second), (at, depth - second), (at, depth)]
    outline += [(0, depth)]
    return [(floor.left + (x if across else y), floor.top + (y if across else x)) for x, y in outline]


def _fill(walls: NDArray[np.uint8], room: Corners) -> None:
    """Take the floor out of the wall: cv2 fills the border too, so right and bottom edges are moved in by a half."""
    inner = np.array(room, np.float64)
    mask = np.zeros((walls.shape[0] * 2, walls.shape[1] * 2), np.uint8)
    cv2.fillPoly(mask, [np.round(inner * 2).astype(np.int32)], 255)
    walls[mask[1::2, 1::2] > 0] = 0
