"""Doors, windows and a front door, cut into the walls of a layout."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from benchmarks.plans.layout import Corners, Gap, Layout
from numpy.typing import NDArray


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


def cut_doors(layout: Layout, random: np.random.Generator) -> None:
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
    kind = str(random.choice(["swing", "double", "sliding", "opening"], p=[0.86, 0.06, 0.05, 0.03]))
    width = min(int(random.integers(40, 66)), end - start - 20)
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


def cut_windows(layout: Layout, random: np.random.Generator) -> None:
    """Windows, and one front door, in walls that have nothing but paper behind them."""
    front = True
    for edge in _edges(layout.rooms):
        for direction in (-1, 1):
            far = _outside(layout.walls, edge, direction)
            if far is None or edge.end - edge.start < 90:
                continue
            for _ in range(int(random.integers(0, 3))):
                width = int(random.integers(45, 70) if front else random.integers(50, 111))
                width = min(width, edge.end - edge.start - 30)
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
