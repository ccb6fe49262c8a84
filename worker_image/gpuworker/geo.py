"""Where an image's pixels lie on earth, read from GeoTIFF tags: its reference system, its transform, areas in m².

GeoTIFF 1.1 (OGC 19-008r4), read as GDAL reads it, so that results lie where map programs show the image. Nothing here
raises for damaged tags: an image without a place is an image all the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpuworker.geo_units import DEGREE, METRES, RADIANS, unit_of
from gpuworker.masks import Instance
from gpuworker.tiff import GeoTag

_SCALE, _TIEPOINT, _MATRIX, _KEYS, _DOUBLES = 33550, 33922, 34264, 34735, 34736
_MODEL, _RASTER, _GEOGRAPHIC, _ANGULAR_UNIT, _ANGULAR_SIZE = 1024, 1025, 2048, 2054, 2055
_SEMI_MAJOR_M, _SEMI_MINOR_M, _INVERSE_FLATTENING = 2057, 2058, 2059
_PROJECTED, _PROJECTION, _LINEAR_UNIT, _LINEAR_SIZE_M = 3072, 3074, 3076, 3077
_MODEL_PROJECTED, _MODEL_GEOGRAPHIC, _PIXEL_IS_POINT = 1, 2, 2
_EPSG_CODES = range(1024, 32767)
"""32767 is user-defined, 0 undefined (GeoTIFF 1.1, 7.1.3)."""

_SLACK = 1e-6
_FARTHEST = 1e12
"""Beyond all units of all systems; what is larger is damage. Comparisons with it are false for what is no number."""
_WEB_MERCATOR = (3857, 3785)
_UTM_NORTH, _UTM_SOUTH = range(16001, 16061), range(16101, 16161)
"""Codes of projections; with a datum they make systems, whose codes begin at these."""
_UTM_ON: Mapping[int, tuple[range, int]] = {
    4326: (range(1, 61), 32600),
    4269: (range(1, 24), 26900),
    4258: (range(28, 39), 25800),
}
_WGS84_M, _WGS84_INVERSE_FLATTENING = 6_378_137.0, 298.257223563

NO_CRS, NOT_PLACED = "no_crs", "not_placed"


@dataclass(frozen=True, kw_only=True)
class Ellipsoid:
    """The figure of the earth that degrees refer to."""

    semi_major_m: float = _WGS84_M
    inverse_flattening: float = _WGS84_INVERSE_FLATTENING

    def square_radian_m2(self, latitude: NDArray[np.float64]) -> NDArray[np.float64]:
        """Square metres of a square radian of longitude by latitude: the radii of curvature M · N · cos(latitude)."""
        flattening = 1 / self.inverse_flattening if self.inverse_flattening else 0.0
        e2 = flattening * (2 - flattening)
        area: NDArray[np.float64] = (
            self.semi_major_m**2 * (1 - e2) * np.abs(np.cos(latitude)) / (1 - e2 * np.sin(latitude) ** 2) ** 2
        )
        return area


@dataclass(frozen=True, kw_only=True)
class Georeference:
    """The place of an image: x = a·column + b·row + c, y = d·column + e·row + f, from pixels' edges on."""

    epsg: int | None = None
    """None where the file describes a system of its own, or none."""
    transform: tuple[float, float, float, float, float, float] | None = None
    """(a, b, c, d, e, f); None where the tags place the image nowhere, or by more than an affine transform."""
    metres: float | None = None
    """Of a unit of a projected system; None where it is geographic or not known."""
    radians: float | None = None
    """Of a unit of a geographic system."""
    ellipsoid: Ellipsoid = Ellipsoid()

    @property
    def crs(self) -> str | None:
        return None if self.epsg is None else f"EPSG:{self.epsg}"

    @property
    def warnings(self) -> tuple[str, ...]:
        """Stable words: what people have to know about this place."""
        return (NOT_PLACED,) if self.transform is None else (NO_CRS,) if self.epsg is None else ()

    @property
    def pixel(self) -> float:
        """Side of a pixel in the system's unit: the smaller one."""
        a, b, _, d, e, _ = self._placed
        return min(math.hypot(a, d), math.hypot(b, e))

    def at(self, corners: NDArray[Any]) -> NDArray[np.float64]:
        """Coordinates (N×2 x, y) of places in the image (N×2 column, row); (0, 0) is the image's left upper corner."""
        a, b, c, d, e, f = self._placed
        columns, rows = corners[:, 0].astype(np.float64), corners[:, 1].astype(np.float64)
        return np.stack([a * columns + b * rows + c, d * columns + e * rows + f], axis=1)

    def area_m2(self, one: Instance) -> float | None:
        """Square metres that a mask covers; None where the tags do not tell how large a pixel is."""
        if self.transform is None or (self.metres is None and self.radians is None):
            return None
        a, b, _, d, e, _ = self.transform
        pixel = abs(a * e - b * d)
        if self.metres is not None and self.epsg not in _WEB_MERCATOR:
            return one.area * pixel * self.metres**2
        in_row = np.count_nonzero(one.mask, axis=1)
        unit_m2 = self._unit_m2(self._middles(one))
        return None if unit_m2 is None else float(pixel * np.sum(in_row * unit_m2))

    def _middles(self, one: Instance) -> NDArray[np.float64]:
        """y at the middle of each row of an instance's crop."""
        rows = one.y + 0.5 + np.arange(one.mask.shape[0])
        return self.at(np.stack([np.full(len(rows), one.x + one.mask.shape[1] / 2), rows], axis=1))[:, 1]

    def _unit_m2(self, y: NDArray[np.float64]) -> NDArray[np.float64] | None:
        """Square metres of a square unit at y; None where that is not on earth."""
        if self.radians is not None:
            latitude = y * self.radians
            is_on_earth = bool((np.abs(latitude) <= math.pi / 2 + _SLACK).all())
            return self.radians**2 * self.ellipsoid.square_radian_m2(latitude) if is_on_earth else None
        # Web Mercator draws latitudes of the ellipsoid on a sphere (EPSG method 1024): scale grows with latitude,
        # so that its square metres are worth a quarter at 60 degrees.
        latitude = np.arctan(np.sinh(np.clip(y / _WGS84_M, -20, 20)))
        return self.ellipsoid.square_radian_m2(latitude) / (_WGS84_M**2 / np.cos(latitude))

    @property
    def _placed(self) -> tuple[float, float, float, float, float, float]:
        if self.transform is None:
            raise ValueError("the image has no place on earth")
        return self.transform


