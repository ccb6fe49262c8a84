"""World files beside images: placed as GDAL places them, carried into the masks' tags, contradictions told."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from functools import cache
from typing import Any

import cv2
import numpy as np
import pytest
import rasterio
from affine import Affine
from pyproj import CRS
from tests.gpuworker import pictures
from tests.gpuworker.geotiffs import PLACES, as_rasterio_has_it, geotiff, placed

from gpuworker.contract import CAVEATS
from gpuworker.contract.items import ItemError, Source
from gpuworker.geo.world_files import tags_with
from gpuworker.masks.tiff import label_tiff
from gpuworker.tasks import make_task
from gpuworker.tasks.base import Encoded, Task

UTM = CRS.from_epsg(32617).to_wkt("WKT1_ESRI")
TRANSFORM = [0.1, 0.0, 404211.9, 0.0, -0.1, 3285142.9]
WORLD = {"transform": TRANSFORM, "system": UTM}


def crowns() -> np.ndarray:
    """Green on soil."""
    scene = np.full((64, 48, 3), (150, 120, 90), np.uint8)
    cv2.circle(scene, (20, 30), 9, (40, 150, 40), -1)
    return scene


def png() -> bytes:
    return bytes(cv2.imencode(".png", crowns()[..., ::-1])[1])


def turned_jpeg() -> bytes:
    """A photograph that says that it lies on its side (orientation 6)."""
    plain = bytes(cv2.imencode(".jpg", crowns()[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 98])[1])
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    return plain[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + plain[2:]


@cache
def task() -> Task:
    made = make_task("segment")
    made.load("cpu", {"engine": "vegetation"})
    return made


def done(data: bytes, world: Any, **options: Any) -> Encoded:
    chosen = {"engine": "vegetation", "prompts": ["plant"], **options}
    source = Source(output="a", file_name="a.png", sidecar={} if world is None else {"world": world})
    decoded = task().decode(data, source, chosen)
    (result,) = task().run([decoded], chosen)
    return task().encode(decoded, result, chosen)


def masks(encoded: Encoded) -> Any:
    return rasterio.open(io.BytesIO(encoded.files["masks/a_masks.tif"].data))


def warnings(encoded: Encoded) -> list[str]:
    return list(encoded.fragment["image"].get("warnings", ()))


class TestAPlainImage:
    @pytest.mark.parametrize("data", [png(), turned_jpeg()], ids=["png", "jpeg"])
    def test_is_placed(self, data: bytes) -> None:
        encoded = done(data, WORLD)
        image = encoded.fragment["image"]
        assert (image["crs"], image["transform"], warnings(encoded)) == ("EPSG:32617", TRANSFORM, [])
        assert encoded.fragment["annotations"][0]["area_m2"] == pytest.approx(2.6, abs=0.3)
        assert {"instances.geojson", "instances_native.geojson"} <= set(encoded.files)

    def test_its_masks_carry_the_tags(self) -> None:
        with masks(done(png(), WORLD)) as opened:
            assert opened.crs.to_epsg() == 32617
            assert opened.transform == Affine(*TRANSFORM)

    def test_a_placed_photograph_is_not_turned(self) -> None:
        """As GDAL has it: the world file places the pixels as they are stored."""
        plain, lying = (done(turned_jpeg(), world).fragment["image"] for world in (None, WORLD))
        assert (plain["width"], plain["height"]) == (64, 48)
        assert (lying["width"], lying["height"]) == (48, 64)

    def test_metres_that_are_called_degrees_are_nowhere(self) -> None:
        """Of a globe that is turned PROJ makes a place of any number of degrees."""
        turned = CRS("+proj=ob_tran +o_proj=longlat +o_lat_p=39.25 +o_lon_p=-162 +lon_0=0 +datum=WGS84")
        encoded = done(png(), {"transform": TRANSFORM, "system": turned.to_wkt()})
        assert warnings(encoded) == ["not_placed"]
        assert "instances.geojson" not in encoded.files

    def test_without_a_system_it_is_in_its_own_coordinates_only(self) -> None:
        encoded = done(png(), {"transform": TRANSFORM})
        assert warnings(encoded) == ["no_crs"]
        assert "instances_native.geojson" in encoded.files
        assert "instances.geojson" not in encoded.files

    @pytest.mark.parametrize("system", ["nonsense[", 'VERT_CS["a",VERT_DATUM["b",2005],UNIT["m",1]]'])
    def test_a_system_that_is_none_says_so(self, system: str) -> None:
        assert warnings(done(png(), {"transform": TRANSFORM, "system": system})) == ["no_crs"]

    @pytest.mark.parametrize(
        "world",
        [
            "nonsense",
            {"transform": [1, 2, 3]},
            {"transform": [1, 2, 3, 4, 5, "6"]},
            {"transform": [1, 0, 0, 0, 0, 0]},
            {"transform": [1, 0, float("nan"), 0, 1, 0]},
            {"transform": TRANSFORM, "system": 32617},
        ],
    )
    def test_what_anybody_may_send_is_refused_by_name(self, world: Any) -> None:
        with pytest.raises(ItemError, match="world") as caught:
            done(png(), world)
        assert caught.value.code == "unsuitable"


class TestATiff:
    def test_its_own_tags_win_and_what_differs_is_told(self) -> None:
        own = geotiff("EPSG:32617", Affine(*TRANSFORM))
        moved = {**WORLD, "transform": [*TRANSFORM[:5], TRANSFORM[5] + 1]}
        assert warnings(done(own, WORLD)) == []
        assert warnings(done(own, moved)) == ["other_place"]
        assert done(own, moved).fragment["image"]["transform"] == TRANSFORM
        assert "other_place" in CAVEATS

    def test_another_system_beside_it_is_told(self) -> None:
        own = geotiff("EPSG:32617", Affine(*TRANSFORM))
        other = {"system": CRS.from_epsg(32618).to_wkt()}
        encoded = done(own, other)
        assert (encoded.fragment["image"]["crs"], warnings(encoded)) == ("EPSG:32617", ["other_place"])

    @pytest.mark.parametrize(
        ("code", "x", "y"), [(31467, 3_500_000, 5_500_000), (3035, 4_300_000, 3_000_000), (2193, 1_750_000, 5_430_000)]
    )
    def test_its_own_system_in_another_spelling_is_no_contradiction(self, code: int, x: int, y: int) -> None:
        """GDAL's older WKT has the axes and names of datums that PROJ does not know for EPSG's."""
        crs = CRS.from_epsg(code)
        beside = {"system": crs.to_wkt("WKT1_GDAL")}
        own = geotiff(f"EPSG:{code}", Affine(0.1, 0, x, 0, -0.1, y))
        assert warnings(done(own, beside)) == []
        assert warnings(done(own, {"system": CRS.from_epsg(3857).to_wkt()})) == ["other_place"]

    def test_a_rounded_world_file_is_no_contradiction(self) -> None:
        own = geotiff("EPSG:32617", Affine(*TRANSFORM))
        assert warnings(done(own, {**WORLD, "transform": [*TRANSFORM[:5], TRANSFORM[5] + 0.004]})) == []

    @pytest.mark.parametrize("is_point", [False, True])
    def test_what_its_tags_do_not_say_is_taken_from_beside(self, is_point: bool) -> None:
        crs_only = geotiff("EPSG:32617", None, is_point=is_point)
        place_only = geotiff(None, Affine(*TRANSFORM), is_point=is_point)
        for data, world in ((crs_only, {"transform": TRANSFORM}), (place_only, {"system": UTM})):
            encoded = done(data, world)
            image = encoded.fragment["image"]
            assert (image["crs"], image["transform"]) == ("EPSG:32617", pytest.approx(TRANSFORM))
            with masks(encoded) as opened:
                assert opened.transform.almost_equals(Affine(*TRANSFORM), 1e-6)

    def test_one_without_tags_is_as_a_plain_image(self) -> None:
        encoded = done(pictures.tiff(crowns(), photometric="rgb"), WORLD)
        assert encoded.fragment["image"]["crs"] == "EPSG:32617"
        assert json.loads(encoded.files["instances.geojson"].data)["features"]


SYSTEMS: Mapping[str, str] = {
    **{f"{name} (own)": crs for name, (crs, _) in PLACES.items()},
    "Mollweide": "ESRI:54009",
    "a shift to WGS 84": "+proj=utm +zone=33 +ellps=bessel +towgs84=598.1,73.7,418.2,0.202,0.045,-2.455,6.7",
    "conic in feet": "+proj=lcc +lat_1=40 +lat_2=50 +lat_0=45 +lon_0=9 +datum=NAD83 +units=us-ft",
    "heights besides": "EPSG:7405",
}


@pytest.mark.parametrize("form", ["WKT1_GDAL", "WKT1_ESRI", "WKT2_2019"])
@pytest.mark.parametrize("name", SYSTEMS)
def test_gdal_reads_the_system_that_the_prj_says(name: str, form: str) -> None:
    # given
    crs = CRS.from_user_input(SYSTEMS[name])
    text = crs.to_wkt(form)
    # when
    tags = tags_with({"transform": TRANSFORM, "system": text}, ())
    data = label_tiff([], height=9, width=9, geo=tags).tiff
    read, transform = as_rasterio_has_it(data)
    # then
    assert tuple(transform)[:6] == tuple(TRANSFORM)
    assert read is not None
    flat = CRS.from_wkt(text)
    flat = flat.sub_crs_list[0] if flat.is_compound else flat
    ours = CRS.from_user_input(placed(data).definition)
    assert ours.equals(flat, ignore_axis_order=True)
    assert CRS.from_wkt(read.to_wkt()).equals(flat, ignore_axis_order=True)


@pytest.mark.parametrize("angle", [0, 30, 90, 200])
def test_turned_ones_are_turned(angle: int) -> None:
    turned = Affine.translation(500, 900) @ Affine.rotation(angle) @ Affine.scale(0.25, -0.5)
    tags = tags_with({"transform": list(turned)[:6]}, ())
    _, transform = as_rasterio_has_it(label_tiff([], height=9, width=9, geo=tags).tiff)
    assert transform.almost_equals(turned, 1e-9)
