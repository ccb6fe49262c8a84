"""Polygons on the globe, cut where longitude jumps from 180 to -180 (RFC 7946, 3.1.9), and closed over the poles.

Every ring has what it encloses on its left, holes too. Where rings cross the antimeridian they are cut into chains that
begin and end on the border of the map; walking on counter-clockwise along the border from the end of one to the begin
of the next makes polygons of them, also of those around a pole, which have the map's upper or lower edge as theirs.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_HALF, _TURN, _POLE = 180.0, 360.0, 90.0
_NEAR_POLE = _POLE - 1e-9
DECIMALS = 9
_BORDER = 2 * (_TURN + 2 * _POLE)
"""Length of the map's border in degrees, counted from the right lower corner upward and on counter-clockwise."""

Points = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Ring:
    """N×2 longitude and latitude in degrees, not closed; no edge is longer than half a turn."""

    degrees: Points
    is_hole: bool = False


def polygons_of(rings: Sequence[Ring]) -> list[list[Points]]:
    """Polygons between -180 and 180 degrees, of one that may lie anywhere: their rings, the outer one first.

    Outer rings run counter-clockwise, holes clockwise; a ring's first corner does not come again.
    """
    outers: list[Points] = []
    holes: list[Points] = []
    chains: list[Points] = []
    for ring in rings:
        unwound = _unwound(ring.degrees)
        if (whole := _inside(unwound)) is not None:
            (holes if ring.is_hole else outers).append(_turned(whole, is_hole=ring.is_hole))
        else:
            chains += _chains(unwound)
    outers += _closed_along_the_border(chains)
    return _with_holes(outers, holes)


def _unwound(degrees: Points) -> Points:
    """The ring with longitudes that go on beyond 180, its first corner again at the end: a turn away for one around a
    pole. To nine decimals, a tenth of a millimetre, so that what lies on an antimeridian lies on it exactly."""
    ring = _at_poles(np.round(degrees, DECIMALS))
    closed = np.concatenate([ring, ring[:1]])
    steps = (np.diff(closed[:, 0]) + _HALF) % _TURN - _HALF
    closed[1:, 0] = closed[0, 0] + np.cumsum(steps)
    return np.round(closed, DECIMALS)


def _at_poles(ring: Points) -> Points:
    """A pole has no longitude: a ring comes to it by that of the corner before, and leaves it by that of the next."""
    is_pole = np.abs(ring[:, 1]) > _NEAR_POLE
    if not is_pole.any() or is_pole.all():
        return ring
    before, after = np.roll(ring[:, 0], 1), np.roll(ring[:, 0], -1)
    is_first, is_last = is_pole & ~np.roll(is_pole, 1), is_pole & ~np.roll(is_pole, -1)
    corners = [
        (longitude, corner[1])
        for number, corner in enumerate(ring)
        for longitude, is_so in (
            (corner[0], not is_pole[number]),
            (before[number], is_first[number]),
            (after[number], is_last[number]),
        )
        if is_so
    ]
    return np.array(corners)


def _inside(unwound: Points) -> Points | None:
    """The ring moved by whole turns so that all of it is on the map; None where it is cut or goes around a pole."""
    low, high = unwound[:, 0].min(), unwound[:, 0].max()
    turns = np.ceil((high - _HALF) / _TURN)
    if low - turns * _TURN < -_HALF or abs(unwound[-1, 0] - unwound[0, 0]) > _HALF:
        return None
    moved = unwound[:-1].copy()
    moved[:, 0] -= turns * _TURN
    return moved


def _turned(ring: Points, *, is_hole: bool) -> Points:
    """The right way round, also of a system that shows the earth in a mirror."""
    x, y = (ring - ring[0]).T
    twice_area = float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))
    return ring[::-1] if (twice_area < 0) != is_hole else ring


# --- cutting ---


def _chains(unwound: Points) -> Iterator[Points]:
    """The pieces of a ring between the antimeridians that it meets, each moved onto the map."""
    corners, on_line = _crossed(unwound)
    breaks = np.flatnonzero(on_line)
    begin = int(breaks[0])
    turn = unwound[-1, 0] - unwound[0, 0]
    around = np.concatenate([corners[begin:-1], corners[: begin + 1] + np.array((turn, 0.0))])
    ends = [*(breaks - begin), len(around) - 1]
    for first, last in itertools.pairwise(ends):
        piece = around[first : last + 1]
        if len(piece) > 1 and np.ptp(piece[:, 0]) > 0:  # what runs along the line is no border of either side
            yield _moved(piece)


