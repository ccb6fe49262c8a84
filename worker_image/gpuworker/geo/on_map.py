"""Rings of an image in WGS 84, longitude before latitude, as RFC 7946 wants them.

What is straight in the image may be bent in degrees; corners are added until no edge is off by more than a small part
of a pixel. Shifts between datums are those of PROJ's database; nothing is asked of the network.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from pyproj.enums import TransformDirection
from pyproj.exceptions import ProjError

from gpuworker.geo.antimeridian import Ring, polygons_of
from gpuworker.geo.ellipsoid import WGS84_M
from gpuworker.geo.georeference import Georeference
from gpuworker.geo.rings import Part
from gpuworker.geo.wgs84 import OffTheMapError, to_wgs84

Points = NDArray[np.float64]
"""N×2: x before y, longitude before latitude."""

_OFF_BY_PIXELS = 0.02
"""The most that an edge may be off; a mask is worth half a pixel at its edge, so nobody sees it, and a field of a
thousand pixels of 10 cm needs no corner more."""
_LOOK_AT = 3 / 8
"""Where on an edge that is measured: not its middle, in which an edge that is bent like an S is not off at all."""
_SPLITS_AT_MOST = 12
_BENT_FROM_PX = 2
"""Shorter edges are off by less than that in all systems, unless a pixel is a good part of the earth."""
_POLE = 90.0
_TURNS_AT_MOST = 1.5
"""Longitudes are written from -180 or from 0 on, and an image may go on to the east of either by half a turn."""


class OnMap:
    """The way from one image's pixels to longitude and latitude. Any thread may use it."""

    def __init__(self, place: Georeference) -> None:
        """`place` must have a transform and a system that is known."""
        self._place = place

    def polygons(self, part: Part) -> list[list[Points]]:
        """The polygons that a connected part of a mask is on the map: rings, the outer one first, not closed.

        Most often one; several where it crosses the antimeridian. Raises OffTheMapError.
        """
        rings = [self._ring(part.outer, is_hole=False), *(self._ring(hole, is_hole=True) for hole in part.holes)]
        return polygons_of(rings)

    def is_off(self, *, height: int, width: int) -> bool:
        """Whether nothing of an image of this size lies on earth, by its corners and its middle."""
        ends = np.array([(0, 0), (width, 0), (0, height), (width, height), (width / 2, height / 2)], np.float64)
        return not self._are_on_earth(ends).any()

    def _are_on_earth(self, pixels: Points) -> NDArray[np.bool_]:
        """Which places have a longitude and a latitude that lead back to them.

        Some projections fold what is beyond them onto the earth; those that go around it may lead back a turn away.
        """
        degrees = self._degrees(pixels)
        finite: NDArray[np.bool_] = np.asarray(np.isfinite(degrees).all(axis=1))
        if self._place.radians is not None or not finite.any():
            return finite
        found = degrees[finite]
        transformer = to_wgs84(str(self._place.definition))
        _, y = transformer.transform(found[:, 0], found[:, 1], direction=TransformDirection.INVERSE)
        off = np.abs(np.asarray(y) - self._place.at(pixels[finite])[:, 1])
        finite[finite] = off <= self._place.pixel
        return finite

    @cached_property
    def is_rough(self) -> bool:
        """Whether nobody has told how the system's datum lies to WGS 84: places are off by up to some hundred metres.

        Not where the figure of the earth is that of WGS 84, or differs by less than a metre.
        """
        figure = self._place.ellipsoid
        if abs(figure.semi_major_m - WGS84_M) < 1 and abs(figure.inverse_flattening - 298.2572) < 0.001:
            return False
        transformer = to_wgs84(str(self._place.definition))
        middle = self._place.at(np.array([[0.0, 0.0]]))[0]
        transformer.transform(*middle)
        try:
            return "ballpark" in transformer.get_last_used_operation().description.lower()
        except ProjError:
            return False

    def _ring(self, ring: NDArray[np.int64], *, is_hole: bool) -> Ring:
        """With what it encloses on its left, as the crow flies over the map."""
        corners = ring.astype(np.float64)
        if (_twice_area(corners) < 0) == (self._is_left_handed == is_hole):
            corners = corners[::-1]
        degrees = self._bent(corners)
        if not np.isfinite(degrees).all():
            raise OffTheMapError
        return Ring(degrees=degrees, is_hole=is_hole)

    @cached_property
    def _is_left_handed(self) -> bool:
        """Whether going round a pixel from column to row is going round clockwise on the map, as it mostly is."""
        a, b, _, d, e, _ = self._place.transform or (1.0, 0.0, 0.0, 0.0, -1.0, 0.0)
        return a * e - b * d < 0

    # --- bends ---

    def _bent(self, corners: Points) -> Points:
        """Degrees of a ring's corners, with more of them where its edges are bent."""
        with np.errstate(invalid="ignore"):  # of places that are nowhere on earth
            return self._split(corners)

    def _split(self, corners: Points) -> Points:
        pixels, degrees = corners, self._degrees(corners)
        looked_at = np.ones(len(pixels), np.bool_)
        for _ in range(_SPLITS_AT_MOST):
            split = np.flatnonzero(looked_at)[self._are_bent(pixels, degrees, np.flatnonzero(looked_at))]
            if not len(split):
                break
            middles = (pixels[split] + np.roll(pixels, -1, axis=0)[split]) / 2
            pixels = np.insert(pixels, split + 1, middles, axis=0)
            degrees = np.insert(degrees, split + 1, self._degrees(middles), axis=0)
            looked_at = _halves(len(pixels), split)
        return degrees

    def _are_bent(self, pixels: Points, degrees: Points, edges: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Which of the edges (each by the index of its first corner) are off by too much."""
        start, end = pixels[edges], pixels[(edges + 1) % len(pixels)]
        px = np.hypot(*(end - start).T)
        bent = np.zeros(len(edges), np.bool_)
        long = np.flatnonzero(px >= _BENT_FROM_PX if self._is_fine else px > 0)
        if not len(long):
            return bent
        at = self._degrees(start[long] + _LOOK_AT * (end - start)[long])
        first, last = degrees[edges[long]], degrees[(edges[long] + 1) % len(pixels)]
        flat = np.stack([np.cos(np.radians(first[:, 1])), np.ones(len(long))], axis=1)
        went, chord = _turn(at - first) * flat, _turn(last - first) * flat
        off, way = np.hypot(*(went - _LOOK_AT * chord).T), np.hypot(*went.T)
        # The way to where it is measured tells what a pixel along the edge is in degrees; pixels may be oblong.
        allowed = _OFF_BY_PIXELS * way / (_LOOK_AT * px[long]) * self._slenderness(end[long] - start[long])
        bent[long] = off > allowed
        return bent

    @cached_property
    def _is_fine(self) -> bool:
        """Whether a pixel is less than 10 km, so that the earth is flat under two."""
        place = self._place
        metres = place.metres if place.radians is None else place.radians * WGS84_M
        return metres is not None and metres * place.pixel < 10_000

    def _slenderness(self, ways: Points) -> NDArray[np.float64]:
        """The smaller side of a pixel by its side along each way."""
        a, b, _, d, e, _ = self._place.transform or (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
        along = np.hypot(ways[:, 0] * a + ways[:, 1] * b, ways[:, 0] * d + ways[:, 1] * e)
        share: NDArray[np.float64] = self._place.pixel * np.hypot(*ways.T) / along
        return share

    # --- the transformation ---

    def _degrees(self, pixels: Points) -> Points:
        """Longitude and latitude; infinite where that is nowhere."""
        at = self._place.at(pixels)
        if (radians := self._place.radians) is not None:
            at = _of_a_globe(at, np.pi / 2 / radians, self._place.pixel)
        x, y = to_wgs84(str(self._place.definition)).transform(at[:, 0], at[:, 1])
        degrees = np.stack([np.asarray(x), np.asarray(y)], axis=1)
        degrees[np.abs(degrees[:, 1]) > _POLE + 1e-9] = np.inf
        return degrees


def _of_a_globe(at: Points, pole: float, pixel: float) -> Points:
    """Longitudes and latitudes as they are; infinite where they are none, but metres, of which PROJ makes some.

    Grids of the whole earth begin with a pixel whose middle is the pole; half of it lies beyond.
    """
    x, y = at.T
    on_it = np.where((np.abs(y) > pole) & (np.abs(y) <= pole + pixel), np.sign(y) * pole, y)
    is_one = (np.abs(on_it) <= pole) & (np.abs(x) <= _TURNS_AT_MOST * 4 * pole)
    return np.where(is_one[:, None], np.stack([x, on_it], axis=1), np.inf)


def _halves(corners: int, split: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Which edges came from those at `split`, in the ring that has a corner more for each."""
    first = split + np.arange(len(split))
    marks = np.zeros(corners, np.bool_)
    marks[first] = marks[first + 1] = True
    return marks


def _turn(ways: Points) -> Points:
    """Differences of degrees, longitude the shorter way round."""
    return np.stack([(ways[:, 0] + 180) % 360 - 180, ways[:, 1]], axis=1)


def _twice_area(corners: Points) -> float:
    x, y = (corners - corners[0]).T
    return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))
