"""Where walls, rooms, doors and windows of a synthetic plan are, in whole pixels before the paper is turned."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

Corners = list[tuple[float, float]]
"""The outline of a floor; every edge is horizontal or vertical."""

LEAST_ROOM_PX = 105
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
    """Split a building into rooms, make some of them odd, and cut doors and windows."""
    width, height = int(random.integers(900, 1500)), int(random.integers(700, 1100))
    margin, outer = int(random.integers(60, 120)), int(random.integers(9, 19))
    building = Floor(left=margin, top=margin, right=width - margin, bottom=height - margin)
    inside = Floor(
        left=building.left + outer,
        top=building.top + outer,
        right=building.right - outer,
        bottom=building.bottom - outer,
    )
    floors = list(_split(inside, random, int(random.integers(150, 400))))
    walls = np.zeros((height, width), np.uint8)
    walls[building.top : building.bottom, building.left : building.right] = 255
    floors = _without_a_corner(walls, floors, inside, outer, random)
    rooms = [room for floor in floors for room in _shaped(floor, random)]
    for room in rooms:
        _fill(walls, room)
    layout = Layout(walls=walls, rooms=rooms)
    _cut_doors(layout, random)
    _cut_windows(layout, random)
    return layout


def _split(floor: Floor, random: np.random.Generator, target: int) -> Iterator[Floor]:
    """Halve a floor by walls of any thickness until its parts are about `target` pixels wide."""
    long, short = max(floor.width, floor.height), min(floor.width, floor.height)
    wall = int(random.integers(6, 14))
    if long < 2 * LEAST_ROOM_PX + wall or (long < 1.9 * target and random.random() < 0.7) or short < LEAST_ROOM_PX:
        yield floor
        return
    at = int(random.integers(LEAST_ROOM_PX, long - wall - LEAST_ROOM_PX + 1))
    if floor.width >= floor.height:
        parts = [
            Floor(left=floor.left, top=floor.top, right=floor.left + at, bottom=floor.bottom),
            Floor(left=floor.left + at + wall, top=floor.top, right=floor.right, bottom=floor.bottom),
        ]
    else:
        parts = [
            Floor(left=floor.left, top=floor.top, right=floor.right, bottom=floor.top + at),
            Floor(left=floor.left, top=floor.top + at + wall, right=floor.right, bottom=floor.bottom),
        ]
    for part in parts:
        yield from _split(part, random, target)


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
    roomy = min(floor.width, floor.height) >= 2 * LEAST_ROOM_PX + wall - 20
    if roomy and random.random() < 0.45:
        return _ell(floor, wall, random)
    if max(floor.width, floor.height) > 260 and min(floor.width, floor.height) > 190 and random.random() < 0.4:
        return [_open_plan(floor, wall, random)]
    return [floor.corners]


def _ell(floor: Floor, wall: int, random: np.random.Generator) -> list[Corners]:
    """An L and the room in its corner (any of the four)."""
    w = int(random.integers(85, floor.width - wall - 84))
    h = int(random.integers(85, floor.height - wall - 84))
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


@dataclass(frozen=True, kw_only=True)
class _Edge:
    """A straight piece of a room's outline."""

    room: int
    along: str
    at: int
    start: int
    end: int


def _edges(rooms: list[Corners]) -> list[_Edge]:
    found = []
    for number, room in enumerate(rooms):
        for (x1, y1), (x2, y2) in zip(room, room[1:] + room[:1], strict=True):
            if y1 == y2:
                found.append(_Edge(room=number, along="x", at=int(y1), start=int(min(x1, x2)), end=int(max(x1, x2))))
            else:
                found.append(_Edge(room=number, along="y", at=int(x1), start=int(min(y1, y2)), end=int(max(y1, y2))))
    return found


def _cut_doors(layout: Layout, random: np.random.Generator) -> None:
    """Every room can be reached; some pairs have a door more."""
    reached = list(range(len(layout.rooms)))
    shared = list(_shared(_edges(layout.rooms)))
    for index in random.permutation(len(shared)):
        one, other, start, end = shared[index]
        known = reached[one.room] == reached[other.room]
        if known and random.random() > 0.15:
            continue
        gap = _door(one, other, start, end, random)
        if any(_meets(gap, cut) for cut in layout.gaps):
            continue
        _cut(layout, gap)
        old, new = reached[one.room], reached[other.room]
        reached = [new if group == old else group for group in reached]


def _shared(edges: list[_Edge]) -> Iterator[tuple[_Edge, _Edge, int, int]]:
    """Pairs of edges of two rooms with nothing but a wall between them, the upper or left one first."""
    for one in edges:
        for other in edges:
            if one.along == other.along and one.room != other.room and 0 < other.at - one.at < 20:
                start, end = max(one.start, other.start), min(one.end, other.end)
                if end - start >= 70:
                    yield one, other, start, end


def _door(one: _Edge, other: _Edge, start: int, end: int, random: np.random.Generator) -> Gap:
    kind = str(random.choice(["swing", "double", "sliding", "opening"], p=[0.82, 0.07, 0.07, 0.04]))
    width = int(min(random.integers(42, 82), end - start - 20))
    lead = 0 if random.random() < 0.12 else int(random.integers(8, end - start - width - 7))
    return Gap(
        along=one.along,
        start=start + lead,
        end=start + lead + width,
        near=one.at,
        far=other.at,
        kind=kind,
        side=int(random.choice([-1, 1])),
    )


def _meets(one: Gap, other: Gap) -> bool:
    """Doors in one wall keep some wall between them."""
    apart = one.start >= other.end + 14 or other.start >= one.end + 14
    return one.along == other.along and one.near == other.near and not apart


def _cut(layout: Layout, gap: Gap) -> None:
    rows, columns = (gap.near, gap.far), (gap.start, gap.end)
    if gap.along == "y":
        rows, columns = columns, rows
    layout.walls[slice(*rows), slice(*columns)] = 0
    layout.gaps.append(gap)


def _cut_windows(layout: Layout, random: np.random.Generator) -> None:
    """Windows, and one front door, in walls that have nothing but paper behind them."""
    front = True
    for edge in _edges(layout.rooms):
        for direction in (-1, 1):
            far = _outside(layout.walls, edge, direction)
            if far is None or edge.end - edge.start < 90:
                continue
            for _ in range(int(random.integers(0, 3))):
                width = int(
                    min(random.integers(45, 75) if front else random.integers(50, 111), edge.end - edge.start - 30)
                )
                start = int(random.integers(edge.start + 10, edge.end - width - 9))
                near, beyond = sorted((edge.at, far))
                gap = Gap(
                    along=edge.along,
                    start=start,
                    end=start + width,
                    near=near,
                    far=beyond,
                    kind="swing" if front else "window",
                    side=-direction,
                )
                if not any(_meets(gap, cut) for cut in layout.gaps):
                    _cut(layout, gap)
                    front = False


def _outside(walls: NDArray[np.uint8], edge: _Edge, direction: int) -> int | None:
    """Where the paper begins behind a wall, if it does along the whole edge; nothing where another room does."""
    lines = walls if edge.along == "x" else walls.T
    part = lines[:, edge.start : edge.end]
    at = edge.at if direction > 0 else edge.at - 1
    if not 0 <= at < len(part) or not part[at].all():
        return None
    while part[at].all():
        at += direction
    rest = part[at:] if direction > 0 else part[: at + 1]
    return None if rest.any() else (at if direction > 0 else at + 1)
