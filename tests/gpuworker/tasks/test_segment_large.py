"""A map image of 20,000×20,000 pixels with 500 planted objects: each comes back once, in its place, with its area."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import pycocotools.mask
import pytest
import tifffile
from tests.gpuworker.tasks.planted import PIXEL_M, Planted, geotiff, planted

from gpuworker.scene import grid
from gpuworker.segment_options import Options
from gpuworker.tasks import Encoded, ItemError, Source
from gpuworker.tasks.segment import Segment
from gpuworker.tiling import DEFAULT_TILE_PX
from gpuworker.windowed import WindowedScene

SIDE = 20_000
CHANNELS = ("red", "green", "blue")


@pytest.fixture(scope="module")
def objects() -> list[Planted]:
    windows = list(grid(SIDE, SIDE, side=DEFAULT_TILE_PX, overlap=Options.tile_overlap))
    return planted(SIDE, windows, count=500)


@pytest.fixture(scope="module")
def encoded(objects: list[Planted]) -> Encoded:
    task = Segment(engines={"colour": "tests.colour_engine:Colour"})
    options = {"engine": "colour", "stretch": "none"}
    task.load("cpu", options)
    source = Source(output="large", file_name="large.tif")
    decoded = task.decode(geotiff(SIDE, objects), source, options)
    assert isinstance(decoded.payload.scene, WindowedScene)
    assert decoded.units == 529
    (result,) = task.run([decoded], options)
    assert not isinstance(result, ItemError), result
    return task.encode(decoded, result, options)


def expected(objects: list[Planted]) -> list[tuple[Any, ...]]:
    return sorted((CHANNELS[one.channel], *one.box, one.area, round(one.value / 255, 4)) for one in objects)


def found(annotations: list[Mapping[str, Any]]) -> list[tuple[Any, ...]]:
    return sorted(
        (CHANNELS[one["category_id"] - 1], x, y, x + width, y + height, one["area"], one["score"])
        for one in annotations
        for x, y, width, height in [one["bbox"]]
    )


def test_some_lie_on_seams_and_corners_and_some_are_larger_than_a_tile(objects: list[Planted]) -> None:
    lines = {window.left for window in grid(SIDE, SIDE, side=DEFAULT_TILE_PX, overlap=Options.tile_overlap)} - {0}
    across = [any(one.box[0] < line < one.box[2] for line in lines) for one in objects]
    down = [any(one.box[1] < line < one.box[3] for line in lines) for one in objects]
    assert sum(a and b for a, b in zip(across, down, strict=True)) >= 30
    assert sum(a or b for a, b in zip(across, down, strict=True)) >= 200
    assert sum(max(one.mask.shape) > DEFAULT_TILE_PX for one in objects) >= 3
    assert sum(min(one.mask.shape) > DEFAULT_TILE_PX * Options.tile_overlap for one in objects) >= 50


def test_each_comes_back_once_with_its_box_area_and_score(objects: list[Planted], encoded: Encoded) -> None:
    assert len(objects) == 500
    assert found(encoded.fragment["annotations"]) == expected(objects)
    assert encoded.counts["annotations"] == 500


def test_run_lengths_and_areas_on_the_ground_say_the_same(encoded: Encoded) -> None:
    for annotation in encoded.fragment["annotations"]:
        assert int(pycocotools.mask.area(annotation["segmentation"])) == annotation["area"]
        assert pycocotools.mask.toBbox(annotation["segmentation"]).tolist() == annotation["bbox"]
        assert annotation["area_m2"] == pytest.approx(annotation["area"] * PIXEL_M**2, rel=1e-5)
        assert annotation["hidden_pixels"] == 0


def test_the_label_image_shows_each_in_all_its_pixels(encoded: Encoded) -> None:
    counts = np.zeros(501, np.int64)
    with tifffile.TiffFile(io.BytesIO(encoded.files["masks/large_masks.tif"].data)) as file:
        page = file.pages.first
        assert page.shape == (SIDE, SIDE)
        for block, _, _ in page.segments():
            assert block is not None
            counts += np.bincount(block.ravel(), minlength=501)
    assert counts[1:].tolist() == [annotation["area"] for annotation in encoded.fragment["annotations"]]