def _crossed(unwound: Points) -> tuple[Points, NDArray[np.bool_]]:
    """The ring with a corner wherever it crosses an antimeridian, and which of its corners lie on one."""
    first, last = unwound[:-1], unwound[1:]
    sides = (unwound[:, 0] - _HALF) / _TURN
    low, high = np.minimum(sides[:-1], sides[1:]), np.maximum(sides[:-1], sides[1:])
    line = np.floor(low) + 1
    crosses = np.flatnonzero((line < high) & (low < high))
    at = line[crosses] * _TURN + _HALF
    share = (at - first[crosses, 0]) / (last[crosses, 0] - first[crosses, 0])
    heights = first[crosses, 1] + share * (last[crosses, 1] - first[crosses, 1])
    corners = np.insert(unwound, crosses + 1, np.stack([at, heights], axis=1), axis=0)
    is_line = np.insert(sides == np.round(sides), crosses + 1, np.ones(len(crosses), np.bool_))
    return corners, is_line


def _moved(piece: Points) -> Points:
    """A chain between two antimeridians, onto the map; its ends exactly onto the border."""
    turns = np.round(np.mean([piece[:, 0].min(), piece[:, 0].max()]) / _TURN)
    moved = piece.copy()
    moved[:, 0] = np.clip(moved[:, 0] - turns * _TURN, -_HALF, _HALF)
    return moved


# --- walking along the border ---


def _closed_along_the_border(chains: Sequence[Points]) -> list[Points]:
    """Rings of chains, each joined to the next that begins where its end is, or counter-clockwise of it."""
    starts = np.array([_along_border(chain[0]) for chain in chains])
    left = set(range(len(chains)))
    rings: list[Points] = []
    while left:
        first = current = min(left)
        pieces: list[Points] = []
        while True:
            left.discard(current)
            end = _along_border(chains[current][-1])
            following = _next(starts, end, {*left, first})
            pieces += [chains[current], _corners_between(end, starts[following])]
            if following == first:
                break
            current = following
        rings.append(_without_repeats(np.concatenate(pieces)))
    return [ring for ring in rings if len(ring) > 2]


def _along_border(point: Points) -> float:
    """How far along the border a point on its right or left side is."""
    longitude, latitude = point
    return float(latitude + _POLE if longitude > 0 else 2 * _POLE + _TURN + _POLE - latitude)


def _next(starts: NDArray[np.float64], end: float, among: set[int]) -> int:
    return min(among, key=lambda one: (starts[one] - end) % _BORDER)


def _corners_between(end: float, start: float) -> Points:
    """The map's corners that a walk from one place on the border to another passes."""
    way = (start - end) % _BORDER
    corners = [
        (2 * _POLE, (_HALF, _POLE)),
        (2 * _POLE + _TURN, (-_HALF, _POLE)),
        (4 * _POLE + _TURN, (-_HALF, -_POLE)),
        (_BORDER, (_HALF, -_POLE)),
    ]
    passed = sorted(((at - end) % _BORDER, corner) for at, corner in corners if 0 < (at - end) % _BORDER < way)
    return np.array([corner for _, corner in passed], np.float64).reshape(-1, 2)


def _without_repeats(ring: Points) -> Points:
    moves = (ring != np.roll(ring, 1, axis=0)).any(axis=1)
    kept: Points = ring[moves]
    return kept


# --- holes ---


def _with_holes(outers: Sequence[Points], holes: Sequence[Points]) -> list[list[Points]]:
    polygons = [[outer] for outer in outers]
    for hole in holes:
        owner = next((one for one in polygons if len(polygons) == 1 or _holds(one[0], hole)), polygons[0])
        owner.append(hole)
    return polygons


def _holds(outer: Points, hole: Points) -> bool:
    """By the rule of even and odd, of a place just on the left of the hole's first edge, where the polygon is."""
    first, second = hole[0], hole[1]
    way = second - first
    x, y = (first + second) / 2 + np.array([-way[1], way[0]]) * 1e-6
    ends = np.roll(outer, -1, axis=0)
    spans = (outer[:, 1] > y) != (ends[:, 1] > y)
    begins, ends = outer[spans], ends[spans]
    at = begins[:, 0] + (y - begins[:, 1]) / (ends[:, 1] - begins[:, 1]) * (ends[:, 0] - begins[:, 0])
    return bool(np.count_nonzero(at > x) % 2)
