"""Objects in images as files tell them: COCO documents, folders that `fetch` filled, and CSV files of boxes."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from pathlib import Path

from gpupipe.errors import InputError
from gpupipe.evaluation.coco_file import read_coco
from gpupipe.evaluation.objects import Box, Picture, Thing
from gpupipe.evaluation.objects import Labelled as Labelled

ANNOTATIONS = "annotations.json"
CSV_COLUMNS = ("image_path", "xmin", "ymin", "xmax", "ymax", "label")


def read_labelled(path: Path) -> Labelled:
    """Read a COCO file, a folder of results or a CSV of boxes. Raises InputError."""
    if path.is_dir():
        return _folder(path)
    if path.suffix.lower() == ".csv":
        return _csv(path)
    return read_coco(path, _read(path))


def _folder(folder: Path) -> Labelled:
    if (folder / ANNOTATIONS).is_file():
        return read_coco(folder / ANNOTATIONS, _read(folder / ANNOTATIONS))
    raise InputError(
        f"there is no {ANNOTATIONS} in {folder}.",
        hint="Name a folder that `gpupipe fetch` or `gpupipe run` filled with results of `segment`, or a COCO file.",
    )


# --- CSV ---


def _csv(path: Path) -> Labelled:
    rows = csv.DictReader(_read(path).decode("utf-8-sig", "replace").splitlines())
    missing = [name for name in CSV_COLUMNS if name not in (rows.fieldnames or ())]
    if missing:
        raise InputError(
            f"{path} has no column {', '.join(missing)}.",
            hint=f"A CSV of boxes has the columns {', '.join(CSV_COLUMNS)}.",
        )
    pictures: dict[str, Picture] = {}
    things = []
    for row in rows:
        name = row["image_path"]
        pictures.setdefault(name, Picture(file_name=name))
        try:
            box = _csv_box(row)
        except (ValueError, TypeError) as error:
            raise InputError(f"{path}, line {rows.line_num}: {error}.") from error
        if box is not None:
            things.append(Thing(file_name=name, category=row["label"], box=box))
    return Labelled(path=path, pictures=pictures, things=things)


def _csv_box(row: Mapping[str, str]) -> Box | None:
    """The box of a row; None of one that only says that there is nothing in an image (no corners, or all 0)."""
    corners = [row[name] for name in CSV_COLUMNS[1:5]]
    if not any(corner.strip(" 0.") for corner in corners):
        return None
    left, top, right, bottom = (float(corner) for corner in corners)
    if not all(map(math.isfinite, (left, top, right, bottom))):
        raise ValueError(f"the box {', '.join(corners)} has no place: its corners are numbers of pixels")
    if right <= left or bottom <= top:
        raise ValueError(f"the box {left:g}, {top:g}, {right:g}, {bottom:g} has no area: xmax and ymax are corners")
    return left, top, right - left, bottom - top


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}.") from error
