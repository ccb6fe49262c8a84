"""A large map image with planted objects, up to 20,000×20,000 pixels: each comes back once, where and as it is."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pycocotools.mask
import pytest
import tifffile
from tests.gpuworker.tasks.planted import PIXEL_M, Planted, geotiff, planted

from gpuworker.contract.items import ItemError, Source
from gpuworker.engines.options import Options
from gpuworker.tasks.base import Encoded
from gpuworker.tasks.segment.task import Segment
from gpuworker.tasks.segment.tiling import DEFAULT_TILE_PX
from gpuworker.tiles.scene import grid
from gpuworker.tiles.windowed import WindowedScene

CHANNELS = ("red", "green", "blue")


@dataclass(frozen=True, kw_only=True)
class Size:
    """A side×side image in so many tiles, with so many objects, and what there has to be at least among these."""

    side: int
    tiles: int
    objects: int
    on_corners: int
    on_seams: int
    wider_than_overlaps: int


SMALL = Size(side=6_000, tiles=49, objects=120, on_corners=30, on_seams=90, wider_than_overlaps=1)
LARGE = Size(side=20_000, tiles=529, objects=500, on_corners=30, on_seams=200, wider_than_overlaps=50)


@pytest.fixture(
    scope="module", params=[SMALL, pytest.param(LARGE, marks=pytest.mark.exhaustive)], ids=lambda one: one.side
)
def size(request: pytest.FixtureRequest) -> Size:
    size: Size = request.param
    return size


@pytest.fixture(scope="module")
def objects(size: Size) -> list[Planted]:
    windows = list(grid(size.side, size.side, side=DEFAULT_TILE_PX, overlap=Options.tile_overlap))
    return planted(size.side, windows, count=size.objects)


@pytest.fixture(scope="module")
def encoded(size: Size, objects: list[Planted]) -> Encoded:
    task = Segment(engines={"colour": "tests.colour_engine:Colour"})
    options = {"engine": "colour", "stretch": "none"}
    task.load("cpu", options)
    source = Source(output="large", file_name="large.tif")
    decoded = task.decode(geotiff(size.side, objects), source, options)
    assert isinstance(decoded.payload[0].scene, WindowedScene)
    assert decoded.weight == size.tiles
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


def test_some_lie_on_seams_and_corners_and_some_are_larger_than_a_tile(size: Size, objects: list[Planted]) -> None:
    lines = {
        window.left for window in grid(size.side, size.side, side=DEFAULT_TILE_PX, overlap=Options.tile_overlap)
    } - {0}
    across = [any(one.box[0] < line < one.box[2] for line in lines) for one in objects]
    down = [any(one.box[1] < line < one.box[3] for line in lines) for one in objects]
    assert sum(a and b for a, b in zip(across, down, strict=True)) >= size.on_corners
    assert sum(a or b for a, b in zip(across, down, strict=True)) >= size.on_seams
    assert sum(max(one.mask.shape) > DEFAULT_TILE_PX for one in objects) >= 3
    assert (
        sum(min(one.mask.shape) > DEFAULT_TILE_PX * Options.tile_overlap for one in objects) >= size.wider_than_overlaps
    )


def test_each_comes_back_once_with_its_box_area_and_score(size: Size, objects: list[Planted], encoded: Encoded) -> None:
    assert len(objects) == size.objects
    assert found(encoded.fragment["annotations"]) == expected(objects)
    assert encoded.counts["annotations"] == size.objects


def test_run_lengths_and_areas_on_the_ground_say_the_same(encoded: Encoded) -> None:
    for annotation in encoded.fragment["annotations"]:
        assert int(pycocotools.mask.area(annotation["segmentation"])) == annotation["area"]
        assert pycocotools.mask.toBbox(annotation["segmentation"]).tolist() == annotation["bbox"]
        assert annotation["area_m2"] == pytest.approx(annotation["area"] * PIXEL_M**2, rel=1e-5)
        assert annotation["hidden_pixels"] == 0


def test_the_label_image_shows_each_in_all_its_pixels(size: Size, encoded: Encoded) -> None:
    counts = np.zeros(size.objects + 1, np.int64)
    with tifffile.TiffFile(io.BytesIO(encoded.files["masks/large_masks.tif"].data)) as file:
        page = file.pages.first
        assert page.shape == (size.side, size.side)
        for block, _, _ in page.segments():
            assert block is not None
            counts += np.bincount(block.ravel(), minlength=size.objects + 1)
    assert counts[1:].tolist() == [annotation["area"] for annotation in encoded.fragment["annotations"]]
