"""A georeferenced image through the task: record, label image and polygons agree about where everything is."""

from __future__ import annotations

import io
import json
from functools import cache
from typing import Any

import numpy as np
import pyogrio
import pytest
import rasterio
from affine import Affine
from pycocotools import mask as coco_mask
from rasterio.crs import CRS
from rasterio.features import rasterize
from rasterio.io import MemoryFile
from rasterio.warp import transform_bounds
from tests.gpuworker.geotiffs import OSBS, PLACES, geotiff, tagged

from gpuworker.contract.items import Source
from gpuworker.tasks import make_task
from gpuworker.tasks.base import Encoded, Task

LAYER, NATIVE = "instances.geojson", "instances_native.geojson"
SCALE = (33550, "d", (0.5, 0.5, 0.0))
TIE = (33922, "d", (0.0, 0.0, 0.0, 1000.0, 2000.0, 0.0))

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@cache
def task() -> Task:
    made = make_task("segment")
    made.load("cpu", {"engine": "vegetation"})
    return made


def done(data: bytes, **options: Any) -> Encoded:
    chosen = {"engine": "vegetation", **options}
    decoded = task().decode(data, Source(output="site/OSBS_029", file_name="site/OSBS_029.tif"), chosen)
    (result,) = task().run([decoded], chosen)
    return task().encode(decoded, result, chosen)


@cache
def crowns() -> Encoded:
    return done(OSBS, prompts=["tree"])


def layer(encoded: Encoded) -> Any:
    """What is burnt: the polygons in the image's own system."""
    return json.loads(encoded.files[NATIVE].data)


def test_the_record_says_where_the_image_is() -> None:
    image = crowns().fragment["image"]
    assert image["crs"] == "EPSG:32617"
    with MemoryFile(OSBS) as memory, memory.open() as opened:
        assert Affine(*image["transform"]) == opened.transform
    annotations = crowns().fragment["annotations"]
    assert annotations
    assert [one["area_m2"] for one in annotations] == pytest.approx([one["area"] * 0.01 for one in annotations])
    assert "warnings" not in image


def test_polygons_are_the_masks_of_the_record() -> None:
    transform = Affine(*crowns().fragment["image"]["transform"])
    annotations = crowns().fragment["annotations"]
    features = layer(crowns())["features"]
    assert [one["properties"]["id"] for one in features] == [one["id"] for one in annotations]
    assert {one["properties"]["category"] for one in features} == {"tree"}
    for annotation, feature in zip(annotations, features, strict=True):
        burnt = rasterize([feature["geometry"]], out_shape=(400, 400), transform=transform)
        assert np.array_equal(burnt, coco_mask.decode(annotation["segmentation"]))


def test_the_label_image_lies_under_the_polygons() -> None:
    with rasterio.open(io.BytesIO(crowns().files["masks/OSBS_029_masks.tif"].data)) as labels:
        assert labels.crs == CRS.from_epsg(32617)
        shown = labels.read(1)
        for feature in layer(crowns())["features"]:
            burnt = rasterize([feature["geometry"]], out_shape=shown.shape, transform=labels.transform).astype(bool)
            assert burnt[shown == feature["properties"]["id"]].all()


def test_pyogrio_finds_every_crown_inside_the_image(tmp_path: Any) -> None:
    path = tmp_path / NATIVE
    path.write_bytes(crowns().files[NATIVE].data)
    assert CRS.from_user_input(pyogrio.read_info(path)["crs"]) == CRS.from_epsg(32617)
    _, bounds = pyogrio.read_bounds(path)
    assert bounds.shape[1] == crowns().counts["annotations"]
    west, south, east, north = bounds
    assert 404211.9 <= west.min() < east.max() <= 404251.9
    assert 3285102.9 <= south.min() < north.max() <= 3285142.9


def test_a_reader_of_longitude_and_latitude_finds_every_crown_in_florida(tmp_path: Any) -> None:
    """RFC 7946 has no `crs` member: metres of UTM would lie at 404,211 degrees."""
    path = tmp_path / LAYER
    path.write_bytes(crowns().files[LAYER].data)
    assert "crs" not in json.loads(path.read_text())
    _, bounds = pyogrio.read_bounds(path)
    assert bounds.shape[1] == crowns().counts["annotations"]
    west, south, east, north = bounds
    image = transform_bounds(CRS.from_epsg(32617), CRS.from_epsg(4326), 404211.9, 3285102.9, 404251.9, 3285142.9)
    assert image[0] <= west.min() < east.max() <= image[2]
    assert image[1] <= south.min() < north.max() <= image[3]


