"""GeoJSON of one image: its instances as polygons in the image's own reference system, a feature a line.

The `crs` member is GeoJSON 2008's, which map programs read; RFC 7946 knows longitude and latitude only, and its rule
of ring directions is kept. Rings follow the pixels' edges exactly, so burning them gives the masks again.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpuworker.geo import Georeference
from gpuworker.masks import Instance
from gpuworker.rings import parts
from gpuworker.tasks import File

NAME = "instances.geojson"
MEDIA_TYPE = "application/geo+json"
_UNNAMED = "described in the image, without an EPSG code"
_OF_A_PIXEL = 1000
"""Coordinates are rounded to a thousandth of a pixel or finer."""
_DECIMALS_AT_MOST = 12


def geojson_files(
    instances: Sequence[Instance], fragment: Mapping[str, Any], names: Sequence[str], place: Georeference | None
) -> dict[str, File]:
    """The file by its name, of an image that has a place on earth; `fragment` is what COCO has of the same instances.

    `names[i]` is category i + 1.
    """
    if place is None or place.transform is None:
        return {}
    lines = _features(instances, fragment, names, place)
    return {NAME: File(data=_head(place) + b",\n".join(lines) + b"\n]}\n", content_type=MEDIA_TYPE)}


def _features(
    instances: Sequence[Instance], fragment: Mapping[str, Any], names: Sequence[str], place: Georeference
) -> Iterator[bytes]:
    decimals = min(_DECIMALS_AT_MOST, max(0, math.ceil(math.log10(_OF_A_PIXEL / place.pixel))))
    for one, annotation in zip(instances, fragment["annotations"], strict=True):
        area = {"area_m2": annotation["area_m2"]} if "area_m2" in annotation else {}
        # `gpupipe fetch` makes the merged file of these very lines, and puts another id in.
        properties = {
            "id": annotation["id"],
            "category": names[one.category_id - 1],
            "score": annotation["score"],
            **area,
            "file_name": fragment["image"]["file_name"],
        }
        feature = {"type": "Feature", "properties": properties, "geometry": _geometry(one, place, decimals)}
        yield json.dumps(feature, ensure_ascii=False, separators=(",", ":")).encode()


def _head(place: Georeference) -> bytes:
    crs = {"type": "name", "properties": {"name": _system(place)}}
    return f'{{"type":"FeatureCollection","crs":{json.dumps(crs)},"features":[\n'.encode()


def _system(place: Georeference) -> str:
    """The name of the reference system, as GDAL and what is built on it (QGIS, pyogrio) understand it.

    A system without a code must be named too: of none, and of null, GDAL makes longitude and latitude (GDAL 3.12).
    """
    if place.epsg == 4326:  # longitude before latitude, as everybody reads it in GeoJSON
        return "urn:ogc:def:crs:OGC:1.3:CRS84"
    if place.epsg is not None:
        return f"urn:ogc:def:crs:EPSG::{place.epsg}"
    if place.radians is None:
        return f'LOCAL_CS["{_UNNAMED}",UNIT["unit",{place.metres or 1.0!r}]]'
    figure = f"{place.ellipsoid.semi_major_m!r},{place.ellipsoid.inverse_flattening!r}"
    datum = f'DATUM["unknown",SPHEROID["unknown",{figure}]],PRIMEM["Greenwich",0]'
    return f'GEOGCS["{_UNNAMED}",{datum},UNIT["unit",{place.radians!r}]]'


def _geometry(one: Instance, place: Georeference, decimals: int) -> dict[str, Any]:
    polygons = [
        [_closed(part.outer, place, decimals, is_hole=False)]
        + [_closed(hole, place, decimals, is_hole=True) for hole in part.holes]
        for part in parts(one.mask, x=one.x, y=one.y)
    ]
    if len(polygons) == 1:
        return {"type": "Polygon", "coordinates": polygons[0]}
    return {"type": "MultiPolygon", "coordinates": polygons}


def _closed(ring: NDArray[np.int64], place: Georeference, decimals: int, *, is_hole: bool) -> list[list[float]]:
    """A ring in the system's coordinates: counter-clockwise, holes clockwise; the first corner comes again."""
    at = place.at(ring)
    from_first = at - at[0]
    x, y = from_first[:, 0], from_first[:, 1]
    twice_area = float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))
    if (twice_area < 0) != is_hole:
        at = at[::-1]
    rounded = np.round(at, decimals)
    return [*rounded.tolist(), rounded[0].tolist()]
