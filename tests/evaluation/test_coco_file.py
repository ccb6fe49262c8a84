"""COCO as programs write it that people draw with: the right figures, or an error that names the object."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from pycocotools import mask as pycocotools_mask
from tests.evaluation.made import document, scattered, written
from tests.properties import examples

from gpupipe.errors import GpupipeError, InputError
from gpupipe.evaluation import evaluate
from gpupipe.evaluation.labelled import read_labelled
from gpupipe.evaluation.run_lengths import box_of, runs_of

BOX = (20.0, 30.0, 40.0, 50.0)
Change = Callable[[dict[str, Any]], object]


def coco(change: Change = lambda coco: None) -> dict[str, Any]:
    made = document([("a.png", "tree", BOX), ("b.png", "shrub", (1.0, 2.0, 30.0, 40.0))])
    change(made)
    return made


def each(name: str, how: Callable[[dict[str, Any]], dict[str, Any]]) -> Change:
    def change(made: dict[str, Any]) -> None:
        made[name] = [one | how(one) for one in made[name]]

    return change


def without(*keys: str) -> Change:
    def change(made: dict[str, Any]) -> None:
        made["annotations"] = [{k: v for k, v in one.items() if k not in keys} for one in made["annotations"]]

    return change


def plain_runs(one: dict[str, Any]) -> dict[str, Any]:
    x, y, width, height = (int(side) for side in one["bbox"])
    mask = np.zeros((200, 200), np.uint8)
    mask[y : y + height, x : x + width] = 1
    column = mask.ravel(order="F")
    edges = [0, *(np.flatnonzero(np.diff(column)) + 1).tolist(), column.size]
    return {"segmentation": {"size": [200, 200], "counts": np.diff(edges).tolist()}}


def string_runs(one: dict[str, Any]) -> dict[str, Any]:
    runs = plain_runs(one)["segmentation"]
    return {"segmentation": {**runs, "counts": pycocotools_mask.frPyObjects(runs, 200, 200)["counts"].decode()}}


ZERO: dict[str, Change] = {
    "categories from 0": lambda made: [
        each("categories", lambda one: {"id": one["id"] - 1})(made),
        each("annotations", lambda one: {"category_id": one["category_id"] - 1, "id": one["id"] - 1})(made),
    ]
}
SOUND: dict[str, Change] = ZERO | {
    "ids as text in one list": each("annotations", lambda one: {"image_id": str(one["image_id"])}),
    "ids as text in the other": each("images", lambda one: {"id": str(one["id"])}),
    "ids with a point": each("annotations", lambda one: {"category_id": float(one["category_id"])}),
    "ids as text with a point elsewhere": each("categories", lambda one: {"id": float(one["id"])}),
    "no area": without("area"),
    "no iscrowd": without("iscrowd"),
    "iscrowd null": each("annotations", lambda _: {"iscrowd": None}),
    "iscrowd false": each("annotations", lambda _: {"iscrowd": False}),
    "no ids of annotations": without("id"),
    "all annotations with id 0": each("annotations", lambda _: {"id": 0}),
    "no bbox": without("bbox"),
    "plain run lengths": each("annotations", plain_runs),
    "plain run lengths without a bbox": lambda made: [each("annotations", plain_runs)(made), without("bbox")(made)],
    "run lengths as text": each("annotations", string_runs),
    "run lengths as text without a bbox": lambda made: [each("annotations", string_runs)(made), without("bbox")(made)],
    "boxes only": without("segmentation"),
    "empty segmentations": each("annotations", lambda _: {"segmentation": []}),
    "segmentations null": each("annotations", lambda _: {"segmentation": None}),
    "no sizes": each("images", lambda _: {"width": None, "height": None}),
    "CVAT's attributes": each("annotations", lambda _: {"attributes": {"occluded": False}}),
}


@pytest.mark.parametrize("kind", SOUND)
def test_it_gives_the_same_figures(tmp_path: Path, kind: str) -> None:
    results = written(tmp_path / "r.json", document([("a.png", "tree", BOX)], scores=[0.9], images=["b.png"]))
    told = evaluate(results, written(tmp_path / "t.json", coco(SOUND[kind])))
    assert [(one.category, one.true, one.found, one.mean_iou) for one in told.categories] == [
        ("tree", 1, 1, 1.0),
        ("shrub", 1, 0, 0.0),
    ]


def test_a_byte_order_mark_is_no_matter(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(coco()).encode())
    assert len(read_labelled(path).things) == 2


def shape(segmentation: Any) -> Change:
    return lambda made: made["annotations"][1].update(segmentation=segmentation)


def of(name: str, number: int, **values: Any) -> Change:
    return lambda made: made[name][number].update(values)


FLAT = [1, 2, 31, 2, 31, 42, 1, 42]
POINTS = [[1, 2], [31, 2], [31, 42]]
WRONG: dict[str, tuple[Change, str]] = {
    "flat": (
        shape(FLAT),
        r"annotation 2 of b\.png has a flat segmentation: a list of 8 numbers.*write \[\[1, 2, 31",
    ),
    "points": (shape(POINTS), r"annotation 2 of b\.png has polygons of points.*\[\[x1, y1"),
    "points within": (shape([POINTS]), "polygons of points"),
    "two corners": (shape([[1, 2, 31, 42]]), "a polygon of 4 numbers"),
    "an odd number": (shape([FLAT[:7]]), "a polygon of 7 numbers"),
    "text": (shape([["1", "2", "3", "4", "5", "6"]]), "not a list of numbers"),
    "one word": (shape("polygon"), "neither polygons nor run lengths"),
    "short runs": (shape({"size": [200, 200], "counts": [10, 10]}), "make up 20 pixels, not 200×200"),
    "broken runs": (shape({"size": [200, 200], "counts": "~~~"}), "run lengths"),
    "runs without a size": (shape({"counts": [40_000]}), "run lengths"),
    "three numbers": (of("annotations", 0, bbox=[1, 2, 3]), r"annotation 1 of a\.png has the bbox"),
    "corners backwards": (of("annotations", 0, bbox=[9, 9, -3, 2]), r"x, y, width, height"),
    "no number": (of("annotations", 0, bbox=[1, 2, float("nan"), 3]), "has the bbox"),
    "no such image": (of("annotations", 0, image_id="7"), "annotation 1 names the image or category 7"),
    "an image's id twice": (of("images", 1, id=1), r"image id 1 stands for both 'a\.png' and 'b\.png'"),
    "a category's id twice": (of("categories", 1, id="1"), "id 1 stands for both 'tree' and 'shrub'"),
    "a name twice": (of("images", 1, file_name="a.png"), r"'a\.png' is listed twice"),
    "an object twice": (lambda made: made["annotations"].append(made["annotations"][0]), "annotation 1 is in the file"),
    "shares beside pixels": (
        each("annotations", lambda _: {"segmentation": [[0.1, 0.1, 0.3, 0.1, 0.3, 0.4]]}),
        "shares of an image",
    ),
    "shares": (each("annotations", lambda _: {"bbox": [0.1, 0.2, 0.3, 0.1], "segmentation": []}), "shares of an image"),
    "in other pixels": (of("annotations", 0, bbox=[900, 20, 50, 50]), r"middle at 925, 45.*200×200 pixels"),
    "nothing drawn": (lambda made: made["annotations"].clear(), "holds no object at all"),
    "all crowds": (each("annotations", lambda _: {"iscrowd": 1}), "every object of the truth is a crowd"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_it_is_named(tmp_path: Path, kind: str) -> None:
    change, told = WRONG[kind]
    results = written(tmp_path / "r.json", coco())
    with pytest.raises(InputError, match=f"(?s){told}"):
        evaluate(results, written(tmp_path / "t.json", coco(change)))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ('<?xml version="1.0"?>\n<annotations><version>1.1</version></annotations>', "CVAT's own XML"),
        ("<annotation><folder>x</folder></annotation>", "Pascal VOC"),
        ('{"version": "5.4", "shapes": [], "imagePath": "a.png"}', "labelme's file of one image"),
        ('[{"id": 1, "data": {"image": "/data/upload/a.png"}, "annotations": []}]', "Label Studio's own JSON"),
        ('[{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}]', "a list of annotations only"),
        ('{"type": "FeatureCollection", "features": []}', "GeoJSON"),
        ('{"a.png123": {"filename": "a.png", "regions": []}}', "VIA's own JSON"),
    ],
)
def test_what_is_another_programs_is_named_as_such(tmp_path: Path, content: str, told: str) -> None:
    path = tmp_path / "truth.json"
    path.write_text(content)
    with pytest.raises(InputError, match=told) as caught:
        read_labelled(path)
    assert "COCO" in str(caught.value.hint) or "annotations" in str(caught.value.hint)


@examples(100)
@given(seed=st.integers(0, 10_000), height=st.integers(1, 40), width=st.integers(1, 40))
def test_run_lengths_are_those_of_pycocotools(seed: int, height: int, width: int) -> None:
    random = np.random.default_rng(seed)
    mask = (random.random((height, width)) < random.random() ** 2).astype(np.uint8)
    told = pycocotools_mask.encode(np.asfortranarray(mask))
    runs = runs_of({"size": [height, width], "counts": told["counts"].decode()})
    column = np.repeat(np.arange(len(runs)) % 2, runs)
    assert np.array_equal(column.reshape(width, height).T, mask)
    assert box_of(runs, height=height) == pytest.approx(tuple(pycocotools_mask.toBbox(told)))


ODD_VALUES = st.sampled_from(
    [None, True, -1, 0, 1.5, 1e30, float("inf"), "", "1", "\ud800", [], [[]], [1], [0, 0, 0, 0], {}, {"size": [2, 2]}]
)


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in entries:
        yield from _places(one, (*path, key))


@examples(400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.sampled_from(list(_places(coco()))), value=ODD_VALUES, is_truth=st.booleans(), as_runs=st.booleans())
def test_whatever_stands_in_it_there_are_figures_or_an_error_of_ours(
    tmp_path: Path, place: tuple[Any, ...], value: Any, is_truth: bool, as_runs: bool
) -> None:
    sound, odd = coco(), coco(SOUND["plain run lengths"] if as_runs else lambda made: None)
    holder = odd
    try:
        for key in place[:-1]:
            holder = holder[key]
        holder[place[-1]] = value
    except (KeyError, TypeError):
        return  # a polygon's corner, of run lengths
    truth, results = (odd, sound) if is_truth else (sound, odd)
    with contextlib.suppress(GpupipeError):
        told = evaluate(written(tmp_path / "r.json", results), written(tmp_path / "t.json", truth))
        assert told.total.true >= 1


def test_our_own_results_are_read(tmp_path: Path) -> None:
    _, results = scattered(5)
    assert len(read_labelled(written(tmp_path / "r.json", results)).things) == len(results["annotations"])


def test_a_box_that_cvat_has_turned_covers_what_was_drawn(tmp_path: Path) -> None:
    """20 by 60 pixels at 40, 70, turned by a quarter: 60 by 20 about the same middle."""
    truth = document([("a.png", "tree", (40.0, 70.0, 20.0, 60.0))])
    truth["annotations"][0] |= {"segmentation": [], "attributes": {"occluded": False, "rotation": 90.0}}
    results = document([("a.png", "tree", (20.0, 90.0, 60.0, 20.0))])
    paths = written(tmp_path / "results.json", results), written(tmp_path / "truth.json", truth)
    for iou_type in ("bbox", "segm"):
        assert evaluate(*paths, iou_type=iou_type).total.mean_iou == pytest.approx(1)


class TestPagesOfOneFile:
    """A job with `pages = "all"` has an image of each page under the file's name."""

    def paged(self, *pages: int) -> dict[str, Any]:
        made = document([(f"{page}.tif", "tree", (10.0 * page, 30.0, 40.0, 50.0)) for page in pages])
        made["images"] = [
            one | {"file_name": "plan.tif", "page": page} for one, page in zip(made["images"], pages, strict=True)
        ]
        return made

    def test_are_held_against_the_same_pages(self, tmp_path: Path) -> None:
        results = written(tmp_path / "results.json", self.paged(1, 2))
        truth = written(tmp_path / "truth.json", self.paged(2, 1))
        evaluation = evaluate(results, truth)
        assert [one.file_name for one in evaluation.pairing.pictures] == ["plan.tif (page 2)", "plan.tif (page 1)"]
        assert evaluation.total.mean_iou == 1

    def test_one_page_alone_keeps_the_files_name(self, tmp_path: Path) -> None:
        truth = document([("plan.tif", "tree", (20.0, 30.0, 40.0, 50.0))])
        results = written(tmp_path / "results.json", self.paged(2))
        assert evaluate(results, written(tmp_path / "truth.json", truth)).total.mean_iou == 1

    def test_of_an_unknown_page_are_named(self, tmp_path: Path) -> None:
        truth = document([("plan.tif", "tree", (20.0, 30.0, 40.0, 50.0))])
        results = written(tmp_path / "results.json", self.paged(1, 2))
        with pytest.raises(InputError, match=r"no image in common: plan\.tif on one side, plan\.tif \(page 1\)"):
            evaluate(results, written(tmp_path / "truth.json", truth))

    def test_the_same_page_twice_is_told(self, tmp_path: Path) -> None:
        results = written(tmp_path / "results.json", self.paged(1, 2))
        made = self.paged(1, 2)
        made["images"][1]["page"] = 1
        with pytest.raises(InputError, match=r"'plan\.tif \(page 1\)' is listed twice"):
            evaluate(results, written(tmp_path / "truth.json", made))
