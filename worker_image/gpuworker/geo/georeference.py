"""Where an image's pixels lie on earth, read from GeoTIFF tags: its reference system, its transform, areas in m².

GeoTIFF 1.1 (OGC 19-008r4), read as GDAL reads it, so that results lie where map programs show the image. Nothing here
raises for damaged tags: an image without a place is an image all the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpuworker.geo.ellipsoid import WGS84_M, Ellipsoid
from gpuworker.geo.keys import Affine, GeoKeys
from gpuworker.geo.system import System, system_of
from gpuworker.geo.wgs84 import OffTheMapError, to_wgs84
from gpuworker.images.masked import Masked
from gpuworker.images.tiff.file import GeoTag

_SLACK = 1e-6
_TRUE_TO = 0.01
"""UTM and national grids are true to 0.3 % where they are used, and their square metres are those that GIS programs
count; systems of whole continents and of the sea (World Mercator: 2.4 times at 50 degrees) are not."""
_SHORT_WAY_M = 10.0
"""Places on earth have 15 digits, so that an area by so short a way is true to nine."""
NO_CRS, NOT_PLACED = "no_crs", "not_placed"


@dataclass(frozen=True, kw_only=True)
class Georeference(System):
    """The place of an image: x = a·column + b·row + c, y = d·column + e·row + f, from pixels' edges on."""

    transform: Affine | None = None
    """None where the tags place the image nowhere, or by more than an affine transform."""

    @property
    def crs(self) -> str | None:
        """By its code, as COCO has it; None for a system that has none."""
        return None if self.epsg is None else f"EPSG:{self.epsg}"

    @property
    def warnings(self) -> tuple[str, ...]:
        """Stable words: what people have to know about this place."""
        return (NOT_PLACED,) if self.transform is None else (NO_CRS,) if self.definition is None else ()

    @property
    def pixel(self) -> float:
        """Side of a pixel in the system's unit: the smaller one."""
        a, b, _, d, e, _ = self._placed
        return min(math.hypot(a, d), math.hypot(b, e))

    def at(self, corners: NDArray[Any]) -> NDArray[np.float64]:
        """Coordinates (N×2 x, y) of places in the image (N×2 column, row, of any dtype); (0, 0) is the image's left
        upper corner."""
        a, b, c, d, e, f = self._placed
        columns, rows = corners[:, 0].astype(np.float64), corners[:, 1].astype(np.float64)
        return np.stack([a * columns + b * rows + c, d * columns + e * rows + f], axis=1)

    def area_m2(self, one: Masked) -> float | None:
        """Square metres that a mask covers; None where the tags do not tell how large a pixel is."""
        if self.transform is None or (self.metres is None and self.radians is None):
            return None
        a, b, _, d, e, _ = self.transform
        pixel = abs(a * e - b * d)
        if self.metres is not None and not self.is_web_mercator:
            counted = one.area * pixel * self.metres**2
            stretch = self._stretch(one)
            return counted if stretch is None else counted / stretch
        in_row = np.count_nonzero(one.mask, axis=1)
        unit_m2 = self._unit_m2(self._middles(one))
        return None if unit_m2 is None else float(pixel * np.sum(in_row * unit_m2))

    def _stretch(self, one: Masked) -> float | None:
        """By how much the system's square metres are more than the ground's, as a mean over an instance's rows; None
        where that is less than `_TRUE_TO`, or nobody can say."""
        if self.definition is None or self.metres is None:
            return None
        middle = np.array([[one.x + one.width / 2, one.y + one.height / 2]])
        if not self._is_stretched(self._ground_m2(self.at(middle))):
            return None
        in_row = np.count_nonzero(one.mask, axis=1)
        rows = one.y + 0.5 + np.arange(len(in_row))
        ground = self._ground_m2(self.at(np.stack([np.full(len(rows), middle[0, 0]), rows], axis=1)))
        return float(in_row.sum() / np.sum(in_row * ground)) if np.isfinite(ground).all() else None

    @staticmethod
    def _is_stretched(ground: NDArray[np.float64]) -> bool:
        return bool(np.isfinite(ground).all() and (np.abs(ground - 1) > _TRUE_TO).any())

    def _ground_m2(self, at: NDArray[np.float64]) -> NDArray[np.float64]:
        """Square metres on the ground that a square metre of the system covers at N places; NaN where nobody can say.

        By the parallelogram of short ways east and north, seen from the middle of the earth.
        """
        short = _SHORT_WAY_M / (self.metres or 1.0)
        ways = short * np.array([(1, 0), (-1, 0), (0, 1), (0, -1)])
        ends = (at[None] + ways[:, None]).reshape(-1, 2)
        try:
            longitude, latitude = to_wgs84(str(self.definition)).transform(ends[:, 0], ends[:, 1])
        except OffTheMapError:
            return np.full(len(at), np.nan)
        with np.errstate(invalid="ignore"):  # of places that are nowhere on earth
            found = Ellipsoid().places(np.radians(longitude), np.radians(latitude)).reshape(4, -1, 3)
            sides = np.cross(found[0] - found[1], found[2] - found[3])
        area: NDArray[np.float64] = np.sqrt((sides**2).sum(axis=1)) / (2 * _SHORT_WAY_M) ** 2
        return area

    def _middles(self, one: Masked) -> NDArray[np.float64]:
        """y at the middle of each row of an instance's crop."""
        rows = one.y + 0.5 + np.arange(one.height)
        return self.at(np.stack([np.full(len(rows), one.x + one.width / 2), rows], axis=1))[:, 1]

    def _unit_m2(self, y: NDArray[np.float64]) -> NDArray[np.float64] | None:
        """Square metres of a square unit at y; None where that is not on earth."""
        if self.radians is not None:
            latitude = y * self.radians
            is_on_earth = bool((np.abs(latitude) <= math.pi / 2 + _SLACK).all())
            return self.radians**2 * self.ellipsoid.square_radian_m2(latitude) if is_on_earth else None
        # Web Mercator draws latitudes of the ellipsoid on a sphere (EPSG method 1024): scale grows with latitude,
        # so that its square metres are worth a quarter at 60 degrees.
        latitude = np.arctan(np.sinh(np.clip(y / WGS84_M, -20, 20)))
        return self.ellipsoid.square_radian_m2(latitude) / (WGS84_M**2 / np.cos(latitude))

    @property
    def _placed(self) -> Affine:
        if self.transform is None:
            raise ValueError("the image has no place on earth")
        return self.transform


def georeference(tags: Sequence[GeoTag]) -> Georeference | None:
    """Read the tags; None where there are none. What is damaged or contradicts itself is left out."""
    if not tags:
        return None
    keys = GeoKeys.of(tags)
    return Georeference(**vars(system_of(keys)), transform=keys.transform())
