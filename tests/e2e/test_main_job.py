"""The main job as a person does it: up, submit, watch, fetch, retry, and everything a second time."""

import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import pytest
from tests.e2e.conftest import Person, quiet_coco, speckled

EXAMPLES = str(resources.files("gpupipe.examples") / "photos")


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """A job's results on this machine."""

    job: str
    folder: Path


@pytest.fixture(scope="module")
def fetched(person: Person) -> Fetched:
    """The packaged photographs, submitted, watched and fetched."""
    job = person.types("submit", EXAMPLES, "--project", "examples", "--json").document["job"]
    watched = person.types("watch", job, "--json").document
    assert watched["state"] == "finished"
    assert (watched["items"], watched["done"], watched["failed"]) == (9, 9, 0)
    report = person.types("fetch", "-o", "examples-results", "--json").document  # the newest, without its name
    assert report["is_complete"]
    return Fetched(job=job, folder=person.folder / "examples-results")


@pytest.fixture(scope="module")
def mixed(person: Person) -> Fetched:
    """A folder of which two images are none, through `run`, which says so by its exit code."""
    folder = speckled(person.folder / "mixed", 3)
    (folder / "broken.jpg").write_bytes((folder / "speck 000.jpg").read_bytes()[:300])
    (folder / "empty.png").touch()
    report = person.types("run", str(folder), "--project", "mixed", "-o", "mixed-results", "--json", code=3).document
    assert (report["done"], report["failed"]) == (3, 2)
    [job] = person.jobs("mixed")
    return Fetched(job=job["job"], folder=person.folder / "mixed-results")


def test_real_objects_are_found_in_real_photographs(fetched: Fetched) -> None:
    coco = quiet_coco(fetched.folder / "annotations.json")
    found = {
        image["file_name"]: {coco.cats[one["category_id"]]["name"] for one in coco.imgToAnns[image["id"]]}
        for image in coco.imgs.values()
    }
    assert found["astronaut.jpg"] == {"person"}
    assert "cat" in found["cat.jpg"]
    assert "cup" in found["coffee_sideways.jpg"]


def test_the_merged_file_is_coco(fetched: Fetched) -> None:
    coco = quiet_coco(fetched.folder / "annotations.json")
    assert sorted(coco.imgs) == list(range(1, 10))
    assert sorted(coco.anns) == list(range(1, len(coco.anns) + 1))
    for annotation in coco.anns.values():
        mask = coco.annToMask(annotation)
        assert int(mask.sum()) == annotation["area"]
        rows, columns = mask.any(1).nonzero()[0], mask.any(0).nonzero()[0]
        x, y, width, height = annotation["bbox"]
        assert (columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1) == (x, y, width, height)


def test_the_report_is_one_page_with_every_image(fetched: Fetched) -> None:
    page = (fetched.folder / "report.html").read_text(encoding="utf-8")
    for name in ("astronaut.jpg", "taxis.webp", "OSBS_029.tif"):
        assert name in page
    assert "80 everyday things" in page
    assert "https://" not in page
    assert page.count("data:image/jpeg;base64,") >= 9


def test_fetching_again_downloads_nothing(person: Person, fetched: Fetched) -> None:
    before = (fetched.folder / "annotations.json").read_bytes()
    again = person.types("fetch", fetched.job, "--json", "-o", str(fetched.folder)).document
    assert again["files_fetched"] == 0
    assert (fetched.folder / "annotations.json").read_bytes() == before


def test_a_lost_file_comes_back(person: Person, fetched: Fetched) -> None:
    lost = next(fetched.folder.rglob("overlay.jpg"))
    lost.unlink()
    again = person.types("fetch", fetched.job, "--json", "-o", str(fetched.folder)).document
    assert again["files_fetched"] == 1
    assert lost.exists()


def test_submitting_the_same_again_uploads_nothing(person: Person, fetched: Fetched) -> None:
    again = person.types("submit", EXAMPLES, "--project", "examples", "--hold", "--json").document
    assert (again["uploaded"], again["unchanged"]) == (0, 9)
    person.types("cancel", again["job"])


def test_up_again_changes_nothing(person: Person, fetched: Fetched) -> None:
    receipt = person.types("up", "--yes", "--json").document
    assert [receipt[done] for done in ("created", "updated", "replaced", "deleted")] == [[], [], [], []]
    assert person.types("plan", "--json").document["changes"] == 0


def test_status_names_parts_processes_and_endpoint(person: Person) -> None:
    status = person.types("status", "--json").document
    assert {part["state"] for part in status["resources"]} == {"present"}
    assert {"supervisor", "ministack", "moto"} <= {one["name"] for one in status["local"]["processes"]}
    assert status["local"]["endpoints"]["default"].startswith("http://127.0.0.1:")
    assert "secret" not in json.dumps(status).lower()


def test_jobs_lists_the_newest_first(person: Person, fetched: Fetched) -> None:
    listed = person.types("jobs", "--json").document
    assert [one["job"] for one in listed] == sorted((one["job"] for one in listed), reverse=True)
    assert any(one["project"] == "examples" and one["done"] == 9 for one in listed)


def test_run_does_it_in_one_and_says_which_items_failed_and_why(mixed: Fetched) -> None:
    failures = json.loads((mixed.folder / "failures.json").read_text())
    codes = {one["file_name"]: one["code"] for one in failures}
    assert codes == {"broken.jpg": "truncated", "empty.png": "empty"}


def test_failed_items_are_sent_again_and_nothing_else(person: Person, mixed: Fetched) -> None:
    person.types("retry", mixed.job, "--failed")
    view = person.types("watch", mixed.job, "--json", code=3).document
    assert (view["generation"], view["done"], view["failed"]) == (1, 3, 2)
    report = person.types("fetch", mixed.job, "-o", str(mixed.folder), "--json", code=3).document
    assert (report["done"], report["failed"], report["files_fetched"]) == (3, 2, 0)


def test_names_that_are_hard_come_through(person: Person) -> None:
    folder = speckled(person.folder / "names", 4)
    hard = ["a b+c%20d.jpg", "größe/日本.jpg", "same.jpg", "deep/" * 20 + "x.jpg"]
    for old, new in zip(sorted(folder.iterdir()), hard, strict=True):
        (folder / new).parent.mkdir(parents=True, exist_ok=True)
        old.rename(folder / new)
    (folder / "same.png").write_bytes(png())
    report = person.types("run", str(folder), "--project", "names", "-o", "names-results", "--json").document
    assert report["done"] == 5
    coco = quiet_coco(person.folder / "names-results" / "annotations.json")
    assert {image["file_name"] for image in coco.imgs.values()} == {*hard, "same.png"}


def png() -> bytes:
    """The smallest photograph of nothing, as PNG."""
    import cv2
    import numpy as np

    return bytes(cv2.imencode(".png", np.full((8, 8, 3), 90, np.uint8))[1].tobytes())
