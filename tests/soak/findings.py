"""What is wrong with a job that has ended: lost, double, half-written, or counted wrongly."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2

FINAL = ("annotations.json", "failures.json", "report.html")
A_PICTURE = ("annotations.json", "overlay.jpg", "masks")
"""Of each image's folder among the results."""


def faults(view: Mapping[str, Any], planted: Mapping[str, int], *, jobs: int) -> list[str]:
    """By what `watch --json` said of the job, what was planted in its images, and how many jobs the project has."""
    count = len(planted)
    expected = {"items": count, "done": count, "failed": 0, "dead": 0, "cancelled": 0}
    wrong = [f"{name} is {view[name]} and not {number}" for name, number in expected.items() if view[name] != number]
    if (found := view["counts"].get("annotations")) != (total := sum(planted.values())):
        wrong.append(f"annotations are {found} and not {total}")
    if jobs != 1:
        wrong.append(f"there are {jobs} jobs and not one")
    return wrong


def faults_of(folder: Path, planted: Mapping[str, int]) -> list[str]:
    """What is wrong with fetched results."""
    if missing := [name for name in FINAL if not (folder / name).is_file()]:
        return [f"{', '.join(missing)} not there"]
    merged = _document(folder / "annotations.json")
    if merged is None:
        return ["annotations.json is half-written"]
    return [*_of_names([one["file_name"] for one in merged["images"]], planted), *_of_files(folder, planted, merged)]


def _of_names(found: Sequence[str], planted: Mapping[str, int]) -> Iterator[str]:
    checks: Sequence[tuple[str, Callable[[str], bool]]] = (
        ("lost", lambda name: name not in found),
        ("there twice", lambda name: found.count(name) > 1),
    )
    for words, is_wrong in checks:
        if names := [name for name in planted if is_wrong(name)]:
            yield f"{len(names)} {words}: {', '.join(names[:5])}"
    if strangers := sorted(set(found) - set(planted)):
        yield f"{len(strangers)} never sent: {', '.join(strangers[:5])}"


def _of_files(folder: Path, planted: Mapping[str, int], merged: Mapping[str, Any]) -> Iterator[str]:
    names = {one["id"]: one["file_name"] for one in merged["images"]}
    counted = Counter(names.get(one["image_id"]) for one in merged["annotations"])
    if wrong := [name for name, number in planted.items() if counted[name] != number]:
        yield f"{len(wrong)} with other counts in annotations.json: {', '.join(wrong[:5])}"
    if left := sorted(path.name for path in folder.rglob("*") if path.name.endswith((".part", ".tmp"))):
        yield f"{len(left)} left half-written: {', '.join(left[:5])}"
    for name, number in planted.items():
        if problem := _of_one(folder / "items" / Path(name).stem, number):
            yield f"{name}: {problem}"


def _of_one(folder: Path, number: int) -> str:
    """What is wrong with one image's files; "" where nothing is."""
    if missing := [name for name in A_PICTURE if not (folder / name).exists()]:
        return f"{', '.join(missing)} not there"
    coco = _document(folder / "annotations.json")
    if coco is None or len(coco["annotations"]) != number:
        return "annotations.json is half-written or counts wrongly"
    masks = [cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in (folder / "masks").iterdir()]
    if [None if mask is None else int(mask.max()) for mask in masks] != [number]:
        return "the masks are half-written or of another number"
    if not (folder / "overlay.jpg").read_bytes().endswith(b"\xff\xd9"):
        return "overlay.jpg is half-written"
    return ""


def _document(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except ValueError:
        return None
