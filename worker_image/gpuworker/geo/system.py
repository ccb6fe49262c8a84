"""The coordinate reference system that GeoTIFF keys describe, by code or by all its numbers, as PROJ knows it.

Read as GDAL reads it: a unit that contradicts a code makes another system of it; `ESRI PE String` in a citation holds
what has neither code nor method; of a compound system the horizontal part is taken, and heights are ignored.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from pyproj import CRS
from pyproj.crs import BoundCRS, GeographicCRS, ProjectedCRS
from pyproj.crs.coordinate_operation import ToWGS84Transformation
from pyproj.crs.datum import CustomDatum
from pyproj.exceptions import CRSError

from gpuworker.geo import keys as key
from gpuworker.geo.ellipsoid import Ellipsoid
from gpuworker.geo.keys import GeoKeys
from gpuworker.geo.methods import MERCATOR, MERCATOR_B, METHODS, POLAR, POLAR_B, STANDARD_PARALLEL, Method, Parameter
from gpuworker.geo.units import DEGREE, metres_of, radians_of

_TO_WGS84 = 2062
"""GDAL's own key: three or seven numbers."""
_PE_STRING = re.compile(r"ESRI PE String\s*=\s*(.+)", re.DOTALL | re.IGNORECASE)
_WEB_MERCATOR = "Popular Visualisation Pseudo Mercator", "Mercator (Web Mercator)"
_URN = "urn:ogc:def:"
_DEGREE_RADIANS = math.pi / 180


@dataclass(frozen=True, kw_only=True)
class System:
    """A system of two horizontal coordinates, x (east) before y (north)."""

    epsg: int | None = None
    """None where the file describes a system of its own, or none."""
    wkt: str | None = None
    """Of a system that is known but has no code."""
    metres: float | None = None
    """Of a unit of a projected system; None where it is geographic or not known."""
    radians: float | None = None
    """Of a unit of a geographic system."""
    ellipsoid: Ellipsoid = field(default_factory=Ellipsoid)
    is_web_mercator: bool = False

    @property
    def definition(self) -> str | None:
        """What PROJ makes the system of (`EPSG:32617`, or WKT); None where it is not known."""
        return self.wkt if self.epsg is None else f"EPSG:{self.epsg}"


def system_of(keys: GeoKeys) -> System:
    """The system that the keys describe; where they describe none that is known, what they say of its units."""
    described = described_as(keys)
    if described is not None:
        return described
    geographic = keys.model == key.MODEL_GEOGRAPHIC
    return System(
        metres=None if geographic else metres_of(keys.code(key.LINEAR_UNIT)) or keys.positive(key.LINEAR_SIZE_M),
        radians=_radians(keys) if geographic else None,
        ellipsoid=_ellipsoid(keys),
    )


def described_as(keys: GeoKeys) -> System | None:
    """The system where it is known. PROJ refuses what is damaged in ways of its own, which is no reason to fail."""
    try:
        crs = _by_code(keys) or _by_text(keys) or _by_keys(keys)
        return None if crs is None else system_by(crs)
    except (CRSError, KeyError, ValueError, OverflowError):
        return None


def system_by(crs: CRS) -> System | None:
    """As PROJ's object says it; None for one that has no place on the map (heights, drawings, earth-centred)."""
    flat = _horizontal(crs)
    if flat is None:
        return None
    code = flat.to_epsg()
    return _measured(flat, code, None if code is not None else flat.to_wkt())


def _measured(crs: CRS, code: int | None, wkt: str | None) -> System:
    unit = float(crs.axis_info[0].unit_conversion_factor) if crs.axis_info else 1.0
    operation, figure = crs.coordinate_operation, crs.ellipsoid
    return System(
        epsg=code,
        wkt=wkt,
        metres=None if crs.is_geographic else unit,
        radians=unit if crs.is_geographic else None,
        ellipsoid=Ellipsoid()
        if figure is None
        else Ellipsoid(semi_major_m=figure.semi_major_metre, inverse_flattening=figure.inverse_flattening),
        is_web_mercator=operation is not None and operation.method_name in _WEB_MERCATOR,
    )


def _horizontal(crs: CRS) -> CRS | None:
    if crs.is_compound:
        return _horizontal(crs.sub_crs_list[0])
    if not (crs.is_geographic or crs.is_projected):
        return None
    return crs.to_2d() if len(crs.axis_info) > 2 else crs


