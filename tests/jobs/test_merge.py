"""The merged file: readable by pycocotools, the same bytes for the same results, and flat in memory."""

from __future__ import annotations

import json
import tracemalloc
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.jobs.finished_work import a_fragment, a_header

from gpupipe.jobs.folder import ANNOTATIONS, LINES
from gpupipe.jobs.merge import listing_failures, merging
from gpupipe.jobs.results import Commit, Outcome
from gpuworker.contract import CAVEATS, Failure, ItemResult


def a_commit(header: dict[str, Any] | None = None, job: str = "j1", number: int = 0) -> Commit:
    return Commit(job=job, number=number, generation=0, header=a_header() if header is None else header)


def a_result(path: str, fragment: dict[str, Any] | None = None, commit: Commit | None = None) -> Outcome:
    own = a_fragment(path) if fragment is None else fragment
    result = ItemResult(output=path, key=f"inputs/field7/{path}", etag="e", artifacts={}, fragment=own)
    return Outcome(commit=commit or a_commit(), result=result)


def a_failure(path: str, code: str, commit: Commit | None = None, message: str = "why") -> Outcome:
    failure = Failure(output=path, key=f"inputs/field7/{path}", etag="e", code=code, message=message)
    return Outcome(commit=commit or a_commit(), failure=failure)


def merged(folder: Path, outcomes: Iterable[Outcome], header: dict[str, Any] | None = None) -> Any:
    with merging(folder, a_header() if header is None else header) as document:
        for outcome in outcomes:
            document.add(outcome)
    return json.loads((folder / ANNOTATIONS).read_text())


def test_ids_count_from_one_and_refer_to_each_other(tmp_path: Path) -> None:
    document = merged(
        tmp_path,
        [a_result("a.jpg", a_fragment("a.jpg", scores=[0.9, 0.8])), a_result("b.jpg", a_fragment("b.jpg", category=2))],
    )
    assert [image["id"] for image in document["images"]] == [1, 2]
    assert [(one["id"], one["image_id"], one["category_id"]) for one in document["annotations"]] == [
        (1, 1, 1),
        (2, 1, 1),
        (3, 2, 2),
    ]
    assert document["categories"] == a_header()["categories"]
    assert document["info"] == a_header()["info"]
    assert document["annotations"][0]["score"] == 0.9


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # pycocotools' own, in decoding masks with numpy 2
def test_pycocotools_loads_it_without_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import numpy as np
    from pycocotools import mask
    from pycocotools.coco import COCO

    square = np.zeros((30, 40), np.uint8, order="F")
    square[2:5, 3:9] = 1
    rle = {"size": [30, 40], "counts": mask.encode(square)["counts"].decode()}
    fragment = a_fragment("Grüße.jpg")
    fragment["annotations"][0] |= {"segmentation": rle, "bbox": [0, 0, 1, 1], "area": 1}
    merged(tmp_path, [a_result("Grüße.jpg", fragment), a_result("empty.jpg", a_fragment("empty.jpg", scores=[]))])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        coco = COCO(str(tmp_path / ANNOTATIONS))
        found = coco.loadAnns(coco.getAnnIds(catIds=coco.getCatIds(catNms=["tree"])))
    assert [one["id"] for one in found] == [1]
    assert (coco.annToMask(found[0]) == square).all()
    assert coco.loadImgs([1])[0]["file_name"] == "Grüße.jpg"
    assert "rror" not in capsys.readouterr().out


def test_nothing_at_all_is_an_empty_coco_file(tmp_path: Path) -> None:
    with merging(tmp_path, None):
        pass
    document = json.loads((tmp_path / ANNOTATIONS).read_text())
    assert document["images"] == document["annotations"] == document["categories"] == []


def test_failures_alone_still_name_the_categories(tmp_path: Path) -> None:
    document = merged(tmp_path, [a_failure("a.jpg", "empty"), a_failure("b.jpg", "timeout", a_commit(header={}))])
    assert (document["images"], document["categories"]) == ([], a_header()["categories"])


def test_the_same_results_are_the_same_bytes(tmp_path: Path) -> None:
    outcomes = [a_result(f"{number}.jpg") for number in range(50)]
    for folder in (tmp_path / "one", tmp_path / "two"):
        merged(folder, outcomes)
    assert (tmp_path / "one" / ANNOTATIONS).read_bytes() == (tmp_path / "two" / ANNOTATIONS).read_bytes()


