"""What `fetch` wrote is no input of the next job, wherever a search comes across it; named by hand it is."""

from __future__ import annotations

import os
import shutil
import zipfile
from pathlib import Path

import pytest
from tests.jobs.desk import a_photo
from tests.jobs.finished_work import Work
from tests.jobs.test_fetch import FILES, JOB
from tests.jobs.test_inputs import found, paths

from gpupipe.errors import InputError
from gpupipe.jobs.fetch import fetch
from gpupipe.jobs.passed_over import RESULT

IMAGES = [f"{number}.jpg" for number in range(7)]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Seven of them."""
    for name in IMAGES:
        a_photo(tmp_path / "field" / name)
    return tmp_path / "field"


@pytest.fixture
def results(work: Work) -> Work:
    """Seven finished images, each with an overlay and masks."""
    work.submit(JOB, IMAGES)
    work.commit(JOB, 0, IMAGES, files={**FILES, "overlay.jpg": b"\xff\xd8\xff an overlay"})
    return work


def fetched(results: Work, folder: Path) -> Path:
    fetch(results.aws, job=JOB, folder=folder)
    assert len(list(folder.glob("items/*/overlay.jpg"))) == 7
    return folder


def test_fetched_into_the_images_own_folder_seven_stay_seven(
    results: Work, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given `run . -o .`
    monkeypatch.chdir(images)
    fetched(results, Path())
    # when the folder is submitted again
    inputs = found(".")
    # then the images are what they were, and it is said what was passed over
    assert paths(inputs) == IMAGES
    names = {Path(name).name for name in inputs.skipped_names[RESULT]}
    assert names == {"annotations.json", "failures.json", "items", "report.html"}
    assert inputs.skipped == {"hidden": 1, RESULT: 4}
    assert inputs.results_named == []


@pytest.mark.parametrize("below", ["results/job", "deep/er/out"])
def test_fetched_somewhere_below_the_images(results: Work, images: Path, below: str) -> None:
    fetched(results, images / below)
    assert paths(found(images)) == IMAGES
    assert paths(found(images, images / below / "..")) == IMAGES


def test_what_a_person_keeps_beside_results_is_theirs(results: Work, images: Path) -> None:
    out = fetched(results, images / "out")
    a_photo(out / "mine.jpg")
    a_photo(images / "items/own.jpg")
    assert paths(found(images)) == [*IMAGES, "items/own.jpg", "out/mine.jpg"]


def test_a_pattern_finds_no_results(results: Work, images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(images)
    fetched(results, Path())
    fetched(results, Path("out"))
    for pattern in ("**/*.jpg", "*", "[0-9i]*", "o*/*/*/*.jpg", f"{images}/**/*.jpg"):
        if pattern.startswith("o"):
            with pytest.raises(InputError, match="7 of results that gpupipe fetched"):
                found(pattern)
        else:
            assert paths(found(pattern)) == IMAGES, pattern


def test_the_shell_s_star_names_results_that_nobody_meant(
    results: Work, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(images)
    fetched(results, Path())
    inputs = found(*sorted(path.name for path in images.iterdir() if not path.name.startswith(".")))
    assert paths(inputs) == IMAGES
    assert (inputs.skipped, inputs.results_named) == ({RESULT: 4}, [])


def test_an_archive_of_a_folder_with_results(results: Work, images: Path, tmp_path: Path) -> None:
    fetched(results, images)
    fetched(results, images / "out")
    place = shutil.make_archive(str(tmp_path / "all"), "zip", tmp_path, "field")
    inputs = found(place)
    assert paths(inputs) == [f"field/{name}" for name in IMAGES]
    assert inputs.skipped[RESULT] == 2 * (7 * 3 + 3)
    # and an archive without any is as it was
    with zipfile.ZipFile(tmp_path / "own.zip", "w") as archive:
        archive.writestr("items/a.jpg", b"\xff\xd8\xff")
    assert paths(found(tmp_path / "own.zip")) == ["items/a.jpg"]


def test_links_to_results_are_passed_over_and_a_link_to_one_image_is_taken(
    results: Work, images: Path, tmp_path: Path
) -> None:
    out = fetched(results, tmp_path / "out")
    (images / "latest").symlink_to(out)
    (images / "overlays").symlink_to(out / "items")
    (images / "circle").symlink_to("circle")
    os.symlink(out / "items/3/overlay.jpg", images / "chosen.jpg")
    assert paths(found(images)) == [*IMAGES, "chosen.jpg"]


@pytest.mark.parametrize(
    ("place", "taken"),
    [
        ("out/items/3", ["overlay.jpg", "x_masks.tif"]),
        ("out/items/3/overlay.jpg", ["overlay.jpg"]),
        ("out/items/3/*.jpg", ["overlay.jpg"]),
        ("out/items/[34]/overlay.jpg", ["3/overlay.jpg", "4/overlay.jpg"]),
    ],
)
def test_named_by_hand_they_are_taken_and_that_is_said(
    results: Work, images: Path, monkeypatch: pytest.MonkeyPatch, place: str, taken: list[str]
) -> None:
    fetched(results, images / "out")
    monkeypatch.chdir(images)
    inputs = found(place)
    assert sorted(path.removeprefix("masks/") for path in paths(inputs)) == sorted(taken)
    assert inputs.results_named == [place]
    # beside other images too
    both = found("0.jpg", place)
    assert (len(both.files), both.results_named) == (len(taken) + 1, [place])


def test_all_of_the_items_by_hand(results: Work, images: Path) -> None:
    out = fetched(results, images / "out")
    assert len(found(out / "items").files) == 14
    assert found(out / "items").results_named == [str(out / "items")]


def test_where_there_are_only_results_it_says_so(results: Work, tmp_path: Path) -> None:
    out = fetched(results, tmp_path / "out")
    with pytest.raises(InputError, match=r"4 of results that gpupipe fetched.*a place inside items/ is named"):
        found(out)


def test_a_folder_that_only_looks_like_one_is_searched(tmp_path: Path) -> None:
    a_photo(tmp_path / "items/a.jpg")
    (tmp_path / ".gpupipe").mkdir()
    (tmp_path / "report.html").touch()
    assert paths(found(tmp_path)) == ["items/a.jpg"]
