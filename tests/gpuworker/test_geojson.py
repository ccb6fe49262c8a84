"""GeoJSON of an image's instances: map programs read it, and burn it into the very masks again."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pytest
from affine import Affine
from rasterio.crs import CRS
from rasterio.features import rasterize
from tests.gpuworker.geotiffs import PLACES, as_rasterio_has_it, disc_with_hole, geotiff, instance, placed

from gpuworker import coco
from gpuworker.geojson import NAME, geojson_files
from gpuworker.masks import Instance

SIZE = 60
NAMES = ["tree", 'Grüße "an" alle']


def two_discs() -> np.ndarray:
    mask = np.zeros((40, 31), np.bool_)
    mask[:31] = disc_with_hole()
    mask[35:, 3:9] = True
    return mask


FOUND = [instance(two_discs()), instance(np.ones((4, 5), np.bool_), x=50, y=2, category=2)]


def written(data: bytes, found: list[Instance] = FOUND) -> bytes:
    place = placed(data)
    part = coco.fragment(found, file_name="a/b.tif", height=SIZE, width=SIZE, segmentation="rle", place=place)
    return geojson_files(found, part, NAMES, place)[NAME].data


def twice_area(ring: list[list[float]]) -> float:
    at = np.array(ring) - ring[0]
    return float(np.dot(at[:-1, 0], at[1:, 1]) - np.dot(at[1:, 0], at[:-1, 1]))


def polygons(geometry: dict[str, Any]) -> list[list[list[list[float]]]]:
    return [geometry["coordinates"]] if geometry["type"] == "Polygon" else geometry["coordinates"]


@pytest.mark.parametrize("is_point", [False, True])
@pytest.mark.parametrize("place", PLACES)
def test_rasterio_burns_it_into_the_masks_again(place: str, is_point: bool) -> None:
    data = geotiff(*PLACES[place], is_point=is_point)
    document = json.loads(written(data))
    _, transform = as_rasterio_has_it(data)
    for one, feature in zip(FOUND, document["features"], strict=True):
        burnt = rasterize([feature["geometry"]], out_shape=(SIZE, SIZE), transform=transform).astype(bool)
        expected = np.zeros((SIZE, SIZE), np.bool_)
        expected[one.y : one.y + one.mask.shape[0], one.x : one.x + one.mask.shape[1]] = one.mask
        assert np.array_equal(burnt, expected)


@pytest.mark.parametrize("place", PLACES)
def test_pyogrio_reads_the_system_and_the_place(place: str, tmp_path: Path) -> None:
    # given
    data = geotiff(*PLACES[place])
    path = tmp_path / NAME
    path.write_bytes(written(data))
    crs, transform = as_rasterio_has_it(data)
    # when
    meta, _, shapes, columns = pyogrio.raw.read(path)
    _, bounds = pyogrio.read_bounds(path)
    # then
    assert len(shapes) == 2
    fields = dict(zip(meta["fields"], columns, strict=True))
    assert fields["id"].tolist() == [1, 2]
    assert fields["category"].tolist() == NAMES
    assert fields["score"].tolist() == [0.8765, 0.8765]
    assert fields["file_name"].tolist() == ["a/b.tif", "a/b.tif"]
    assert fields["area_m2"].tolist() == pytest.approx([placed(data).area_m2(one) for one in FOUND], rel=1e-5)
    if "own" in place:
        assert meta["crs"].startswith("LOCAL_CS[")  # none that could be mistaken for degrees
        assert 'UNIT["unit",1]' in meta["crs"]
    else:
        assert CRS.from_user_input(meta["crs"]) == crs
    # and the second one's box is that of its four corners
    corners = [transform @ (column, row) for column in (50, 55) for row in (2, 6)]
    xs, ys = zip(*corners, strict=True)
    pixel = np.hypot(transform.a, transform.d)
    assert bounds[:, 1] == pytest.approx([min(xs), min(ys), max(xs), max(ys)], abs=pixel / 1000, rel=0)


@pytest.mark.parametrize("transform", [Affine(1, 0, 0, 0, -1, 0), Affine(1, 0, 0, 0, 1, 0), Affine(0, 1, 0, -1, 0, 9)])
def test_outer_rings_run_counter_clockwise_and_holes_clockwise(transform: Affine) -> None:
    first, _ = json.loads(written(geotiff("EPSG:32617", transform)))["features"]
    assert first["geometry"]["type"] == "MultiPolygon"
    for outer, *holes in polygons(first["geometry"]):
        assert twice_area(outer) > 0
        assert all(twice_area(hole) < 0 for hole in holes)
        assert outer[0] == outer[-1]
    assert sum(len(polygon) for polygon in polygons(first["geometry"])) == 3


def test_area_of_the_rings_is_that_of_the_pixels() -> None:
    first, second = json.loads(written(geotiff(*PLACES["north up in UTM"])))["features"]
    for one, feature in ((FOUND[0], first), (FOUND[1], second)):
        rings = [ring for polygon in polygons(feature["geometry"]) for ring in polygon]
        assert sum(map(twice_area, rings)) / 2 == pytest.approx(one.area * 0.01, rel=1e-9)
        assert feature["properties"]["area_m2"] == pytest.approx(one.area * 0.01, rel=1e-5)


def test_coordinates_have_no_digits_beyond_a_thousandth_of_a_pixel() -> None:
    document = json.loads(written(geotiff(*PLACES["north up in UTM"]), found=[FOUND[1]]), parse_float=str)
    (ring,) = document["features"][0]["geometry"]["coordinates"]
    assert {tuple(corner) for corner in ring} == set(product(["404216.9", "404217.4"], ["3285142.7", "3285142.3"]))


def test_longitude_comes_before_latitude() -> None:
    document = json.loads(written(geotiff(*PLACES["in degrees"])))
    assert document["crs"]["properties"]["name"] == "urn:ogc:def:crs:OGC:1.3:CRS84"
    longitude, latitude = document["features"][1]["geometry"]["coordinates"][0][0]
    assert (round(longitude, 2), round(latitude, 2)) == (8.4, 49.01)


def test_degrees_on_a_datum_of_their_own_stay_degrees(tmp_path: Path) -> None:
    path = tmp_path / NAME
    path.write_bytes(written(geotiff("+proj=longlat +ellps=bessel", Affine(1e-6, 0, 8.4, 0, -1e-6, 49.0))))
    crs = CRS.from_user_input(pyogrio.read_info(path)["crs"])
    assert crs.is_geographic
    assert crs.to_dict()["ellps"] == "bessel"


def test_an_image_in_which_nothing_was_found_has_an_empty_layer(tmp_path: Path) -> None:
    path = tmp_path / NAME
    path.write_bytes(written(geotiff(*PLACES["in US feet"]), found=[]))
    assert json.loads(path.read_text())["features"] == []
    assert pyogrio.read_info(path)["features"] == 0


def test_an_image_without_a_place_has_no_layer() -> None:
    part = coco.fragment([], file_name="a.jpg", height=9, width=9, segmentation="rle")
    assert geojson_files([], part, NAMES, None) == {}
    assert geojson_files([], part, NAMES, placed(geotiff("EPSG:32617", None))) == {}