def _by_code(keys: GeoKeys) -> CRS | None:
    """Of the code that goes with the model; what kind of system has the code is the database's to say."""
    code = keys.epsg(key.GEOGRAPHIC if keys.model == key.MODEL_GEOGRAPHIC else key.PROJECTED)
    crs = None if code is None else _known(code)
    if crs is None or not crs.is_projected:
        return crs
    unit = metres_of(keys.code(key.LINEAR_UNIT))
    same = unit is None or math.isclose(unit, crs.axis_info[0].unit_conversion_factor, rel_tol=1e-9)
    return crs if same else _in_unit(crs, keys)


@lru_cache(maxsize=256)
def _known(code: int) -> CRS | None:
    """None for a code that the database does not have, and for what is no place on the map."""
    try:
        return _horizontal(CRS.from_epsg(code))
    except CRSError:
        return None


def _in_unit(crs: CRS, keys: GeoKeys) -> CRS:
    """The same projection, counted in the file's unit."""
    described = crs.to_json_dict()
    described.pop("id", None)
    return CRS.from_json_dict({**described, "coordinate_system": _cartesian(keys)})


def _by_text(keys: GeoKeys) -> CRS | None:
    """Of WKT that a citation holds, as ESRI's programs and GDAL write what GeoTIFF has no keys for."""
    for citation in (key.PROJECTED_CITATION, key.CITATION, key.GEOGRAPHIC_CITATION):
        if found := _PE_STRING.match(keys.citation(citation)):
            return CRS.from_wkt(found[1].strip())
    return None


def _by_keys(keys: GeoKeys) -> CRS | None:
    """Of a datum, and for a projected system a projection, number by number."""
    base = _geographic(keys)
    if base is None or keys.model == key.MODEL_GEOGRAPHIC:
        return base
    conversion = _conversion(keys) if keys.model == key.MODEL_PROJECTED else None
    if conversion is None:
        return None
    bound = base.source_crs if base.is_bound else None
    projected = CRS.from_json_dict(
        {
            "type": "ProjectedCRS",
            "name": _name(keys, key.CITATION),
            "base_crs": (bound or base).to_json_dict(),
            "conversion": conversion,
            "coordinate_system": _cartesian(keys),
        }
    )
    return projected if bound is None else _to_wgs84(projected, bound, keys)


# --- the datum ---


def _geographic(keys: GeoKeys) -> CRS | None:
    code = keys.epsg(key.GEOGRAPHIC)
    if code is not None:
        crs = _known(code)
        return crs if crs is not None and crs.is_geographic else None
    datum = _datum(keys)
    if datum is None:
        return None
    base = CRS.from_json_dict(
        {
            "type": "GeographicCRS",
            "name": _name(keys, key.GEOGRAPHIC_CITATION),
            **datum,
            "coordinate_system": _ellipsoidal(keys),
        }
    )
    return _to_wgs84(base, base, keys)


def _datum(keys: GeoKeys) -> Mapping[str, Any] | None:
    """One of EPSG's, or one without a name on the figure of the earth that the file gives; None where it gives none.

    As part of a geographic system: by the name that it has there.
    """
    code = keys.epsg(key.DATUM)
    if code is not None:
        described = GeographicCRS(datum=f"{_URN}datum:EPSG::{code}").to_json_dict()
        return {part: described[part] for part in ("datum", "datum_ensemble") if part in described}
    figure = _figure(keys)
    if figure is None:
        return None
    longitude = keys.number(key.PRIME_MERIDIAN_LONGITUDE) or 0.0
    meridian = {"name": "Greenwich" if not longitude else "unknown", "longitude": longitude}
    frame = {"type": "GeodeticReferenceFrame", "name": "unknown", "ellipsoid": figure, "prime_meridian": meridian}
    return {"datum": frame}


def _figure(keys: GeoKeys) -> Mapping[str, Any] | None:
    major, minor = keys.positive(key.SEMI_MAJOR_M), keys.positive(key.SEMI_MINOR_M)
    inverse = keys.positive(key.INVERSE_FLATTENING)
    if major is not None and (inverse or minor):
        shape = {"inverse_flattening": inverse} if inverse else {"semi_minor_axis": minor}
        return {"name": "unknown", "semi_major_axis": major, **shape}
    code = keys.epsg(key.ELLIPSOID)
    return None if code is None else CustomDatum(ellipsoid=f"{_URN}ellipsoid:EPSG::{code}").to_json_dict()["ellipsoid"]


