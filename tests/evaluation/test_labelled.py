"""Objects as files tell them, and what is said of files that are none of those."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.evaluation.made import document, written

from gpupipe.errors import InputError
from gpupipe.evaluation.labelled import read_labelled

HEAD = "image_path,xmin,ymin,xmax,ymax,label\n"


def test_a_csv_has_corners(tmp_path: Path) -> None:
    path = tmp_path / "boxes.csv"
    path.write_text(HEAD + "a.tif,10,20,30,60,Tree\nb.tif,,,,,\nc.tif,0,0,0,0,Tree\n")
    labelled = read_labelled(path)
    assert [(one.file_name, one.category, one.box) for one in labelled.things] == [("a.tif", "Tree", (10, 20, 20, 40))]
    assert list(labelled.pictures) == ["a.tif", "b.tif", "c.tif"]  # two without an object


def test_a_csv_as_spreadsheets_write_it(tmp_path: Path) -> None:
    path = tmp_path / "boxes.CSV"
    path.write_bytes(b"\xef\xbb\xbf" + HEAD.replace("\n", "\r\n").encode() + b"a.tif,1.5,2,3,4,Tree\r\n")
    assert read_labelled(path).things[0].box == (1.5, 2, 1.5, 2)


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("a.tif,10,20,5,60,Tree", "line 2: the box 10, 20, 5, 60 has no area"),
        ("a.tif,10,twenty,30,60,Tree", "line 2: could not convert"),
        ("a.tif,10,20", "line 2:"),
    ],
)
def test_a_wrong_row_is_named(tmp_path: Path, row: str, told: str) -> None:
    path = tmp_path / "boxes.csv"
    path.write_text(f"{HEAD}{row}\n")
    with pytest.raises(InputError, match=told):
        read_labelled(path)


def test_missing_columns_are_named(tmp_path: Path) -> None:
    path = tmp_path / "boxes.csv"
    path.write_text("image_path,xmin,ymin,width,height\n")
    with pytest.raises(InputError, match="no column xmax, ymax, label"):
        read_labelled(path)


def test_a_folder_of_results_is_its_merged_file(tmp_path: Path) -> None:
    written(tmp_path / "annotations.json", document([("x/a.png", "tree", (1.0, 2.0, 3.0, 4.0))], scores=[0.7]))
    (one,) = read_labelled(tmp_path).things
    assert (one.file_name, one.box, one.score) == ("x/a.png", (1, 2, 3, 4), 0.7)


def test_another_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no annotations\.json"):
        read_labelled(tmp_path)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[]", "no COCO file"),
        ("{", "no COCO file: Invalid JSON"),
        ('{"images": [], "annotations": []}', "categories: Field required"),
        (
            '{"images": [{"id": 1, "file_name": "a"}], "categories": [{"id": 1, "name": "t"}],'
            ' "annotations": [{"image_id": 2, "category_id": 1, "bbox": [0, 0, 1, 1]}]}',
            "names the image or category 2",
        ),
        (
            '{"images": [{"id": 1, "file_name": "a"}], "categories": [{"id": 1, "name": "t"}],'
            ' "annotations": [{"image_id": 1, "category_id": 1}]}',
            "an annotation of a has neither bbox nor polygons",
        ),
    ],
)
def test_what_is_no_coco_file_is_refused(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "coco.json"
    path.write_text(text)
    with pytest.raises(InputError, match=told):
        read_labelled(path)


def test_polygons_give_the_box_that_is_missing(tmp_path: Path) -> None:
    coco = document([("a.png", "tree", (5.0, 6.0, 7.0, 8.0))])
    del coco["annotations"][0]["bbox"]
    assert read_labelled(written(tmp_path / "coco.json", coco)).things[0].box == (5, 6, 7, 8)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_labelled(tmp_path / "nothing.json")