def test_categories_and_licences_of_several_jobs_are_joined_by_name(tmp_path: Path) -> None:
    first = a_header(["tree"]) | {"licenses": [{"id": 7, "name": "CC0"}], "info": {"version": "1"}}
    second = a_header(["car", "tree"]) | {
        "licenses": [{"id": 1, "name": "MIT"}, {"id": 2, "name": "CC0"}],
        "info": {"version": "2"},
    }
    licensed = a_fragment("b.jpg", category=1)
    licensed["image"]["license"] = 2
    document = merged(
        tmp_path,
        [
            a_result("a.jpg", commit=a_commit(first)),
            a_result("b.jpg", licensed, a_commit(second)),
            a_result("c.jpg", a_fragment("c.jpg", category=2), a_commit(second)),
        ],
    )
    assert {one["id"]: one["name"] for one in document["categories"]} == {1: "tree", 2: "car"}
    assert [one["category_id"] for one in document["annotations"]] == [1, 2, 1]
    assert {one["id"]: one["name"] for one in document["licenses"]} == {1: "CC0", 2: "MIT"}
    assert document["images"][1]["license"] == 1
    assert document["info"] == {"version": "2", "sources": [{"version": "1"}, {"version": "2"}]}


def test_places_stay_and_warnings_are_explained_once(tmp_path: Path) -> None:
    crowded = a_fragment("a.tif")
    crowded["image"] |= {"crs": "EPSG:32617", "transform": [1, 0, 0, 0, -1, 0], "warnings": ["saturated"]}
    crowded["annotations"][0]["area_m2"] = 2.5
    document = merged(tmp_path, [a_result("a.tif", crowded), a_result("b.jpg")])
    assert document["images"][0]["crs"] == "EPSG:32617"
    assert document["images"][0]["warnings"] == ["saturated"]
    assert document["annotations"][0]["area_m2"] == 2.5
    assert document["info"]["warnings"] == {"saturated": str(CAVEATS["saturated"])}


def test_results_that_are_not_coco_become_lines(tmp_path: Path) -> None:
    (tmp_path / ANNOTATIONS).write_text("of an earlier engine")
    header: dict[str, Any] = {"engine": "validator"}
    with merging(tmp_path, header) as document:
        document.add(a_result("a.jpg", {"verdict": "fits"}, a_commit(header)))
        document.add(a_failure("b.jpg", "timeout", a_commit(header)))
    lines = [json.loads(line) for line in (tmp_path / LINES).read_text().splitlines()]
    assert lines == [{"file_name": "a.jpg", "output": "a.jpg", "verdict": "fits"}]
    assert not (tmp_path / ANNOTATIONS).exists()


def test_failures_are_an_array_with_advice(tmp_path: Path) -> None:
    with listing_failures(tmp_path) as failures:
        failures.add(a_result("a.jpg"))
        failures.add(a_failure("b.jpg", "too_large"))
        failures.add(a_failure("c.jpg", "a_code_of_the_future"))
    found = json.loads((tmp_path / "failures.json").read_text())
    assert [(one["file_name"], one["code"], one["message"]) for one in found] == [
        ("b.jpg", "too_large", "why"),
        ("c.jpg", "a_code_of_the_future", "why"),
    ]
    assert "tiled TIFF" in found[0]["advice"]
    assert "retry" in found[1]["advice"]


def test_advice_after_a_timeout_names_the_setting_that_applied(tmp_path: Path) -> None:
    with listing_failures(tmp_path) as failures:
        failures.add(a_failure("a.jpg", "timeout", message="took longer than 300 s; item_timeout_s raises the limit"))
    (found,) = json.loads((tmp_path / "failures.json").read_text())
    assert found["advice"].startswith("item_timeout_s of the pipeline, its seconds for an image, was over: raise it")


@pytest.mark.parametrize("images", [4_000, pytest.param(20_000, marks=pytest.mark.exhaustive)])
def test_memory_does_not_grow_with_the_number_of_images(tmp_path: Path, images: int) -> None:
    def outcomes(number: int) -> Iterator[Outcome]:
        commit = a_commit()
        for index in range(number):
            yield a_result(f"{index}.jpg", commit=commit)

    def peak_bytes(number: int) -> int:
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        with merging(tmp_path, a_header()) as document:
            for outcome in outcomes(number):
                document.add(outcome)
        return tracemalloc.get_traced_memory()[1] - before

    tracemalloc.start()
    try:
        few, many = peak_bytes(images // 20), peak_bytes(images)
    finally:
        tracemalloc.stop()
    assert (tmp_path / ANNOTATIONS).stat().st_size > 150 * images
    assert many < few + 200_000


def test_pages_of_a_file_are_images_of_their_own(tmp_path: Path) -> None:
    second = a_fragment("a.tif", scores=[0.7, 0.6])
    second["image"]["page"] = 2
    second["image"]["warnings"] = ["saturated"]
    document = merged(
        tmp_path,
        [
            a_result("a.tif", a_fragment("a.tif", scores=[0.9]) | {"more": [second]}),
            a_result("b.jpg", a_fragment("b.jpg")),
        ],
    )
    assert [(image["id"], image.get("page")) for image in document["images"]] == [(1, None), (2, 2), (3, None)]
    assert [(one["id"], one["image_id"]) for one in document["annotations"]][:3] == [(1, 1), (2, 2), (3, 2)]
    assert set(document["info"]["warnings"]) == {"saturated"}