def _to_wgs84(crs: CRS, geographic: CRS, keys: GeoKeys) -> CRS:
    """Bound to WGS 84 where the file says by which shift, turn and scale."""
    shift = keys.numbers_of(_TO_WGS84)
    if len(shift) not in (3, 7) or not any(shift):
        return crs
    return BoundCRS(source_crs=crs, target_crs="EPSG:4326", transformation=ToWGS84Transformation(geographic, *shift))


def _ellipsoid(keys: GeoKeys) -> Ellipsoid:
    """That of the file where it describes one, else WGS 84, of which no other differs by more than 0.1 %."""
    major = keys.positive(key.SEMI_MAJOR_M) or 0.0
    inverse = keys.positive(key.INVERSE_FLATTENING) or 0.0
    minor = keys.positive(key.SEMI_MINOR_M) or 0.0
    if not inverse and 0.9 * major < minor < major:
        inverse = major / (major - minor)
    is_earth = 6.3e6 < major < 6.4e6 and inverse > 200
    return Ellipsoid(semi_major_m=major, inverse_flattening=inverse) if is_earth else Ellipsoid()


# --- the projection ---


def _conversion(keys: GeoKeys) -> Mapping[str, Any] | None:
    """One of EPSG's (zone 17 of UTM), or a method with its numbers."""
    code = keys.epsg(key.PROJECTION)
    if code is not None:
        described = ProjectedCRS(conversion=f"{_URN}coordinateOperation:EPSG::{code}").to_json_dict()
        return dict(described["conversion"])
    method = _method(keys)
    if method is None:
        return None
    parameters = [_parameter(one, keys) for one in method.parameters]
    return {"name": "unknown", "method": {"name": method.name}, "parameters": parameters}


def _method(keys: GeoKeys) -> Method | None:
    code = keys.code(key.METHOD)
    if code == MERCATOR and keys.number(STANDARD_PARALLEL):
        return MERCATOR_B
    # GDAL keeps the parallel that is true to scale where the pole's latitude belongs; other writers keep the pole.
    if code == POLAR and abs(abs(keys.number(*POLAR_B.parameters[0].keys) or 90.0) - 90.0) > 1e-9:
        return POLAR_B
    return METHODS.get(code)


def _parameter(one: Parameter, keys: GeoKeys) -> Mapping[str, Any]:
    """Angles are degrees whatever the file's unit of angles is, as GDAL writes and reads them; lengths have the
    system's unit."""
    number = keys.number(*one.keys)
    unit = {"angle": "degree", "scale": "unity", "length": _length_unit(keys)}[one.kind]
    named = {} if one.epsg is None else {"id": {"authority": "EPSG", "code": one.epsg}}
    return {"name": one.name, "value": one.default if number is None else number, "unit": unit, **named}


# --- units and axes ---


def _radians(keys: GeoKeys) -> float:
    """Angle of the unit of a geographic system: degrees unless the file says otherwise."""
    unit = radians_of(keys.code(key.ANGULAR_UNIT)) or keys.positive(key.ANGULAR_SIZE)
    return unit or radians_of(DEGREE) or _DEGREE_RADIANS


def _length_unit(keys: GeoKeys) -> Mapping[str, Any]:
    """Raises KeyError where it is not known: metres for feet would be a wrong place."""
    code = keys.code(key.LINEAR_UNIT)
    size = metres_of(code) or keys.positive(key.LINEAR_SIZE_M)
    if size is None and code:
        raise KeyError(code)
    return {"type": "LinearUnit", "name": "unit", "conversion_factor": size or 1.0}


def _cartesian(keys: GeoKeys) -> Mapping[str, Any]:
    unit = _length_unit(keys)
    axes = [("Easting", "E", "east"), ("Northing", "N", "north")]
    return {"subtype": "Cartesian", "axis": [_axis(*axis, unit) for axis in axes]}


def _ellipsoidal(keys: GeoKeys) -> Mapping[str, Any]:
    unit = {"type": "AngularUnit", "name": "unit", "conversion_factor": _radians(keys)}
    axes = [("Longitude", "lon", "east"), ("Latitude", "lat", "north")]
    return {"subtype": "ellipsoidal", "axis": [_axis(*axis, unit) for axis in axes]}


def _axis(name: str, abbreviation: str, direction: str, unit: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"name": name, "abbreviation": abbreviation, "direction": direction, "unit": unit}


def _name(keys: GeoKeys, citation: int) -> str:
    return keys.citation(citation).partition("|")[0] or "unnamed"
