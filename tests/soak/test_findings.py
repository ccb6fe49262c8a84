"""Each fault that a storm may leave is found, and in good results none is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from tests.soak.findings import faults, faults_of

PLANTED = {"a.png": 2, "b.png": 3}
GOOD = {"items": 2, "done": 2, "failed": 0, "dead": 0, "cancelled": 0, "counts": {"annotations": 5}}
Change = Callable[[Path], None]


def merged() -> dict[str, Any]:
    """What annotations.json says of good results."""
    images = [{"id": number, "file_name": name} for number, name in enumerate(PLANTED)]
    found = [{"image_id": number} for number, count in enumerate(PLANTED.values()) for _ in range(count)]
    return {"images": images, "annotations": found}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A folder of results with nothing wrong."""
    for name in ("failures.json", "report.html"):
        (tmp_path / name).write_text("[]")
    (tmp_path / "annotations.json").write_text(json.dumps(merged()))
    for name, count in PLANTED.items():
        folder = tmp_path / "items" / Path(name).stem
        (folder / "masks").mkdir(parents=True)
        (folder / "annotations.json").write_text(json.dumps({"annotations": [{}] * count}))
        labels = np.arange(count + 1, dtype=np.uint16).reshape(1, -1)
        cv2.imwrite(str(folder / "masks" / f"{folder.name}_masks.tif"), labels)
        cv2.imwrite(str(folder / "overlay.jpg"), np.zeros((8, 8, 3), np.uint8))
    return tmp_path


def rewritten(**changes: Any) -> Change:
    """annotations.json says something else."""
    return lambda folder: (folder / "annotations.json").write_text(json.dumps({**merged(), **changes})) and None


def cut(name: str) -> Change:
    """A file ends early."""
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-9]) and None


IMAGES = merged()["images"]


def test_good_results_have_no_fault(results: Path) -> None:
    assert faults_of(results, PLANTED) == []
    assert faults(GOOD, PLANTED, jobs=1) == []


@pytest.mark.parametrize(
    ("view", "jobs", "told"),
    [
        ({"done": 3}, 1, "done is 3 and not 2"),
        ({"dead": 1}, 1, "dead is 1 and not 0"),
        ({"counts": {"annotations": 8}}, 1, "annotations are 8 and not 5"),
        ({}, 2, "there are 2 jobs and not one"),
    ],
)
def test_wrong_counts_are_told(view: dict[str, Any], jobs: int, told: str) -> None:
    assert faults({**GOOD, **view}, PLANTED, jobs=jobs) == [told]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (rewritten(images=IMAGES[:1]), "1 lost: b.png"),
        (rewritten(images=[*IMAGES, {"id": 9, "file_name": "b.png"}]), "1 there twice: b.png"),
        (rewritten(images=[*IMAGES, {"id": 9, "file_name": "z.png"}]), "1 never sent: z.png"),
        (rewritten(annotations=[{"image_id": 0}] * 5), "2 with other counts in annotations.json: a.png, b.png"),
        (cut("annotations.json"), "annotations.json is half-written"),
        (lambda folder: (folder / "report.html").unlink(), "report.html not there"),
        (lambda folder: (folder / "items" / "a" / "x.part").write_text(""), "1 left half-written: x.part"),
        (cut("items/a/annotations.json"), "a.png: annotations.json is half-written or counts wrongly"),
        (cut("items/b/masks/b_masks.tif"), "b.png: the masks are half-written or of another number"),
        (cut("items/b/overlay.jpg"), "b.png: overlay.jpg is half-written"),
        (lambda folder: (folder / "items" / "b" / "overlay.jpg").unlink(), "b.png: overlay.jpg not there"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_wrong_with_files_is_told(results: Path, change: Change, told: str) -> None:
    change(results)
    assert told in faults_of(results, PLANTED)
