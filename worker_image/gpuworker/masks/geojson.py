"""GeoJSON of one image: its instances as polygons on the map, a feature a line, in two files.

`instances.geojson` is RFC 7946's: longitude and latitude of WGS 84, nine decimals, cut at the antimeridian, for every
map program. `instances_native.geojson` is in the image's own reference system, named by the `crs` member of GeoJSON
2008: its rings follow the pixels' edges exactly, so burning them gives the masks again.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpuworker.contract.items import File
from gpuworker.geo.antimeridian import DECIMALS
from gpuworker.geo.georeference import NOT_PLACED, Georeference
from gpuworker.geo.on_map import OnMap
from gpuworker.geo.rings import Part, parts
from gpuworker.geo.wgs84 import OffTheMapError
from gpuworker.images.masked import Masked

NAME, NATIVE_NAME = "instances.geojson", "instances_native.geojson"
MEDIA_TYPE = "application/geo+json"
ROUGH_PLACE = "rough_place"
_UNNAMED = "described in the image, without an EPSG code"
_OF_A_PIXEL = 1000
"""Native coordinates are rounded to a thousandth of a pixel or finer."""
_DECIMALS_AT_MOST = 12


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """The instances' geometries as JSON, in their order."""

    native: Sequence[str] = ()
    degrees: Sequence[str] | None = None
    """None where the image has no known place on the map."""
    warnings: tuple[str, ...] = ()
    """What has to be known of the place besides what the tags tell, in stable words."""


def drawn(instances: Sequence[Masked], place: Georeference | None, *, height: int, width: int) -> Drawn:
    """The instances of an image of this size; nothing for one without a place."""
    if place is None or place.transform is None:
        return Drawn()
    on_map = None if place.definition is None else OnMap(place)
    try:
        if on_map is not None and on_map.is_off(height=height, width=width):
            raise OffTheMapError
        native, degrees = _geometries(instances, place, on_map)
    except OffTheMapError:
        native, _ = _geometries(instances, place, None)
        return Drawn(native=native, warnings=(NOT_PLACED,))
    rough = (ROUGH_PLACE,) if on_map is not None and on_map.is_rough else ()
    return Drawn(native=native, degrees=None if on_map is None else degrees, warnings=rough)


def _geometries(instances: Sequence[Masked], place: Georeference, on_map: OnMap | None) -> tuple[list[str], list[str]]:
    """In the image's own system, and on the map. Raises OffTheMapError."""
    native: list[str] = []
    degrees: list[str] = []
    decimals = min(_DECIMALS_AT_MOST, max(0, math.ceil(math.log10(_OF_A_PIXEL / place.pixel))))
    for one in instances:
        found = list(parts(one.mask, x=one.x, y=one.y))
        native.append(_geometry([_native(part, place, decimals) for part in found]))
        if on_map is not None:
            polygons = [polygon for part in found for polygon in on_map.polygons(part)]
            degrees.append(_geometry([[_listed(ring, DECIMALS) for ring in polygon] for polygon in polygons]))
    return native, degrees


def geojson_files(
    geometries: Drawn, fragment: Mapping[str, Any], names: Sequence[str], place: Georeference | None
) -> dict[str, File]:
    """The files by their names, of an image that has a place; `fragment` is what COCO has of the same instances.

    `names[i]` is category i + 1.
    """
    if place is None or place.transform is None:
        return {}
    files = {NATIVE_NAME: _file(_head(_system(place)), geometries.native, fragment, names)}
    if geometries.degrees is None:
        return files
    return {NAME: _file(_head(None), geometries.degrees, fragment, names), **files}


def _file(head: bytes, geometries: Sequence[str], fragment: Mapping[str, Any], names: Sequence[str]) -> File:
    lines = b",\n".join(_features(geometries, fragment, names))
    return File(data=head + lines + b"\n]}\n", content_type=MEDIA_TYPE)


def _features(geometries: Sequence[str], fragment: Mapping[str, Any], names: Sequence[str]) -> Iterator[bytes]:
    image = fragment["image"]
    source = {"file_name": image["file_name"], **({"page": image["page"]} if "page" in image else {})}
    for geometry, annotation in zip(geometries, fragment["annotations"], strict=True):
        area = {"area_m2": annotation["area_m2"]} if "area_m2" in annotation else {}
        # `gpupipe fetch` makes the merged file of these very lines, and puts another id in.
        properties = {
            "id": annotation["id"],
            "category": names[annotation["category_id"] - 1],
            "score": annotation["score"],
            **area,
            **source,
        }
        start = json.dumps({"type": "Feature", "properties": properties}, ensure_ascii=False, separators=(",", ":"))
        yield f'{start[:-1]},"geometry":{geometry}}}'.encode()


def _head(system: str | None) -> bytes:
    crs = "" if system is None else f'"crs":{json.dumps({"type": "name", "properties": {"name": system}})},'
    return f'{{"type":"FeatureCollection",{crs}"features":[\n'.encode()


def _system(place: Georeference) -> str:
    """The name of the reference system, or its WKT, as GDAL and what is built on it (QGIS, pyogrio) understand it.

    A system that is not known must be named too: of none, and of null, GDAL makes longitude and latitude (GDAL 3.12).
    """
    if place.epsg == 4326:  # longitude before latitude, as everybody reads it in GeoJSON
        return "urn:ogc:def:crs:OGC:1.3:CRS84"
    if place.epsg is not None:
        return f"urn:ogc:def:crs:EPSG::{place.epsg}"
    if place.definition is not None:
        return place.definition
    if place.radians is None:
        return f'LOCAL_CS["{_UNNAMED}",UNIT["unit",{place.metres or 1.0!r}]]'
    figure = f"{place.ellipsoid.semi_major_m!r},{place.ellipsoid.inverse_flattening!r}"
    datum = f'DATUM["unknown",SPHEROID["unknown",{figure}]],PRIMEM["Greenwich",0]'
    return f'GEOGCS["{_UNNAMED}",{datum},UNIT["unit",{place.radians!r}]]'


def _geometry(polygons: Sequence[Sequence[Any]]) -> str:
    shape: dict[str, Any] = {"type": "MultiPolygon", "coordinates": polygons}
    if len(polygons) == 1:
        shape = {"type": "Polygon", "coordinates": polygons[0]}
    return json.dumps(shape, separators=(",", ":"))


def _native(part: Part, place: Georeference, decimals: int) -> list[list[list[float]]]:
    outer = _turned(place.at(part.outer), is_hole=False)
    holes = [_turned(place.at(hole), is_hole=True) for hole in part.holes]
    return [_listed(ring, decimals) for ring in (outer, *holes)]


def _turned(at: NDArray[np.float64], *, is_hole: bool) -> NDArray[np.float64]:
    """Counter-clockwise, holes clockwise."""
    x, y = (at - at[0]).T
    twice_area = float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))
    return at[::-1] if (twice_area < 0) != is_hole else at


def _listed(ring: NDArray[np.float64], decimals: int) -> list[list[float]]:
    """As GeoJSON has it: the first corner comes again."""
    rounded = np.round(ring, decimals)
    return [*rounded.tolist(), rounded[0].tolist()]
