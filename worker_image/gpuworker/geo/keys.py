"""GeoTIFF's tags as numbers and texts: the keys of its directory, and its transform. Nothing here raises for damage."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from gpuworker.images.tiff.file import GeoTag

SCALE, TIEPOINT, MATRIX, KEYS, DOUBLES, TEXTS = 33550, 33922, 34264, 34735, 34736, 34737
MODEL, RASTER, CITATION, GEOGRAPHIC, GEOGRAPHIC_CITATION = 1024, 1025, 1026, 2048, 2049
DATUM, PRIME_MERIDIAN, ANGULAR_UNIT, ANGULAR_SIZE, ELLIPSOID = 2050, 2051, 2054, 2055, 2056
SEMI_MAJOR_M, SEMI_MINOR_M, INVERSE_FLATTENING, PRIME_MERIDIAN_LONGITUDE = 2057, 2058, 2059, 2061
PROJECTED, PROJECTED_CITATION, PROJECTION, METHOD, LINEAR_UNIT, LINEAR_SIZE_M = 3072, 3073, 3074, 3075, 3076, 3077
MODEL_PROJECTED, MODEL_GEOGRAPHIC, PIXEL_IS_POINT = 1, 2, 2
EPSG_CODES = range(1024, 32767)
"""32767 is user-defined, 0 undefined (GeoTIFF 1.1, 7.1.3)."""

_FARTHEST = 1e12
"""Beyond all units of all systems; what is larger is damage. Comparisons with it are false for what is no number."""

Affine = tuple[float, float, float, float, float, float]
"""(a, b, c, d, e, f): x = a·column + b·row + c, y = d·column + e·row + f, from pixels' edges on."""


@dataclass(frozen=True, kw_only=True)
class GeoKeys:
    """The tags' numbers, and the keys of the directory; all that could not be read is missing."""

    numbers: Mapping[int, Sequence[float]]
    text: str = ""
    """All texts of the directory, one after another."""

    @classmethod
    def of(cls, tags: Sequence[GeoTag]) -> GeoKeys:
        texts = [_text(tag.value) for tag in tags if tag.code == TEXTS]
        return cls(numbers={tag.code: _numbers(tag.value) for tag in tags}, text="".join(texts))

    @cached_property
    def _entries(self) -> Mapping[int, tuple[int, int, int]]:
        """Key -> where its value is, how many there are, and the value or the index of the first."""
        shorts = [int(number) if 0 <= number <= 0xFFFF else 0 for number in self.numbers.get(KEYS, ())]
        starts = range(4, len(shorts) - 3, 4)
        return {shorts[at]: (shorts[at + 1], shorts[at + 2], shorts[at + 3]) for at in starts}

    @cached_property
    def values(self) -> Mapping[int, int | float]:
        """Key -> its number: (key, 0, 1, value) holds it, (key, 34736, 1, index) says which double it is."""
        doubles = self.numbers.get(DOUBLES, ())
        found: dict[int, int | float] = {}
        for key, (place, count, value) in self._entries.items():
            if place == 0:
                found[key] = value
            elif place == DOUBLES and count == 1 and 0 <= value < len(doubles):
                found[key] = doubles[value]
        return found

    def citation(self, key: int) -> str:
        """A key's text; "" where there is none."""
        place, count, start = self._entries.get(key, (0, 0, 0))
        return self.text[start : start + count].rstrip("|\0 ") if place == TEXTS else ""

    def code(self, key: int) -> int:
        """A key's number as a code; 0 where there is none."""
        number = self.values.get(key, 0)
        return number if isinstance(number, int) else 0

    def epsg(self, key: int) -> int | None:
        code = self.code(key)
        return code if code in EPSG_CODES else None

    def number(self, *keys: int) -> float | None:
        """The first of the keys that holds a number."""
        found = (self.values.get(key) for key in keys)
        return next((float(one) for one in found if one is not None and math.isfinite(one)), None)

    def numbers_of(self, key: int) -> Sequence[float]:
        """All the doubles of a key."""
        place, count, start = self._entries.get(key, (0, 0, 0))
        return tuple(self.numbers.get(DOUBLES, ())[start : start + count]) if place == DOUBLES else ()

    def positive(self, key: int) -> float | None:
        number = self.number(key)
        return number if number is not None and number > 0 else None

    @property
    def model(self) -> int:
        """Projected, geographic or another; where the file does not say, what it names tells."""
        is_geographic = GEOGRAPHIC in self.values and PROJECTED not in self.values
        return self.code(MODEL) or (MODEL_GEOGRAPHIC if is_geographic else MODEL_PROJECTED)

    def transform(self) -> Affine | None:
        """Scale and tie point before the matrix, as GDAL does; from pixels' middles to their edges where need be."""
        found = self._by_scale() or self._by_matrix()
        if found is None:
            return None
        if self.values.get(RASTER) == PIXEL_IS_POINT:
            found = from_middles(found)
        return found if is_sound(found) else None

    def _by_scale(self) -> Affine | None:
        scale, tie = self.numbers.get(SCALE, ()), self.numbers.get(TIEPOINT, ())
        if len(scale) < 2 or len(tie) < 6 or not (scale[0] and scale[1]):
            return None
        # A negative scale in y is a writer's mistake for north-up; GDAL takes it so.
        across, down = scale[0], -abs(scale[1])
        return across, 0.0, tie[3] - tie[0] * across, 0.0, down, tie[4] - tie[1] * down

    def _by_matrix(self) -> Affine | None:
        m = self.numbers.get(MATRIX, ())
        return (m[0], m[1], m[3], m[4], m[5], m[7]) if len(m) >= 8 else None


def from_middles(middles: Affine) -> Affine:
    """The transform from pixels' edges on, of one that gives the left upper pixel's middle."""
    a, b, c, d, e, f = middles
    return a, b, c - (a + b) / 2, d, e, f - (d + e) / 2


def is_sound(transform: Affine) -> bool:
    """Does it place an image somewhere, and with an area?"""
    a, b, _, d, e, _ = transform
    pixel = a * e - b * d
    return all(abs(number) < _FARTHEST for number in (*transform, pixel)) and pixel != 0


def _numbers(value: Any) -> Sequence[float]:
    """A tag's value as numbers; () for text and what else is none."""
    try:
        return tuple(float(number) for number in np.atleast_1d(np.asarray(value)).tolist())
    except (TypeError, ValueError):
        return ()


def _text(value: Any) -> str:
    """A tag's value as text, a character a byte, so that the directory's indices fit."""
    if isinstance(value, bytes):
        return value.decode("latin-1")
    return value if isinstance(value, str) else ""