def test_without_the_option_there_are_no_polygons() -> None:
    encoded = done(OSBS, geojson=False)
    assert not {LAYER, NATIVE} & set(encoded.files)
    assert encoded.fragment["image"]["crs"] == "EPSG:32617"


def test_a_system_without_a_code_is_on_the_map_all_the_same() -> None:
    encoded = done(geotiff(*PLACES["in a system of its own"]))
    assert encoded.fragment["image"]["crs"] is None
    assert "no_crs" not in encoded.counts
    assert {LAYER, NATIVE} <= set(encoded.files)


def test_a_system_that_nobody_knows_is_a_warning_in_words() -> None:
    encoded = done(tagged(scale=SCALE, tie=TIE, keys=(34735, "H", (1, 1, 0, 2, 1024, 0, 1, 1, 3072, 0, 1, 1234))))
    assert encoded.fragment["image"]["crs"] is None
    assert encoded.fragment["image"]["warnings"] == ["no_crs"]
    assert encoded.counts["no_crs"] == 1
    assert "EPSG" in encoded.record["info"]["warnings"]["no_crs"]
    assert NATIVE in encoded.files
    assert LAYER not in encoded.files


def test_a_place_off_the_earth_is_a_warning_in_words() -> None:
    encoded = done(geotiff("EPSG:4326", Affine(1, 0, 404_211, 0, -1, 3_285_142)))
    assert encoded.fragment["image"]["warnings"] == ["not_placed"]
    assert LAYER not in encoded.files


@pytest.mark.parametrize(
    "tags",
    [
        {"scale": (33550, "d", (float("nan"), 0.0, 0.0))},
        {"keys": (34735, "s", "nonsense")},
        {"keys": (34735, "H", (1, 1, 0, 40, 1024, 34736, 1, 900))},
        {"scale": (33550, "B", (1, 2)), "tie": (33922, "s", "here"), "ascii": (34737, "B", (255, 0, 200))},
    ],
)
def test_damaged_tags_fail_nothing(tags: dict[str, tuple[int, str, Any]]) -> None:
    encoded = done(tagged(**tags))
    assert encoded.fragment["image"]["warnings"] == ["not_placed"]
    assert "masks/OSBS_029_masks.tif" in encoded.files
    assert LAYER not in encoded.files


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_name_in_any_writing_fails_nothing() -> None:
    keys = (34735, "H", (1, 1, 0, 2, 1024, 0, 1, 1, 1026, 34737, 13, 0))
    encoded = done(tagged(keys=keys, names=(34737, "s", "Gauß-Krüger|".encode("latin-1"))))
    with rasterio.open(io.BytesIO(encoded.files["masks/OSBS_029_masks.tif"].data)) as labels:
        assert labels.shape == (8, 8)


def test_entries_of_geographic_tags_that_were_overwritten_fail_nothing() -> None:
    """Type, count or place of a tag's value, in turn replaced by what cannot be."""
    whole = geotiff(*PLACES["north up in UTM"])
    start = int.from_bytes(whole[4:8], "little")
    entries = range(start + 2, start + 2 + 12 * int.from_bytes(whole[start : start + 2], "little"), 12)
    geographic = [at for at in entries if 33550 <= int.from_bytes(whole[at : at + 2], "little") <= 34737]
    assert len(geographic) >= 4
    for at in geographic:
        for field, value in ((2, b"\2\0"), (2, b"\xff\xff"), (4, b"\0\0\0\0"), (4, b"\xff" * 4), (8, b"\x64\0\0\0")):
            encoded = done(whole[: at + field] + value + whole[at + field + len(value) :])
            assert (encoded.fragment["image"]["width"], encoded.fragment["image"]["height"]) == (60, 60)


def test_a_photograph_has_no_place_and_no_warning() -> None:
    encoded = done(geotiff(None, None))
    assert set(encoded.fragment["image"]) == {"id", "file_name", "width", "height"}
    assert LAYER not in encoded.files
