"""Images by file name, categories by name; what has no counterpart is named, and left out."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.evaluation.made import Boxes, document, written

from gpupipe.errors import InputError
from gpupipe.evaluation.labelled import Labelled, read_labelled
from gpupipe.evaluation.pairing import Pairing, paired

BOX = (1.0, 1.0, 5.0, 5.0)


def labelled(tmp_path: Path, name: str, boxes: Boxes, size: int = 200) -> Labelled:
    return read_labelled(written(tmp_path / f"{name}.json", document(boxes, size=size)))


def pair(tmp_path: Path, truth: Boxes, results: Boxes, *, ignore_categories: bool = False) -> Pairing:
    return paired(
        labelled(tmp_path, "truth", truth), labelled(tmp_path, "results", results), ignore_categories=ignore_categories
    )


def test_a_path_is_found_by_its_last_part(tmp_path: Path) -> None:
    pairing = pair(tmp_path, [("a.png", "tree", BOX)], [("day 1/a.png", "tree", BOX)])
    assert [one.file_name for one in pairing.found] == ["a.png"]
    assert not pairing.images_only_in_truth
    assert not pairing.images_only_in_results


def test_the_same_last_part_twice_is_not_guessed(tmp_path: Path) -> None:
    truth = [("a.png", "tree", BOX), ("day 1/b.png", "tree", BOX)]
    pairing = pair(tmp_path, truth, [("x/a.png", "tree", BOX), ("y/a.png", "tree", BOX), ("day 1/b.png", "tree", BOX)])
    assert pairing.images_only_in_truth == ["a.png"]
    assert pairing.images_only_in_results == ["x/a.png", "y/a.png"]
    assert len(pairing.pictures) == len(pairing.true) == len(pairing.found) == 1


def test_names_are_alike_in_any_case(tmp_path: Path) -> None:
    pairing = pair(tmp_path, [("a.png", "Tree", BOX)], [("a.png", "tree ", BOX)])
    assert [one.category for one in pairing.found] == ["Tree"]


def test_categories_that_only_the_results_have_are_counted_and_left_out(tmp_path: Path) -> None:
    results = [("a.png", "tree", BOX), ("a.png", "car", BOX), ("a.png", "car", BOX)]
    pairing = pair(tmp_path, [("a.png", "tree", BOX)], results)
    assert pairing.categories_only_in_results == {"car": 2}
    assert len(pairing.found) == 1


def test_no_common_category_is_refused_with_both_sides(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the truth has Tree, the results have vegetation"):
        pair(tmp_path, [("a.png", "Tree", BOX)], [("a.png", "vegetation", BOX)])
    ignored = pair(tmp_path, [("a.png", "Tree", BOX)], [("a.png", "vegetation", BOX)], ignore_categories=True)
    assert len(ignored.found) == 1


def test_no_common_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no image in common"):
        pair(tmp_path, [("a.png", "tree", BOX)], [("b.png", "tree", BOX)])


def test_truth_in_other_pixels_is_refused(tmp_path: Path) -> None:
    truth, results = [("a.png", "tree", BOX)], labelled(tmp_path, "results", [("a.png", "tree", BOX)], size=400)
    with pytest.raises(InputError, match="200×200 pixels in the truth and 400×400"):
        paired(labelled(tmp_path, "truth", truth), results, ignore_categories=False)


def test_roboflow_that_resized_is_refused_with_the_way_out(tmp_path: Path) -> None:
    name = f"a_png.rf.{'0f' * 16}.jpg"
    truth = labelled(tmp_path, "truth", [(name, "tree", BOX)], 640)
    results = labelled(tmp_path, "results", [("a.png", "tree", BOX)])
    with pytest.raises(InputError, match=r"640×640 pixels in the truth and 200×200 .* \(a\.png\)") as caught:
        paired(truth, results, ignore_categories=False)
    assert "without Resize" in str(caught.value.hint)


def test_augmented_pictures_alone_are_refused_by_name(tmp_path: Path) -> None:
    truth = [(f"a_png.rf.{digit * 32}.jpg", "tree", BOX) for digit in "01"]
    with pytest.raises(InputError, match=r"a_png\.rf\.0+\.jpg, a_png\.rf\.1+\.jpg could be a\.png"):
        pair(tmp_path, truth, [("a.png", "tree", BOX)])


def test_what_is_not_plain_does_not_count(tmp_path: Path) -> None:
    truth = [(f"a_png.rf.{digit * 32}.jpg", "tree", BOX) for digit in "01"]
    pairing = pair(tmp_path, [*truth, ("b.png", "tree", BOX)], [("a.png", "tree", BOX), ("b.png", "tree", BOX)])
    assert [one.file_name for one in pairing.pictures] == ["b.png"]
    assert len(pairing.true) == len(pairing.found) == 1
    assert [(len(one.truth), one.results) for one in pairing.ambiguities] == [(2, ["a.png"])]
