"""SAM3 behind the task `segment`: prompts and boxes in, COCO out; and nothing of it is imported for other engines."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.tiny_sam3 import write_tiny_sam3

import gpupipe.examples
from gpuworker.contract import ModelSource
from gpuworker.contract.items import ItemError, Source
from gpuworker.models import FolderModels, ModelError
from gpuworker.tasks.base import Encoded
from gpuworker.tasks.segment.task import Segment

EXAMPLES = Path(gpupipe.examples.__file__).parent / "photos"
PLAIN = {"engine": "sam3", "overlays": False, "thumbnails": False}
BOXES = {"boxes": [{"x": 60, "y": 40, "width": 150, "height": 120, "is_positive": True, "prompt": ""}]}


def task(weights: Path) -> Segment:
    segment = Segment()
    segment.use_models(FolderModels(ModelSource(weights=str(weights))))
    segment.load("cpu", PLAIN)
    return segment


@pytest.fixture(scope="module")
def segment(weights: Path) -> Segment:
    return task(weights)


def processed(
    segment: Segment, name: str, options: Mapping[str, Any], sidecar: Mapping[str, Any] | None = None
) -> Encoded:
    source = Source(output=Path(name).stem, file_name=name, sidecar=sidecar or {})
    asked = {**PLAIN, **options}
    decoded = segment.decode((EXAMPLES / name).read_bytes(), source, asked)
    [result] = segment.run([decoded], asked)
    return segment.encode(decoded, result, asked)


def categories(encoded: Encoded) -> list[str]:
    return [category["name"] for category in encoded.record["categories"]]


def test_prompts_become_categories_and_masks_annotations(segment: Segment) -> None:
    encoded = processed(segment, "cat.jpg", {"prompts": ["tree", "car"]})
    assert categories(encoded) == ["tree", "car"]
    annotations = encoded.fragment["annotations"]
    assert {one["category_id"] for one in annotations} == {1, 2}
    assert all(one["score"] >= 0.4 and one["area"] > 0 for one in annotations)
    assert list(encoded.files) == ["masks/cat_masks.tif"]


def test_the_result_names_weights_and_libraries(segment: Segment) -> None:
    info = segment.engine_info(PLAIN)
    assert info["name"] == "sam3"
    assert all(word in info["version"] for word in ("weights ", "torch 2.", "transformers 5."))


@pytest.mark.exhaustive  # with the engine for tests: tasks/test_segment_tiles.py
def test_a_negative_prompt_is_looked_for_and_does_not_come_back(segment: Segment) -> None:
    wanted = processed(segment, "cat.jpg", {"prompts": ["tree"]})
    negative = {"prompts": ["tree"], "negative_prompts": ["car"]}
    without = processed(segment, "cat.jpg", negative)
    never = processed(segment, "cat.jpg", negative | {"prompt_thresholds": {"car": 1.0}})
    assert categories(without) == categories(wanted) == ["tree"]
    assert without.counts["annotations"] < wanted.counts["annotations"]
    assert never.fragment == wanted.fragment


NEGATIVE: dict[str, Any] = {**PLAIN, "prompts": ["tree", "car"], "negative_prompts": ["person"]}


@pytest.mark.parametrize("is_positive", [True, False])
def test_a_box_for_all_prompts_is_no_example_of_a_negative_one(segment: Segment, is_positive: bool) -> None:
    of_all = [{**BOXES["boxes"][0], "is_positive": is_positive}]
    source = Source(output="cat", file_name="cat.jpg", sidecar={"boxes": of_all})
    decoded = segment.decode((EXAMPLES / "cat.jpg").read_bytes(), source, NEGATIVE)
    assert {one.prompt for one in decoded.payload[0].scene.whole().boxes} == {"tree", "car"}


@pytest.mark.exhaustive
@pytest.mark.parametrize("is_positive", [True, False])
def test_a_box_for_all_prompts_is_one_for_each_but_the_negative(segment: Segment, is_positive: bool) -> None:
    [box] = BOXES["boxes"]
    of_all = [{**box, "is_positive": is_positive}]
    each = [{**box, "is_positive": is_positive, "prompt": prompt} for prompt in ("tree", "car")]
    found = [processed(segment, "cat.jpg", NEGATIVE, {"boxes": boxes}).fragment for boxes in (of_all, each)]
    assert found[0] == found[1]


def test_negative_prompts_alone_fail_the_item(segment: Segment) -> None:
    with pytest.raises(ItemError, match="there is no prompt") as caught:
        processed(segment, "cat.jpg", {"negative_prompts": ["car"]}, BOXES)
    assert caught.value.code == "unsuitable"


@pytest.mark.exhaustive  # test_engine.py, TestBoxes
def test_boxes_alone_become_the_category_visual(segment: Segment) -> None:
    encoded = processed(segment, "cat.jpg", {"score_threshold": 0.05}, BOXES)
    assert categories(encoded) == ["visual"]
    assert encoded.counts["annotations"] > 0


def test_nothing_to_look_for_fails_the_item(segment: Segment) -> None:
    with pytest.raises(ItemError, match="nothing to look for"):
        processed(segment, "cat.jpg", {})


@pytest.mark.exhaustive  # with the engine for tests: tasks/test_segment_tiles.py; test_engine.py, TestSaturation
def test_more_than_the_model_has_queries_for_is_looked_at_closer(tmp_path: Path) -> None:
    few = task(write_tiny_sam3(tmp_path, queries=5))
    options = {"prompts": ["tree"], "score_threshold": 0.0}
    encoded = processed(few, "OSBS_029.tif", options)
    assert encoded.counts["saturated"] == 1
    assert encoded.fragment["image"]["warnings"] == ["saturated"]


def test_a_georeferenced_image_comes_back_in_its_own_places(segment: Segment) -> None:
    encoded = processed(segment, "OSBS_029.tif", {"prompts": ["tree"]})
    assert encoded.counts["annotations"] > 0
    assert "instances.geojson" in encoded.files


def test_no_weights_is_an_error_of_the_model_and_says_what_to_set() -> None:
    with pytest.raises(ModelError, match="weights"):
        Segment().load("cpu", PLAIN)


def test_other_engines_do_without_torch() -> None:
    script = (
        "import sys, gpuworker.tasks.segment.task as s; t = s.Segment(); t.load('cpu', {'engine': 'nanodet'});"
        "print(t.engine_info({'engine': 'nanodet'})['name'], {'torch', 'transformers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "nanodet set()"


def test_sam3_does_without_torchvision(segment: Segment) -> None:
    processed(segment, "cat.jpg", {"prompts": ["tree"]}, BOXES)
    assert "torchvision" not in sys.modules
