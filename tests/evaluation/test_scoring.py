"""The figures are pycocotools' own, and those beside them what their names say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from tests.evaluation.made import document, scattered, written

from gpupipe.errors import InputError, UsageError
from gpupipe.evaluation import Evaluation, IouType, evaluate


def held(tmp_path: Path, truth: object, results: object, **options: object) -> Evaluation:
    """Evaluate two documents."""
    assert isinstance(truth, dict)
    assert isinstance(results, dict)
    return evaluate(written(tmp_path / "r.json", results), written(tmp_path / "t.json", truth), **options)  # type: ignore[arg-type]


def by_hand(tmp_path: Path, truth: dict, results: dict, iou_type: str, *, ignore: bool) -> np.ndarray:  # type: ignore[type-arg]
    """COCOeval as its documentation runs it: AP, AP50, AP75, … AR of 100 at index 8."""
    names = {one["id"]: one["name"] for one in results["categories"]}
    ids = {one["name"]: one["id"] for one in truth["categories"]}
    images = {one["file_name"]: one["id"] for one in truth["images"]}
    files = {one["id"]: one["file_name"] for one in results["images"]}
    told = [
        {
            "image_id": images[files[one["image_id"]]],
            "category_id": ids[names[one["category_id"]]],
            "score": one["score"],
            **({"bbox": one["bbox"]} if iou_type == "bbox" else {"segmentation": one["segmentation"]}),
        }
        for one in results["annotations"]
    ]
    coco = COCO(written(tmp_path / "hand.json", truth))
    if iou_type == "segm":
        for one in told:
            size = truth["images"][0]
            one["segmentation"] = coco.annToRLE({**one, "image_id": size["id"]})
    evaluated = COCOeval(coco, coco.loadRes(told), iou_type)
    evaluated.params.useCats = int(not ignore)
    evaluated.evaluate()
    evaluated.accumulate()
    evaluated.summarize()
    stats: np.ndarray = evaluated.stats  # type: ignore[type-arg]
    return stats


class TestEqualToPycocotools:
    @pytest.mark.parametrize("seed", range(4))
    @pytest.mark.parametrize("iou_type", ["bbox", "segm"])
    @pytest.mark.parametrize("ignore", [False, True])
    def test_the_figures_are_those_of_coco_eval(
        self, tmp_path: Path, seed: int, iou_type: IouType, ignore: bool
    ) -> None:
        # Where categories are ignored COCOeval still goes through them in turn, which decides between equal scores.
        truth, results = scattered(seed, ties=not ignore)
        ours = held(tmp_path, truth, results, iou_type=iou_type, ignore_categories=ignore).total
        theirs = by_hand(tmp_path, truth, results, iou_type, ignore=ignore)
        assert [ours.ap, ours.ap50, ours.ap75, ours.ar] == pytest.approx([*theirs[:3], theirs[8]], abs=1e-12)
        assert 0 < theirs[0] < 1

    def test_only_so_many_detections_count(self, tmp_path: Path) -> None:
        truth, results = scattered(7, images=1, each=60)
        truth["annotations"][0]["iscrowd"] = 0
        ours = held(tmp_path, truth, results, iou_type="bbox", max_detections=10).total
        theirs = by_hand(tmp_path, truth, results, "bbox", ignore=False)
        assert ours.ar == pytest.approx(theirs[7], abs=1e-12)  # COCO's AR of 10

    def test_more_than_a_hundred_in_an_image_all_count(self, tmp_path: Path) -> None:
        boxes = [("a.png", "tree", (x * 10.0, y * 10.0, 8.0, 8.0)) for x in range(15) for y in range(15)]
        truth, results = document(boxes), document(boxes, scores=[0.9] * len(boxes))
        evaluation = held(tmp_path, truth, results)
        assert evaluation.total.ar == 1.0
        assert evaluation.max_detections == 225
        assert held(tmp_path, truth, results, max_detections=100).total.recall == pytest.approx(100 / 225)


class TestOtherFigures:
    TRUE = (("a.png", "tree", (0.0, 0.0, 10.0, 10.0)), ("a.png", "tree", (100.0, 0.0, 10.0, 10.0)))

    def test_a_missed_object_counts_as_nothing(self, tmp_path: Path) -> None:
        results = document([("a.png", "tree", (0.0, 0.0, 10.0, 8.0))], scores=[0.9])
        total = held(tmp_path, document(self.TRUE), results).total
        assert (total.true, total.found) == (2, 1)
        assert (total.precision, total.recall) == (1.0, 0.5)
        assert total.mean_iou == pytest.approx(0.4)
        assert total.mean_iou_matched == pytest.approx(0.8)

    def test_a_second_find_of_the_same_is_false(self, tmp_path: Path) -> None:
        box = (0.0, 0.0, 10.0, 10.0)
        results = document([("a.png", "tree", box), ("a.png", "tree", box)], scores=[0.9, 0.8])
        total = held(tmp_path, document(self.TRUE), results).total
        assert (total.precision, total.recall) == (0.5, 0.5)

    def test_nothing_found_has_no_precision(self, tmp_path: Path) -> None:
        total = held(tmp_path, document(self.TRUE), document([], images=["a.png"])).total
        assert (total.found, total.ap, total.precision, total.recall, total.mean_iou) == (0, 0.0, None, 0.0, 0.0)
        assert total.mean_iou_matched is None

    def test_what_lies_in_a_crowd_neither_counts_nor_harms(self, tmp_path: Path) -> None:
        truth = document(self.TRUE)
        truth["annotations"][1]["iscrowd"] = 1
        results = document([("a.png", "tree", (0.0, 0.0, 10.0, 10.0)), ("a.png", "tree", (101.0, 1.0, 5.0, 5.0))])
        total = held(tmp_path, truth, results, iou_type="bbox").total
        assert (total.true, total.found, total.precision, total.recall) == (1, 1, 1.0, 1.0)

    def test_the_mean_over_categories_is_not_that_over_objects(self, tmp_path: Path) -> None:
        truth = document([*self.TRUE, ("a.png", "shrub", (50.0, 50.0, 10.0, 10.0))])
        results = document([("a.png", "shrub", (50.0, 50.0, 10.0, 10.0))], scores=[0.5])
        evaluation = held(tmp_path, truth, results)
        assert [one.category for one in evaluation.categories] == ["tree", "shrub"]
        assert [one.ap for one in evaluation.categories] == pytest.approx([0.0, 1.0])
        assert evaluation.total.ap == pytest.approx(0.5)
        assert evaluation.total.recall == pytest.approx(1 / 3)

    def test_curves_have_the_same_mean(self, tmp_path: Path) -> None:
        evaluation = held(tmp_path, *scattered(1))
        curves = [curve.ap for curve in evaluation.curves]
        assert sum(curves) / len(curves) == pytest.approx(evaluation.total.ap)


class TestMasks:
    def test_masks_are_compared_where_both_have_them(self, tmp_path: Path) -> None:
        box = (0.0, 0.0, 20.0, 20.0)
        truth, results = document([("a.png", "tree", box)]), document([("a.png", "tree", box)], scores=[0.9])
        results["annotations"][0]["segmentation"] = [[0, 0, 20, 0, 20, 10, 0, 10]]  # half of its box
        assert held(tmp_path, truth, results).iou_type == "segm"
        assert held(tmp_path, truth, results).total.mean_iou == pytest.approx(0.5)
        assert held(tmp_path, truth, results, iou_type="bbox").total.mean_iou == 1.0

    def test_they_cannot_be_where_one_side_has_boxes(self, tmp_path: Path) -> None:
        truth, results = scattered(1)
        del truth["annotations"][3]["segmentation"]
        assert held(tmp_path, truth, results).iou_type == "bbox"
        with pytest.raises(UsageError, match="objects of the truth have boxes only"):
            held(tmp_path, truth, results, iou_type="segm")

    def test_one_of_another_size_is_refused(self, tmp_path: Path) -> None:
        truth, results = scattered(1)
        results["annotations"][0]["segmentation"] = {"size": [100, 100], "counts": [10_000]}
        with pytest.raises(InputError, match=r"a mask of 0\.png has 100×100 pixels, the image 200×200"):
            held(tmp_path, truth, results)

    def test_they_need_the_size_of_their_image(self, tmp_path: Path) -> None:
        truth, results = scattered(1)
        for one in (*truth["images"], *results["images"]):
            del one["width"], one["height"]
        with pytest.raises(InputError, match=r"the size of 0\.png, which masks need"):
            held(tmp_path, truth, results)


def test_thousands_in_one_image_are_matched_each_to_its_own(tmp_path: Path) -> None:
    boxes = [("a.png", "tree", (x * 10.0, y * 10.0, 9.0, 9.0)) for x in range(50) for y in range(40)]
    truth = document(boxes, size=1000)
    results = json.loads(json.dumps(document(boxes, scores=[0.5] * len(boxes), size=1000)))
    assert held(tmp_path, truth, results, iou_type="bbox").total.ap == 1.0