def georeference(tags: Sequence[GeoTag]) -> Georeference | None:
    """Read the tags; None where there are none. What is damaged or contradicts itself is left out."""
    if not tags:
        return None
    values = _Values.of(tags)
    transform = values.transform()
    geographic = values.model == _MODEL_GEOGRAPHIC
    return Georeference(
        epsg=values.epsg(_GEOGRAPHIC) if geographic else values.projected(),
        transform=transform,
        metres=None if geographic else values.metres(),
        radians=values.radians() if geographic else None,
        ellipsoid=values.ellipsoid(),
    )


@dataclass(frozen=True, kw_only=True)
class _Values:
    """The tags' numbers, and the keys of the directory; all that could not be read is missing."""

    numbers: Mapping[int, Sequence[float]]

    @classmethod
    def of(cls, tags: Sequence[GeoTag]) -> _Values:
        return cls(numbers={tag.code: _numbers(tag.value) for tag in tags})

    @cached_property
    def keys(self) -> Mapping[int, int | float]:
        """GeoKey -> its number: (key, 0, 1, value) holds it, (key, 34736, 1, index) says which double it is."""
        directory, doubles = self.numbers.get(_KEYS, ()), self.numbers.get(_DOUBLES, ())
        found: dict[int, int | float] = {}
        shorts = [int(number) if 0 <= number <= 0xFFFF else 0 for number in directory]
        for start in range(4, len(shorts) - 3, 4):
            key, place, count, value = shorts[start : start + 4]
            if place == 0:
                found[key] = value
            elif place == _DOUBLES and count == 1 and 0 <= value < len(doubles):
                found[key] = doubles[value]
        return found

    @property
    def model(self) -> int:
        """Projected, geographic or another; where the file does not say, what it names tells."""
        is_geographic = _GEOGRAPHIC in self.keys and _PROJECTED not in self.keys
        return self._code(_MODEL) or (_MODEL_GEOGRAPHIC if is_geographic else _MODEL_PROJECTED)

    def _code(self, key: int) -> int:
        """A key's number as a code; 0 where there is none."""
        number = self.keys.get(key, 0)
        return number if isinstance(number, int) else 0

    def epsg(self, key: int) -> int | None:
        code = self._code(key)
        return code if code in _EPSG_CODES else None

    def projected(self) -> int | None:
        """The code of the projected system, unless the file has it in another unit than EPSG."""
        code = self.epsg(_PROJECTED) or self._utm()
        unit = self._code(_LINEAR_UNIT)
        return code if code is None or not unit or unit == unit_of(code) else None

    def _utm(self) -> int | None:
        """Of a file that names datum and zone but not the system that they make, as older programs wrote them."""
        projection, (zones, first) = self._code(_PROJECTION), _UTM_ON.get(self._code(_GEOGRAPHIC), (range(0), 0))
        if projection in _UTM_NORTH and projection - 16000 in zones:
            return first + projection - 16000
        return 32700 + projection - 16100 if projection in _UTM_SOUTH and first == 32600 else None

    def metres(self) -> float | None:
        """Length of the unit of a projected system."""
        code, unit = self.epsg(_PROJECTED), self._code(_LINEAR_UNIT)
        if not unit and code is not None:
            unit = unit_of(code)
        return METRES.get(unit) or _positive(self.keys.get(_LINEAR_SIZE_M))

    def radians(self) -> float:
        """Angle of the unit of a geographic system: degrees unless the file says otherwise."""
        unit = self._code(_ANGULAR_UNIT)
        return RADIANS.get(unit) or _positive(self.keys.get(_ANGULAR_SIZE)) or RADIANS[DEGREE]

    def ellipsoid(self) -> Ellipsoid:
        """That of the file where it describes one, else WGS 84, of which no other differs by more than 0.1 %."""
        major = _positive(self.keys.get(_SEMI_MAJOR_M)) or 0.0
        inverse = _positive(self.keys.get(_INVERSE_FLATTENING)) or 0.0
        minor = _positive(self.keys.get(_SEMI_MINOR_M)) or 0.0
        if not inverse and 0.9 * major < minor < major:
            inverse = major / (major - minor)
        is_earth = 6.3e6 < major < 6.4e6 and inverse > 200
        return Ellipsoid(semi_major_m=major, inverse_flattening=inverse) if is_earth else Ellipsoid()

    def transform(self) -> tuple[float, float, float, float, float, float] | None:
        """Scale and tie point before the matrix, as GDAL does; from pixels' middles to their edges where need be."""
        found = self._by_scale() or self._by_matrix()
        if found is None:
            return None
        a, b, c, d, e, f = found
        if self.keys.get(_RASTER) == _PIXEL_IS_POINT:
            c, f = c - (a + b) / 2, f - (d + e) / 2
        pixel = a * e - b * d
        is_sound = all(abs(number) < _FARTHEST for number in (a, b, c, d, e, f, pixel)) and pixel != 0
        return (a, b, c, d, e, f) if is_sound else None

    def _by_scale(self) -> tuple[float, float, float, float, float, float] | None:
        scale, tie = self.numbers.get(_SCALE, ()), self.numbers.get(_TIEPOINT, ())
        if len(scale) < 2 or len(tie) < 6 or not (scale[0] and scale[1]):
            return None
        # A negative scale in y is a writer's mistake for north-up; GDAL takes it so.
        across, down = scale[0], -abs(scale[1])
        return across, 0.0, tie[3] - tie[0] * across, 0.0, down, tie[4] - tie[1] * down

    def _by_matrix(self) -> tuple[float, float, float, float, float, float] | None:
        m = self.numbers.get(_MATRIX, ())
        return (m[0], m[1], m[3], m[4], m[5], m[7]) if len(m) >= 8 else None


def _numbers(value: Any) -> Sequence[float]:
    """A tag's value as numbers; () for text and what else is none."""
    try:
        return tuple(float(number) for number in np.atleast_1d(np.asarray(value)).tolist())
    except (TypeError, ValueError):
        return ()


def _positive(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) and number > 0 else None
