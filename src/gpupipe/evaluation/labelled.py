"""Objects in images as files tell them: COCO documents, folders that `fetch` filled, and CSV files of boxes."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from gpupipe.errors import InputError

ANNOTATIONS = "annotations.json"
CSV_COLUMNS = ("image_path", "xmin", "ymin", "xmax", "ymax", "label")

Box = tuple[float, float, float, float]
Segmentation = Mapping[str, Any] | Sequence[Sequence[float]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """An image; its size is 0 × 0 where the file does not tell."""

    file_name: str
    width: int = 0
    height: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Thing:
    """One object."""

    file_name: str
    category: str
    box: Box
    """x, y, width, height in pixels."""
    segmentation: Segmentation | None = None
    """COCO's run lengths or polygons; None where only the box is known."""
    score: float = 1.0
    is_crowd: bool = False


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """What one file tells: its images (also those without an object) and the objects in them."""

    path: Path
    pictures: Mapping[str, Picture]
    things: Sequence[Thing]


def read_labelled(path: Path) -> Labelled:
    """Read a COCO file, a folder of results or a CSV of boxes. Raises InputError."""
    if path.is_dir():
        return _folder(path)
    if path.suffix.lower() == ".csv":
        return _csv(path)
    return _coco(path)


# --- COCO ---


class _Image(BaseModel):
    id: int | str
    file_name: str
    width: int = 0
    height: int = 0


class _Category(BaseModel):
    id: int | str
    name: str


class _Annotation(BaseModel):
    image_id: int | str
    category_id: int | str
    bbox: Box | None = None
    segmentation: dict[str, Any] | list[list[float]] | None = None
    score: float = 1.0
    iscrowd: int = 0


class _Document(BaseModel):
    images: list[_Image]
    categories: list[_Category]
    annotations: list[_Annotation] = Field(default_factory=list)


def _folder(folder: Path) -> Labelled:
    if (folder / ANNOTATIONS).is_file():
        return _coco(folder / ANNOTATIONS)
    raise InputError(
        f"there is no {ANNOTATIONS} in {folder}.",
        hint="Name a folder that `gpupipe fetch` or `gpupipe run` filled with results of `segment`, or a COCO file.",
    )


def _coco(path: Path) -> Labelled:
    try:
        document = _Document.model_validate_json(_read(path))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(
            f"{path} is no COCO file: {f'{where}: ' if where else ''}{first['msg']}.",
            hint="A COCO file is one JSON object with `images`, `categories` and `annotations`.",
        ) from error
    pictures = {one.id: Picture(file_name=one.file_name, width=one.width, height=one.height) for one in document.images}
    names = {one.id: one.name for one in document.categories}
    try:
        things = [_thing(one, pictures[one.image_id], names[one.category_id]) for one in document.annotations]
    except KeyError as error:
        raise InputError(f"{path}: an annotation names the image or category {error}, which is not in it.") from error
    except ValueError as error:
        raise InputError(f"{path}: {error}.") from error
    return Labelled(path=path, pictures={one.file_name: one for one in pictures.values()}, things=things)


def _thing(one: _Annotation, picture: Picture, category: str) -> Thing:
    return Thing(
        file_name=picture.file_name,
        category=category,
        box=one.bbox or _box_of(one, picture),
        segmentation=one.segmentation or None,
        score=one.score,
        is_crowd=bool(one.iscrowd),
    )


def _box_of(one: _Annotation, picture: Picture) -> Box:
    """The box around polygons, of an annotation that has none."""
    if not isinstance(one.segmentation, list) or not one.segmentation:
        raise ValueError(f"an annotation of {picture.file_name} has neither bbox nor polygons")
    xs = [x for outline in one.segmentation for x in outline[0::2]]
    ys = [y for outline in one.segmentation for y in outline[1::2]]
    return min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)


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
    if right <= left or bottom <= top:
        raise ValueError(f"the box {left:g}, {top:g}, {right:g}, {bottom:g} has no area: xmax and ymax are corners")
    return left, top, right - left, bottom - top


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}.") from error


def names_of(things: Iterable[Thing]) -> list[str]:
    """Their categories, each once, in the order in which they come."""
    return list(dict.fromkeys(thing.category for thing in things))
