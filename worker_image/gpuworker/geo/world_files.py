"""A world file's place as GeoTIFF tags, so that an image has it as if it had been in the file.

What is in the file goes before what lies beside it, as GDAL has it: a TIFF's own transform, and its own system.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS
from pyproj.enums import WktVersion
from pyproj.exceptions import CRSError

from gpuworker.contract import SYSTEM, TRANSFORM
from gpuworker.contract.items import ItemError
from gpuworker.geo import keys as key
from gpuworker.geo.georeference import Georeference
from gpuworker.geo.keys import Affine, GeoKeys, is_sound
from gpuworker.geo.system import System, described_as, system_by
from gpuworker.geo.wgs84 import OffTheMapError, to_wgs84
from gpuworker.images.tiff.file import GeoTag

OTHER_PLACE = "other_place"
"""The warning that what lies beside an image contradicts what is in it."""
_OFF_BY_PIXELS = 0.1
"""World files are often rounded to a few decimals; nobody rounds by a tenth of a pixel."""
_PLACING = (key.SCALE, key.TIEPOINT, key.MATRIX)
_NAMING = (key.KEYS, key.DOUBLES, key.TEXTS)
_ASCII, _SHORT, _DOUBLE = 2, 3, 12
_USER_DEFINED = 32767
_IS_AREA = (key.RASTER, 0, 1, 1)


def tags_with(world: Mapping[str, Any], own: Sequence[GeoTag]) -> tuple[GeoTag, ...]:
    """An image's tags (none of one that is no TIFF) with what the world says and they do not.

    `world` as `contract.world` describes it; anybody may have written a request with it. Raises ItemError `unsuitable`.
    """
    transform, system = _transform(world), _system(world)
    keys = GeoKeys.of(own)
    placing = [tag for tag in own if tag.code in _PLACING]
    naming = [tag for tag in own if tag.code in _NAMING]
    if described_as(keys) is None and system is not None:
        if keys.values.get(key.RASTER) == key.PIXEL_IS_POINT:
            placing = _placing(keys.transform(), 0.0)
        naming, keys = _naming(system), GeoKeys.of(())
    if keys.transform() is None and GeoKeys.of(placing).transform() is None and transform is not None:
        is_point = keys.values.get(key.RASTER) == key.PIXEL_IS_POINT
        placing = _placing(transform, 0.5 if is_point else 0.0)
    return (*placing, *naming)


def contradicts(world: Mapping[str, Any], place: Georeference | None, *, height: int, width: int) -> bool:
    """Whether the place that an image has is another than the one beside it, by a tenth of a pixel or by its system."""
    transform, system = _transform(world), _system(world)
    if place is None:
        return False
    corners = np.array([(0, 0), (width, 0), (0, height), (width, height)], np.float64)
    if transform is not None and place.transform is not None:
        off = place.at(corners) - Georeference(transform=transform).at(corners)
        if float(np.hypot(*off.T).max()) > _OFF_BY_PIXELS * place.pixel:
            return True
    if system is None or place.definition is None:
        return False
    return not (_are_same(system, place) or _are_together(system, place, corners))


def _are_same(one: System, other: System) -> bool:
    if one.epsg is not None and one.epsg == other.epsg:
        return True
    first, second = CRS.from_user_input(one.definition), CRS.from_user_input(other.definition)
    return bool(first.equals(second, ignore_axis_order=True))


def _are_together(system: System, place: Georeference, corners: NDArray[np.float64]) -> bool:
    """Whether an image's corners lie on the same spots of the earth by both: one system has names in many spellings,
    and PROJ does not know all of them for one."""
    if place.transform is None:
        return False
    at = place.at(np.concatenate([corners, [(1, 0), (0, 1)]]))
    try:
        ours, theirs = (
            np.stack(to_wgs84(str(one.definition)).transform(at[:, 0], at[:, 1]), axis=1) for one in (place, system)
        )
    except OffTheMapError:
        return False
    pixel = np.abs(ours[-2:] - ours[0]).max()  # in degrees
    return bool(np.isfinite(ours).all() and (np.abs(ours - theirs) <= _OFF_BY_PIXELS * pixel).all())


# --- what came ---


def _transform(world: Mapping[str, Any]) -> Affine | None:
    given = world.get(TRANSFORM)
    if given is None:
        return None
    if not isinstance(given, list | tuple) or len(given) != 6 or not all(map(_is_number, given)):
        raise _malformed()
    a, b, c, d, e, f = map(float, given)
    if not is_sound((a, b, c, d, e, f)):
        raise _malformed()
    return a, b, c, d, e, f


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _system(world: Mapping[str, Any]) -> System | None:
    """None for a text that PROJ does not understand: the image then has a place without a system, and says so."""
    given = world.get(SYSTEM)
    if given is None:
        return None
    if not isinstance(given, str):
        raise _malformed()
    try:
        return system_by(CRS.from_user_input(given))
    except (CRSError, ValueError):
        return None


def _malformed() -> ItemError:
    form = '{"transform": [a, b, c, d, e, f], "system": "PROJCS[…]"}, where the six numbers place pixels'
    return ItemError("unsuitable", f"the world beside the image is not of the form {form}")


# --- as tags ---


def _placing(transform: Affine | None, corner: float) -> list[GeoTag]:
    """Scale and tie point of what is north up, else the matrix; `corner`: of the first pixel, where its place is."""
    if transform is None:
        return []
    a, b, c, d, e, f = transform
    c, f = c + corner * (a + b), f + corner * (d + e)
    if b == d == 0 and a > 0 > e:
        tie = (0.0, 0.0, 0.0, c, f, 0.0)
        return [_tag(key.SCALE, _DOUBLE, (a, -e, 0.0)), _tag(key.TIEPOINT, _DOUBLE, tie)]
    matrix = (a, b, 0.0, c, d, e, 0.0, f, *(0.0,) * 4, 0.0, 0.0, 0.0, 1.0)
    return [_tag(key.MATRIX, _DOUBLE, matrix)]


def _naming(system: System) -> list[GeoTag]:
    """The system by its code, else by ESRI's text in a citation, which GDAL and the worker itself understand."""
    is_degrees = system.radians is not None
    model, named = (key.MODEL_GEOGRAPHIC, key.GEOGRAPHIC) if is_degrees else (key.MODEL_PROJECTED, key.PROJECTED)
    if system.epsg is not None and system.epsg in key.EPSG_CODES:
        return [_directory([(key.MODEL, 0, 1, model), _IS_AREA, (named, 0, 1, system.epsg)])]
    text = f"ESRI PE String = {_one_line(system)}|"
    names = GeoTag(code=key.TEXTS, dtype=_ASCII, count=len(text) + 1, value=text)
    if not is_degrees:
        citation = (key.PROJECTED_CITATION, key.TEXTS, len(text), 0)
        return [_directory([(key.MODEL, 0, 1, _USER_DEFINED), _IS_AREA, citation]), names]
    # GDAL takes no text for degrees, but the figure of the earth.
    figure = (system.ellipsoid.semi_major_m, system.ellipsoid.inverse_flattening)
    entries = [
        (key.MODEL, 0, 1, model),
        _IS_AREA,
        (named, 0, 1, _USER_DEFINED),
        (key.GEOGRAPHIC_CITATION, key.TEXTS, len(text), 0),
        (key.SEMI_MAJOR_M, key.DOUBLES, 1, 0),
        (key.INVERSE_FLATTENING, key.DOUBLES, 1, 1),
    ]
    return [_directory(entries), _tag(key.DOUBLES, _DOUBLE, figure), names]


def _one_line(system: System) -> str:
    crs = CRS.from_user_input(system.definition)
    try:  # what is called ESRI's has neither shifts to WGS 84 nor skew grids, and GDAL reads its own there as well
        text = crs.to_wkt(WktVersion.WKT1_GDAL)
    except CRSError:
        text = crs.to_wkt()
    return text.encode("ascii", "replace").decode().replace("|", " ")


def _directory(entries: Sequence[tuple[int, int, int, int]]) -> GeoTag:
    numbers = (1, 1, 0, len(entries), *(number for entry in sorted(entries) for number in entry))
    return _tag(key.KEYS, _SHORT, numbers)


def _tag(code: int, dtype: int, value: tuple[float, ...]) -> GeoTag:
    return GeoTag(code=code, dtype=dtype, count=len(value), value=value)
