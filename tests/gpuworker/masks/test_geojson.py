"""GeoJSON of an image's instances: map programs read both files, and burn the native one into the very masks again."""

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
from rasterio.warp import transform as reproject
from tests.gpuworker.geotiffs import PLACES, as_rasterio_has_it, disc_with_hole, geotiff, instance, placed, tagged

from gpuworker.geo.georeference import NOT_PLACED
from gpuworker.images.notes import Notes
from gpuworker.masks import coco
from gpuworker.masks.geojson import NAME, NATIVE_NAME, ROUGH_PLACE, Drawn, drawn, geojson_files
from gpuworker.masks.instances import Instance

SIZE = 60
SCALE = (33550, "d", (0.5, 0.5, 0.0))
TIE = (33922, "d", (0.0, 0.0, 0.0, 1000.0, 2000.0, 0.0))
NAMES = ["tree", 'Grüße "an" alle']


def two_discs() -> np.ndarray:
    mask = np.zeros((40, 31), np.bool_)
    mask[:31] = disc_with_hole()
    mask[35:, 3:9] = True
    return mask


FOUND = [instance(two_discs()), instance(np.ones((4, 5), np.bool_), x=50, y=2, category=2)]


def files(data: bytes, found: list[Instance]) -> dict[str, bytes]:
    place = placed(data)
    part = coco.fragment(found, file_name="a/b.tif", height=SIZE, width=SIZE, segmentation="rle", place=place)
    shapes = drawn(found, place, height=SIZE, width=SIZE)
    return {name: file.data for name, file in geojson_files(shapes, part, NAMES, place).items()}


def written(data: bytes, found: list[Instance] = FOUND) -> bytes:
    return files(data, found)[NATIVE_NAME]


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


def test_features_tell_the_page_that_they_are_on() -> None:
    """Pages of one file share its name, in the merged layer too."""
    place = placed(geotiff(*PLACES["in US feet"]))
    part = coco.fragment(
        FOUND, file_name="a.tif", height=SIZE, width=SIZE, segmentation="rle", place=place, notes=Notes(page=2)
    )
    for file in geojson_files(drawn(FOUND, place, height=SIZE, width=SIZE), part, NAMES, place).values():
        properties = [one["properties"] for one in json.loads(file.data)["features"]]
        assert [(one["file_name"], one["page"]) for one in properties] == [("a.tif", 2)] * 2


def test_an_image_without_a_place_has_no_layer() -> None:
    part = coco.fragment([], file_name="a.jpg", height=9, width=9, segmentation="rle")
    assert geojson_files(Drawn(), part, NAMES, None) == {}
    nowhere = placed(geotiff("EPSG:32617", None))
    assert geojson_files(drawn([], nowhere, height=9, width=9), part, NAMES, nowhere) == {}


class TestOnTheMap:
    """`instances.geojson`: RFC 7946."""

    @pytest.mark.parametrize("place", PLACES)
    def test_pyogrio_finds_it_in_longitude_and_latitude(self, place: str, tmp_path: Path) -> None:
        # given
        data = geotiff(*PLACES[place])
        path = tmp_path / NAME
        path.write_bytes(files(data, FOUND)[NAME])
        crs, transform = as_rasterio_has_it(data)
        # when
        document = json.loads(path.read_text())
        meta, _, shapes, _ = pyogrio.raw.read(path)
        _, bounds = pyogrio.read_bounds(path)
        # then
        assert "crs" not in document
        assert (meta["crs"], len(shapes)) == ("EPSG:4326", 2)
        corners = [transform @ (column, row) for column in (50, 55) for row in (2, 6)]
        longitudes, latitudes = reproject(crs, CRS.from_epsg(4326), *zip(*corners, strict=True))
        box = [min(longitudes), min(latitudes), max(longitudes), max(latitudes)]
        assert bounds[:, 1] == pytest.approx(box, abs=2e-9, rel=0)

    def test_both_files_tell_the_same_of_each_instance(self) -> None:
        both = files(geotiff(*PLACES["rotated"]), FOUND)
        native, degrees = (json.loads(both[name])["features"] for name in (NATIVE_NAME, NAME))
        assert [one["properties"] for one in native] == [one["properties"] for one in degrees]

    def test_it_has_nine_decimals(self) -> None:
        document = json.loads(files(geotiff(*PLACES["north up in UTM"]), FOUND)[NAME], parse_float=str)
        numbers = np.ravel(document["features"][1]["geometry"]["coordinates"])
        assert max(len(number.partition(".")[2]) for number in numbers) == 9

    def test_a_system_that_nobody_knows_has_the_native_file_alone(self) -> None:
        keys = (34735, "H", (1, 1, 0, 2, 1024, 0, 1, 1, 3072, 0, 1, 1234))
        data = tagged(scale=SCALE, tie=TIE, keys=keys)
        assert set(files(data, FOUND)) == {NATIVE_NAME}
        assert b"LOCAL_CS[" in files(data, FOUND)[NATIVE_NAME]  # none that could be mistaken for degrees

    @pytest.mark.parametrize(
        ("crs", "transform"),
        [
            ("EPSG:4326", Affine(1, 0, 8, 0, -1, 5000)),  # metres that are called degrees
            ("EPSG:4326", Affine(0.001, 0, 5000, 0, -0.001, 50)),  # northings that are small
            ("EPSG:27572", Affine(1, 0, 1e9, 0, -1, 1e9)),
            ("EPSG:3035", Affine(1e4, 0, 5e7, 0, -1e4, 5e7)),
            ("+proj=longlat +R=1737400", Affine(0.01, 0, 8, 0, -0.01, 50)),  # the Moon
        ],
    )
    def test_a_place_that_is_nowhere_on_earth_is_told_and_no_file_holds_infinity(
        self, crs: str, transform: Affine
    ) -> None:
        place = placed(geotiff(crs, transform))
        shapes = drawn(FOUND, place, height=SIZE, width=SIZE)
        assert shapes.warnings == (NOT_PLACED,)
        assert shapes.degrees is None
        assert not any("Infinity" in one or "NaN" in one for one in shapes.native)

    def test_a_datum_that_nobody_can_place_is_told(self) -> None:
        rough = placed(geotiff(*PLACES["in a system of its own"]))  # on Bessel's ellipsoid
        known = placed(geotiff("EPSG:31467", Affine(0.1, 0, 3_500_000, 0, -0.1, 5_400_000)))  # so is this
        assert drawn(FOUND, rough, height=SIZE, width=SIZE).warnings == (ROUGH_PLACE,)
        assert drawn(FOUND, known, height=SIZE, width=SIZE).warnings == ()
