"""`segment` by tiles: the same results as in one piece, crowded images split, failures and warnings said."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, ClassVar

import numpy as np
import pycocotools.mask
import pytest
import tifffile
from numpy.typing import NDArray
from tests.colour_engine import Colour
from tests.gpuworker import pictures

from gpuworker.contract.items import ItemError, Source
from gpuworker.engines.options import Options
from gpuworker.images.decoding import Image
from gpuworker.tasks.base import Decoded, Encoded
from gpuworker.tasks.segment.task import Segment

ENGINES = {
    "colour": "tests.colour_engine:Colour",
    "cramped": "tests.colour_engine:Cramped",
    "choosy": "tests.gpuworker.tasks.segment.test_tiles:Choosy",
    "small": "tests.gpuworker.tasks.segment.test_tiles:Small",
}


class Choosy(Colour):
    """Wants to be told what to look for, in words or by boxes."""

    takes_boxes = True


class Small(Colour, own={"sizes"}):
    """Has no memory for more than a million pixels."""

    sizes: ClassVar[list[tuple[int, int]]] = []

    def detect(self, prepared: Sequence[Image], options: Options) -> Sequence[Any]:
        self.sizes.extend((image.height, image.width) for image in prepared)
        if sum(image.height * image.width for image in prepared) > 1_100_000:
            raise MemoryError("out of memory")
        return super().detect(prepared, options)


def many(height: int = 700, width: int = 900, *, seed: int = 1, count: int = 60) -> NDArray[np.uint8]:
    """Rectangles and discs of three colours, some larger than a tile of 200."""
    chance = np.random.default_rng(seed)
    rgb = np.zeros((height, width, 3), np.uint8)
    rgb[300:340, 20:880, 1] = 200
    while count:
        x, y = int(chance.integers(0, width - 60)), int(chance.integers(0, height - 60))
        w, h = chance.integers(4, 60, 2)
        if not rgb[max(0, y - 2) : y + h + 2, max(0, x - 2) : x + w + 2].any():
            rgb[y : y + h, x : x + w, chance.integers(0, 3)] = chance.integers(120, 256)
            count -= 1
    return rgb


def decoded(task: Segment, rgb: NDArray[np.uint8], options: Mapping[str, Any], **sidecar: Any) -> Decoded:
    source = Source(output="a", file_name="a.png", sidecar=sidecar)
    return task.decode(pictures.png(rgb), source, options)


def done(rgb: NDArray[np.uint8], *, engine: str = "colour", **options: Any) -> Encoded:
    task, chosen = Segment(engines=ENGINES), {"engine": engine, **options}
    one = decoded(task, rgb, chosen)
    (result,) = task.run([one], chosen)
    if isinstance(result, ItemError):
        raise result
    return task.encode(one, result, chosen)


@cache
def of_many(**options: Any) -> Encoded:
    """Several tests look at the same."""
    return done(many(), **options)


def seen(encoded: Encoded) -> list[tuple[Any, ...]]:
    return sorted(
        (one["category_id"], *one["bbox"], one["area"], one["score"], one["segmentation"]["counts"])
        for one in encoded.fragment["annotations"]
    )


pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


class TestTiles:
    def test_tiles_give_what_the_whole_image_gives(self) -> None:
        whole, tiled = of_many(tile_size="whole"), of_many(tile_size=200)
        assert len(seen(whole)) == 61
        assert seen(tiled) == seen(whole)
        assert tiled.counts == {"annotations": 61}

    @pytest.mark.parametrize("seed", [2, *(pytest.param(seed, marks=pytest.mark.exhaustive) for seed in range(3, 6))])
    def test_whatever_the_tiles_and_the_strips(self, seed: int) -> None:
        rgb = many(500, 600, seed=seed, count=40)
        expected = seen(done(rgb, masks="none", overlays=False))
        for tile_size, tile_overlap in ((100, 0.3), (333, 0.05), (512, 0.125)):
            assert seen(done(rgb, tile_size=tile_size, tile_overlap=tile_overlap, overlays=False)) == expected

    def test_labels_run_lengths_and_areas_agree(self) -> None:
        encoded = of_many(tile_size=200)
        labels = tifffile.imread(io.BytesIO(encoded.files["masks/a_masks.tif"].data))
        for one in encoded.fragment["annotations"]:
            mask = pycocotools.mask.decode(one["segmentation"]).astype(bool)
            assert mask.sum() == one["area"] == int((labels == one["id"]).sum()) + one["hidden_pixels"]
            assert (labels[mask] == one["id"]).sum() == one["area"] - one["hidden_pixels"]

    def test_prompts_choose_and_negative_prompts_suppress(self) -> None:
        encoded = done(many(), tile_size=200, prompts=["red"], negative_prompts=["green"])
        assert [category["name"] for category in encoded.record["categories"]] == ["red"]
        reds = [one for one in seen(of_many()) if one[0] == 1]
        assert seen(encoded) == reds

    def test_the_same_bytes_each_time(self) -> None:
        first, second = done(many(), tile_size=150), done(many(), tile_size=150)
        assert first.record == second.record
        assert {name: file.data for name, file in first.files.items()} == {
            name: file.data for name, file in second.files.items()
        }

    def test_several_images_at_once_some_whole_some_by_tiles(self) -> None:
        task, options = Segment(engines=ENGINES), {"engine": "colour", "tile_size": 400, "overlays": False}
        pictures_ = [many(300, 300, count=9), many(count=50), many(300, 390, count=7), many(500, 600, count=20)]
        items = [decoded(task, rgb, options) for rgb in pictures_]
        assert [item.weight for item in items] == [1, 6, 1, 4]
        results = task.run(items, options)
        found = [task.encode(item, result, options) for item, result in zip(items, results, strict=True)]
        assert [len(one.fragment["annotations"]) for one in found] == [9, 51, 7, 21]


class TestCrowded:
    def test_a_crowded_image_is_looked_at_in_parts(self) -> None:
        assert seen(of_many(engine="cramped")) == seen(of_many())
        assert "warnings" not in of_many(engine="cramped").fragment["image"]

    def test_crowded_tiles_are_split(self) -> None:
        # Of 400 pixels a tile holds more than ten.
        assert seen(of_many(engine="cramped", tile_size=400)) == seen(of_many())

    def test_what_stays_crowded_is_said(self) -> None:
        rgb = np.zeros((700, 900, 3), np.uint8)
        rgb[::20, ::20, 0] = 200
        encoded = done(rgb, engine="cramped")
        assert encoded.fragment["image"]["warnings"] == ["saturated"]
        assert encoded.counts["saturated"] == 1
        assert 10 < encoded.counts["annotations"] < 35 * 45

    def test_what_max_instances_leaves_out_is_said(self) -> None:
        # when
        all_of_them, some = of_many(), of_many(max_instances=10)
        # then
        assert "warnings" not in all_of_them.fragment["image"]
        assert some.fragment["image"]["warnings"] == ["more_found"]
        assert some.counts["annotations"] == 10
        assert some.counts["more_found"] == 1
        scores = sorted((one["score"] for one in all_of_them.fragment["annotations"]), reverse=True)
        assert [one["score"] for one in some.fragment["annotations"]] == scores[:10]

    def test_a_small_crowded_image_is_not_split(self) -> None:
        rgb = np.zeros((100, 100, 3), np.uint8)
        rgb[::20, ::20, 0] = 200
        encoded = done(rgb, engine="cramped")
        assert encoded.counts == {"annotations": 10, "saturated": 1}

    @pytest.mark.parametrize("tile_size", ["whole", 400])
    def test_looking_closer_may_take_longer(self, tile_size: int | str) -> None:
        task, options = Segment(engines=ENGINES), {"engine": "cramped", "tile_size": tile_size}
        one = decoded(task, many(), options)
        assert (one.extra_weight(), one.weight_done()) == (0, 0)
        task.run([one], options)
        assert one.extra_weight() >= 4
        if tile_size != "whole":
            assert one.weight_done() == one.weight + one.extra_weight()


class TestShortMemory:
    def test_an_image_that_does_not_fit_is_looked_at_by_tiles(self) -> None:
        rgb = many(1500, 1600)
        Small.sizes.clear()
        encoded = done(rgb, engine="small", overlays=False)
        assert seen(encoded) == seen(done(rgb, overlays=False))
        assert Small.sizes[0] == (1500, 1600)
        assert set(Small.sizes[2:]) == {(1008, 1008)}

    def test_a_tile_that_does_not_fit_fails_the_image(self) -> None:
        with pytest.raises(ItemError) as caught:
            done(many(1500, 1600), engine="small", tile_size=1400)
        assert caught.value.code == "out_of_memory"


class TestPrompts:
    def test_nothing_to_look_for_is_refused(self) -> None:
        with pytest.raises(ItemError, match="nothing to look for") as caught:
            done(many(), engine="choosy")
        assert caught.value.code == "unsuitable"
        assert done(many(), engine="choosy", prompts=["red"]).counts["annotations"] > 10

    def test_a_box_is_enough(self) -> None:
        task, options = Segment(engines=ENGINES), {"engine": "choosy"}
        box = {"x": 1.0, "y": 1.0, "width": 9.0, "height": 9.0, "is_positive": True, "prompt": ""}
        assert decoded(task, many(), options, boxes=[box]).weight == 1
        with pytest.raises(ItemError, match="nothing to look for"):
            decoded(task, many(), options, boxes=[{**box, "is_positive": False}])


def test_an_engine_that_is_in_no_table() -> None:
    with pytest.raises(ValueError, match="there is no engine 'colour'"):
        Segment().load("cpu", {"engine": "colour"})
