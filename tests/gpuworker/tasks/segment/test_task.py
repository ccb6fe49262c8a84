"""The task from bytes to files: everything promised is there, agrees with itself, and failures are ItemErrors."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from pycocotools.coco import COCO
from tests.gpuworker import pictures

import gpupipe.examples
from gpuworker.contract.items import ItemError, Source
from gpuworker.tasks import make_task
from gpuworker.tasks.base import Encoded, Task

EXAMPLES = Path(gpupipe.examples.__file__).parent / "photos"

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@cache
def task() -> Task:
    made = make_task("segment")
    made.load("cpu", {})
    return made


def done(name: str, **options: Any) -> Encoded:
    source = Source(output=f"field 7/{name.partition('.')[0]}", file_name=f"field 7/{name}")
    decoded = task().decode((EXAMPLES / name).read_bytes(), source, options)
    (result,) = task().run([decoded], options)
    return task().encode(decoded, result, options)


@cache
def usual(name: str) -> Encoded:
    """What the usual options give; several tests look at it."""
    return done(name)


def labels(encoded: Encoded, name: str) -> Any:
    return tifffile.imread(io.BytesIO(encoded.files[f"masks/{name}_masks.tif"].data))


class TestResult:
    def test_the_files_of_an_item(self) -> None:
        encoded = usual("football.jpg")
        assert set(encoded.files) == {"masks/football_masks.tif", "overlay.jpg", "thumb.jpg"}
        assert [file.content_type for file in encoded.files.values()] == ["image/tiff", "image/jpeg", "image/jpeg"]
        assert encoded.counts == {"annotations": len(encoded.fragment["annotations"])}
        assert encoded.counts["annotations"] >= 3

    def test_a_very_long_name_still_fits_into_a_key(self) -> None:
        source = Source(output="é" * 250, file_name="é" * 250 + ".jpg")
        decoded = task().decode((EXAMPLES / "cat.jpg").read_bytes(), source, {})
        (result,) = task().run([decoded], {})
        (path,) = [path for path in task().encode(decoded, result, {}).files if path.startswith("masks/")]
        assert len(path.encode()) <= 220
        assert path == f"masks/{'é' * 100}_masks.tif"

    def test_record_fragment_labels_and_rle_agree(self, tmp_path: Path) -> None:
        encoded = usual("taxis.webp")
        path = tmp_path / task().record_name
        path.write_text(json.dumps(encoded.record), "utf-8")
        coco = COCO(str(path))
        painted = labels(encoded, "taxis")
        assert painted.shape == (600, 900)
        assert encoded.record["annotations"] == encoded.fragment["annotations"]
        assert encoded.record["images"] == [encoded.fragment["image"]]
        for annotation in coco.loadAnns(coco.getAnnIds()):
            mask = coco.annToMask(annotation).astype(bool)
            shown = painted == annotation["id"]
            assert shown.sum() == annotation["area"] - annotation["hidden_pixels"]
            assert (mask & shown).sum() == shown.sum()

    def test_the_head_is_the_shards(self) -> None:
        encoded = done("cat.jpg", prompts=["cat", "dog"])
        head = task().shard_header({"prompts": ["cat", "dog"]})
        assert {key: encoded.record[key] for key in head} == head
        assert [c["name"] for c in head["categories"]] == ["cat", "dog"]
        assert head["info"]["options"]["score_threshold"] == 0.4
        assert "80 everyday things" in head["info"]["engine"]["notes"]
        assert encoded.record["annotations"][0]["category_id"] == 1
        json.dumps(head)

    def test_the_same_input_gives_the_same_bytes(self) -> None:
        first, second = usual("cat.jpg"), done("cat.jpg")
        assert first.record == second.record
        assert {k: f.data for k, f in first.files.items()} == {k: f.data for k, f in second.files.items()}

    def test_coordinates_are_in_the_upright_frame(self) -> None:
        encoded = done("coffee_sideways.jpg")
        assert (encoded.fragment["image"]["width"], encoded.fragment["image"]["height"]) == (600, 400)
        (cup,) = encoded.fragment["annotations"]
        x, _, width, _ = cup["bbox"]
        assert 100 < x < 200
        assert x + width < 460

    def test_a_geotiff_keeps_its_place(self) -> None:
        encoded = done("OSBS_029.tif")
        assert encoded.fragment["annotations"] == []
        with (
            tifffile.TiffFile(EXAMPLES / "OSBS_029.tif") as before,
            tifffile.TiffFile(io.BytesIO(encoded.files["masks/OSBS_029_masks.tif"].data)) as after,
        ):
            for code in (33550, 33922, 34735, 34737):
                assert after.pages.first.tags[code].value == before.pages.first.tags[code].value


class TestOptions:
    def test_polygons(self) -> None:
        annotations = done("astronaut.jpg", segmentation="polygons").fragment["annotations"]
        assert isinstance(annotations[0]["segmentation"], list)
        assert len(annotations[0]["segmentation"][0]) >= 6

    def test_a_stack_of_masks(self) -> None:
        encoded = done("football.jpg", masks="stack")
        with tifffile.TiffFile(io.BytesIO(encoded.files["masks/football_masks.tif"].data)) as file:
            areas = [int(page.asarray().sum()) for page in file.pages]
        assert areas == [a["area"] for a in encoded.fragment["annotations"]]
        assert "hidden_pixels" not in encoded.fragment["annotations"][0]

    def test_everything_off_leaves_the_record(self) -> None:
        encoded = done("cat.jpg", masks="none", overlays=False, thumbnails=False)
        assert encoded.files == {}
        assert encoded.counts["annotations"] == 1

    def test_limits_come_from_the_job(self) -> None:
        with pytest.raises(ItemError) as caught:
            done("cat.jpg", max_pixels=1000)
        assert caught.value.code == "too_large"

    def test_an_unknown_engine_is_refused_when_loading(self) -> None:
        with pytest.raises(ValueError, match="no engine 'sam9'"):
            make_task("segment").load("cpu", {"engine": "sam9"})

    def test_an_unknown_prompt_is_refused_when_loading(self) -> None:
        with pytest.raises(ValueError, match="pine"):
            make_task("segment").load("cpu", {"prompts": ["pine"]})

    @pytest.mark.exhaustive  # with the engine for tests: test_segment_tiles.py
    def test_max_instances_counts_results_and_not_what_is_not_wanted(self) -> None:
        # given cars that are surer than the people, and not wanted
        asked = {"prompts": ["person"], "negative_prompts": ["car"], "score_threshold": 0.2}
        everybody = done("taxis.webp", **asked).fragment
        assert len(everybody["annotations"]) > 1
        assert "warnings" not in everybody["image"]
        # when the surest person will do
        one = done("taxis.webp", **asked, max_instances=1).fragment
        # then no car stands in the way, and that there are more is said
        assert [a["score"] for a in one["annotations"]] == [everybody["annotations"][0]["score"]]
        assert one["image"]["warnings"] == ["more_found"]


class TestStream:
    def test_threads_and_batches(self) -> None:
        assert task().infer_threads >= 1
        assert task().batch_size == 1

    def test_the_cost_covers_the_pixels(self) -> None:
        data = pictures.png(pictures.scene(500, 700))
        source = Source(output="a", file_name="a.png")
        decoded = task().decode(data, source, {"overlays": False})
        assert 500 * 700 * 3 <= decoded.cost_bytes <= 500 * 700 * 6
        assert task().decode(data, source, {}).cost_bytes > decoded.cost_bytes

    def test_a_large_photograph_is_held_small_and_answered_in_full(self) -> None:
        rgb = cv2.resize(pictures.scene(300, 400), (4000, 3000))
        source = Source(output="a/b", file_name="a/b.jpg")
        decoded = task().decode(pictures.jpeg(rgb), source, {"overlays": False})
        assert decoded.cost_bytes < 3000 * 4000 * 3
        encoded = task().encode(decoded, task().run([decoded], {})[0], {"overlays": False})
        assert (encoded.fragment["image"]["width"], encoded.fragment["image"]["height"]) == (4000, 3000)
        assert labels(encoded, "b").shape == (3000, 4000)

    def test_broken_bytes_are_an_item_error(self) -> None:
        with pytest.raises(ItemError):
            task().decode(b"nonsense", Source(output="a", file_name="a.jpg"), {})


@pytest.mark.parametrize("boxes", [[{"x": 1}], [{"box": [1, 2, 3, 4]}], [7], 7])
def test_boxes_of_another_form_are_told(boxes: Any) -> None:
    source = Source(output="cat", file_name="cat.jpg", sidecar={"boxes": boxes})
    with pytest.raises(ItemError, match="is not of the form") as caught:
        task().decode((EXAMPLES / "cat.jpg").read_bytes(), source, {})
    assert caught.value.code == "unsuitable"


def test_the_tables_of_tasks_and_engines_import_no_library() -> None:
    code = "import sys, gpuworker.tasks, gpuworker.engines; print({'cv2', 'numpy', 'boto3'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert out.stdout.strip() == "set()"


@pytest.mark.parametrize(
    "name", ["taxis.webp", "football.jpg", pytest.param("horse_race.jpg", marks=pytest.mark.exhaustive)]
)
def test_masks_of_every_instance_lie_inside_the_image(name: str) -> None:
    encoded = usual(name)
    image = encoded.fragment["image"]
    for annotation in encoded.fragment["annotations"]:
        x, y, width, height = annotation["bbox"]
        assert 0 <= x < x + width <= image["width"]
        assert 0 <= y < y + height <= image["height"]
        assert np.prod([width, height]) >= annotation["area"] > 0
