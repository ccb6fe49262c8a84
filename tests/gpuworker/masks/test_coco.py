"""COCO documents: what pycocotools reads back is what was put in."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO

from gpuworker.contract import CAVEATS, caveats_in
from gpuworker.geo.georeference import NO_CRS, NOT_PLACED, Georeference
from gpuworker.images.notes import Notes
from gpuworker.masks import coco
from gpuworker.masks.instances import Instance

HEAD = coco.header(engine={"name": "test", "version": "1"}, options={"prompts": ["cup"]}, names=["cup", "person"])

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
"""pycocotools' own `decode` is not up to date with numpy 2; reading a document warns of nothing."""


def ring() -> Instance:
    mask = np.ones((6, 9), np.bool_)
    mask[2:4, 3:6] = False
    return Instance(x=11, y=4, mask=mask, score=0.876543, category_id=2, source="grabcut")


def loose() -> Instance:
    mask = np.zeros((10, 10), np.bool_)
    mask[3:5, 2:7] = True
    return Instance(x=20, y=30, mask=mask, score=0.5, category_id=1, source="ellipse")


def document(segmentation: str = "rle", **more: Any) -> dict[str, Any]:
    found = [ring(), loose()]
    part = coco.fragment(found, file_name="a/b c.jpg", height=50, width=60, segmentation=segmentation, **more)
    return coco.record(HEAD, part)


def loaded(tmp_path: Path, record: dict[str, Any]) -> COCO:
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps(record), "utf-8")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return COCO(str(path))


class TestRecord:
    def test_pycocotools_reads_the_masks_back(self, tmp_path: Path) -> None:
        data = loaded(tmp_path, document())
        assert data.getImgIds() == [1]
        assert data.getCatIds() == [1, 2]
        for one, annotation in zip([ring(), loose()], data.loadAnns(data.getAnnIds()), strict=True):
            mask = data.annToMask(annotation).astype(bool)
            assert mask.shape == (50, 60)
            assert mask.sum() == annotation["area"] == one.area
            x, y, width, height = annotation["bbox"]
            assert mask[y : y + height, x : x + width].sum() == one.area
            assert mask[y].any()
            assert mask[:, x].any()

    def test_ids_count_from_one_and_counts_are_text(self) -> None:
        record = document()
        assert [a["id"] for a in record["annotations"]] == [1, 2]
        assert {a["image_id"] for a in record["annotations"]} == {record["images"][0]["id"]} == {1}
        assert all(isinstance(a["segmentation"]["counts"], str) for a in record["annotations"])
        assert all(a["iscrowd"] == 0 for a in record["annotations"])
        assert [a["score"] for a in record["annotations"]] == [0.8765, 0.5]
        assert [a["category_id"] for a in record["annotations"]] == [2, 1]
        assert [a["mask_source"] for a in record["annotations"]] == ["grabcut", "ellipse"]

    def test_boxes_are_tight(self) -> None:
        assert [a["bbox"] for a in document()["annotations"]] == [[11, 4, 9, 6], [22, 33, 5, 2]]

    def test_the_image_and_the_head(self) -> None:
        record = document()
        assert record["images"] == [{"id": 1, "file_name": "a/b c.jpg", "width": 60, "height": 50}]
        assert record["info"]["engine"] == {"name": "test", "version": "1"}
        assert record["info"]["options"] == {"prompts": ["cup"]}
        assert record["licenses"] == []
        assert [c["name"] for c in record["categories"]] == ["cup", "person"]

    def test_the_same_input_gives_the_same_text(self) -> None:
        assert json.dumps(document()) == json.dumps(document())

    def test_no_instance_is_a_valid_document(self, tmp_path: Path) -> None:
        part = coco.fragment([], file_name="a.jpg", height=5, width=6, segmentation="rle")
        assert loaded(tmp_path, coco.record(HEAD, part)).getAnnIds() == []

    def test_hidden_pixels_are_told_where_they_were_counted(self) -> None:
        assert [a["hidden_pixels"] for a in document(hidden_pixels=(3, 0))["annotations"]] == [3, 0]
        assert "hidden_pixels" not in document()["annotations"][0]

    def test_an_empty_mask_is_a_mistake(self) -> None:
        nothing = Instance(x=0, y=0, mask=np.zeros((2, 2), np.bool_), score=1, category_id=1, source="test")
        with pytest.raises(ValueError, match="empty mask"):
            coco.fragment([nothing], file_name="a", height=9, width=9, segmentation="rle")


class TestPolygonRecord:
    def test_pycocotools_reads_them(self, tmp_path: Path) -> None:
        data = loaded(tmp_path, document("polygons"))
        first, second = data.loadAnns(data.getAnnIds())
        assert data.annToMask(first).sum() == first["area"] == 54
        assert data.annToMask(second).sum() == second["area"] == 10
        assert first["bbox"] == [11, 4, 9, 6]
        assert second["bbox"] == [22, 33, 5, 2]


class TestOnEarth:
    PLACE = Georeference(epsg=32617, transform=(0.1, 0.0, 400_000.0, 0.0, -0.1, 3_000_000.0), metres=1.0)

    def test_an_image_on_the_map_says_where_and_how_large(self) -> None:
        record = document(place=self.PLACE)
        assert record["images"][0]["crs"] == "EPSG:32617"
        assert record["images"][0]["transform"] == [0.1, 0.0, 400_000.0, 0.0, -0.1, 3_000_000.0]
        assert [one["area_m2"] for one in record["annotations"]] == [0.48, 0.1]

    def test_what_is_not_known_is_null_and_no_area(self) -> None:
        record = document(place=Georeference())
        assert record["images"][0]["crs"] is None
        assert record["images"][0]["transform"] is None
        assert "area_m2" not in record["annotations"][0]

    def test_other_images_have_none_of_it(self) -> None:
        record = document()
        assert not {"crs", "transform", "warnings"} & set(record["images"][0])
        assert "area_m2" not in record["annotations"][0]

    def test_the_jobs_sums_get_whole_square_metres(self) -> None:
        large = Georeference(epsg=32617, transform=(1.0, 0.0, 0.0, 0.0, -1.0, 0.0), metres=1.0)
        record = document(place=large, notes=Notes(warnings=("saturated",)))
        part = {"image": record["images"][0], "annotations": record["annotations"]}
        assert coco.counts(part) == {"annotations": 2, "area_m2": 58, "saturated": 1}
        assert coco.counts({**part, "annotations": []}) == {"annotations": 0, "saturated": 1}


class TestWarnings:
    def test_words_stand_with_the_image_and_their_meaning_in_info(self) -> None:
        record = document(notes=Notes(warnings=("saturated", "a_word_of_the_future")))
        assert record["images"][0]["warnings"] == ["saturated", "a_word_of_the_future"]
        assert record["info"]["warnings"] == {"saturated": str(CAVEATS["saturated"])}
        assert record["info"]["engine"] == HEAD["info"]["engine"]
        assert "warnings" not in HEAD["info"]

    def test_without_warnings_the_head_is_as_it_was(self) -> None:
        assert document()["info"] == HEAD["info"]


def test_every_warning_that_the_worker_knows_has_a_meaning() -> None:
    assert {"saturated", NO_CRS, NOT_PLACED} <= set(CAVEATS)
    assert list(caveats_in(["not_placed", "odd", "saturated"])) == ["saturated", "not_placed"]
