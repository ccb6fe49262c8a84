"""How a GeoTIFF's own projection is written, method by method, and the same as PROJ calls it.

The methods are those of GeoTIFF 1.1, annex C, that EPSG knows; which of its keys a parameter is taken from is as GDAL
reads them, whose writers have never agreed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["angle", "length", "scale"]


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """A number of a projection, by EPSG's name."""

    name: str
    keys: Sequence[int]
    """GeoKeys, of which the first that is there has it."""
    kind: Kind
    default: float = 0.0
    epsg: int | None = None
    """EPSG's number of it, where EPSG has renamed it: PROJ takes the Swiss projection of an azimuth only of 90 degrees
    that it knows for one."""


@dataclass(frozen=True, kw_only=True)
class Method:
    """A projection's way of calculating, by EPSG's name (or PROJ's, where EPSG has none)."""

    name: str
    parameters: Sequence[Parameter]


def _angle(name: str, *keys: int, default: float = 0.0) -> Parameter:
    return Parameter(name=name, keys=keys, kind="angle", default=default)


def _scale(name: str, *keys: int) -> Parameter:
    return Parameter(name=name, keys=keys, kind="scale", default=1.0)


def _lengths(east: str, north: str, *keys: int) -> tuple[Parameter, Parameter]:
    easting, northing = (3082, *keys[:1]), (3083, *keys[1:])
    return (
        Parameter(name=east, keys=easting, kind="length"),
        Parameter(name=north, keys=northing, kind="length"),
    )


_LATITUDE, _LONGITUDE = "Latitude of natural origin", "Longitude of natural origin"
_SCALE = "Scale factor at natural origin"
_FALSE = _lengths("False easting", "False northing", 3086, 3087)
_AT_FALSE_ORIGIN = _lengths("Easting at false origin", "Northing at false origin", 3086, 3087)
_AT_CENTRE = _lengths("Easting at projection centre", "Northing at projection centre", 3090, 3091)
_ORIGIN = (_angle(_LATITUDE, 3081, 3085, 3089), _angle(_LONGITUDE, 3080, 3084, 3088))
_SCALED = (*_ORIGIN, _scale(_SCALE, 3092, 3093), *_FALSE)
_CENTRE = (_angle(_LATITUDE, 3089, 3081, 3085), _angle(_LONGITUDE, 3088, 3080, 3084), *_FALSE)
_LONGITUDE_ONLY = (_angle(_LONGITUDE, 3088, 3080, 3084, 3095), *_FALSE)
_CONIC = (
    _angle("Latitude of false origin", 3085, 3081, 3089),
    _angle("Longitude of false origin", 3084, 3080, 3088),
    _angle("Latitude of 1st standard parallel", 3078),
    _angle("Latitude of 2nd standard parallel", 3079),
    *_AT_FALSE_ORIGIN,
)
_ALBERS = (
    _angle("Latitude of false origin", 3081, 3085, 3089),
    _angle("Longitude of false origin", 3080, 3084, 3088),
    *_CONIC[2:],
)
_POLE = (_angle(_LATITUDE, 3081, 3085, 3089, default=90.0), _angle(_LONGITUDE, 3095, 3080, 3084, 3088))
_OBLIQUE = (
    _angle("Latitude of projection centre", 3089, 3081, 3085),
    _angle("Longitude of projection centre", 3088, 3080, 3084),
    Parameter(name="Azimuth of initial line", keys=(3094,), kind="angle", epsg=8813),
    _angle("Angle from Rectified to Skew Grid", 3096, default=90.0),
    _scale("Scale factor at projection centre", 3093, 3092),
)

METHODS: Mapping[int, Method] = {
    1: Method(name="Transverse Mercator", parameters=_SCALED),
    3: Method(name="Hotine Oblique Mercator (variant A)", parameters=(*_OBLIQUE, *_FALSE)),
    7: Method(name="Mercator (variant A)", parameters=_SCALED),
    8: Method(name="Lambert Conic Conformal (2SP)", parameters=_CONIC),
    9: Method(name="Lambert Conic Conformal (1SP)", parameters=_SCALED),
    10: Method(name="Lambert Azimuthal Equal Area", parameters=_CENTRE),
    11: Method(name="Albers Equal Area", parameters=_ALBERS),
    12: Method(name="Azimuthal Equidistant", parameters=_CENTRE),
    13: Method(name="Equidistant Conic", parameters=_ALBERS),
    14: Method(name="Stereographic", parameters=(*_CENTRE[:2], _scale(_SCALE, 3092, 3093), *_FALSE)),
    15: Method(name="Polar Stereographic (variant A)", parameters=(*_POLE, _scale(_SCALE, 3092, 3093), *_FALSE)),
    16: Method(name="Oblique Stereographic", parameters=_SCALED),
    17: Method(
        name="Equidistant Cylindrical",
        parameters=(
            _angle("Latitude of 1st standard parallel", 3078),
            _angle(_LATITUDE, 3089, 3081, 3085),
            _angle(_LONGITUDE, 3088, 3080, 3084),
            *_FALSE,
        ),
    ),
    18: Method(name="Cassini-Soldner", parameters=(*_ORIGIN, *_FALSE)),
    19: Method(name="Gnomonic", parameters=_CENTRE),
    20: Method(name="Miller Cylindrical", parameters=_LONGITUDE_ONLY),
    21: Method(name="Orthographic", parameters=_CENTRE),
    22: Method(name="American Polyconic", parameters=(*_ORIGIN, *_FALSE)),
    23: Method(name="Robinson", parameters=_LONGITUDE_ONLY),
    24: Method(name="Sinusoidal", parameters=_LONGITUDE_ONLY),
    25: Method(name="Van Der Grinten", parameters=_LONGITUDE_ONLY),
    26: Method(name="New Zealand Map Grid", parameters=(*_ORIGIN, *_FALSE)),
    27: Method(name="Transverse Mercator (South Orientated)", parameters=_SCALED),
    28: Method(name="Lambert Cylindrical Equal Area", parameters=(_CONIC[2], _angle(_LONGITUDE, 3080, 3084), *_FALSE)),
    9815: Method(name="Hotine Oblique Mercator (variant B)", parameters=(*_OBLIQUE, *_AT_CENTRE)),
}
"""GeoTIFF's code -> method."""
MERCATOR, POLAR, STANDARD_PARALLEL = 7, 15, 3078
MERCATOR_B = Method(
    name="Mercator (variant B)",
    parameters=(_angle("Latitude of 1st standard parallel", 3078), _angle(_LONGITUDE, 3080, 3084), *_FALSE),
)
"""Mercator that is given by the parallel that is true to scale."""
POLAR_B = Method(
    name="Polar Stereographic (variant B)",
    parameters=(
        _angle("Latitude of standard parallel", 3081, 3085, 3089),
        _angle("Longitude of origin", 3095, 3080, 3084, 3088),
        *_FALSE,
    ),
)
"""The same of the polar stereographic projection."""
