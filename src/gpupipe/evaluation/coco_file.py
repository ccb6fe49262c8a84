"""COCO documents, as our results and the programs write them that people draw with."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field, ValidationError

from gpupipe.errors import InputError
from gpupipe.evaluation.objects import Box, Labelled, Picture, Segmentation, Thing
from gpupipe.evaluation.other_formats import told_of
from gpupipe.evaluation.run_lengths import box_of, runs_of

POLYGON_NUMBERS_AT_LEAST = 6
SIDE_PX_AT_MOST = 1_000_000
"""More than any picture has; pycocotools takes memory for every pixel along an outline, without end for 1e30."""
FORM = "A COCO file is one JSON object with `images`, `categories` and `annotations`."


def _as_number(value: Any) -> Any:
    """Numbers as numbers: some programs write ids as "1" in one list and as 1 or 1.0 in another."""
    if isinstance(value, str) and value.strip().isdecimal():
        return int(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


Id = Annotated[int | str, BeforeValidator(_as_number)]
Side = Annotated[int, BeforeValidator(lambda value: 0 if value is None else value), Field(ge=0, le=SIDE_PX_AT_MOST)]
"""Label Studio writes null of an image that it cannot open."""
Flag = Annotated[int, BeforeValidator(lambda value: int(value or 0) if isinstance(value, bool | None) else value)]


class _Image(BaseModel):
    id: Id
    file_name: str
    page: Any = None
    width: Side = 0
    height: Side = 0


class _Category(BaseModel):
    id: Id
    name: str


class _Annotation(BaseModel):
    id: Id | None = None
    image_id: Id
    category_id: Id
    bbox: list[float] | None = None
    segmentation: Any = None
    score: float = 1.0
    iscrowd: Flag = 0
    attributes: Any = None


class _Document(BaseModel):
    images: list[_Image]
    categories: list[_Category]
    annotations: list[_Annotation] = Field(default_factory=list)


def read_coco(path: Path, content: bytes) -> Labelled:
    """Read the content of a COCO file; `path` is for what is said of it. Raises InputError."""
    document = _document(path, content)
    images = _told_apart(document.images)
    try:
        pictures = _by_id("image", images, "file_name")
        names = _by_id("category", document.categories, "name")
        _require_once("image", [one.file_name for one in images])
        _require_no_copies(document.annotations)
        things = [_thing(one, pictures, names) for one in document.annotations]
    except ValueError as error:
        raise InputError(f"{path}: {error}.") from error
    return Labelled(path=path, pictures={one.file_name: _picture(one) for one in images}, things=things)


def _document(path: Path, content: bytes) -> _Document:
    try:
        return _Document.model_validate_json(content.removeprefix(b"\xef\xbb\xbf"))
    except ValidationError as error:
        if (told := told_of(content)) is not None:
            raise InputError(f"{path} is no COCO file: it is {told[0]}.", hint=told[1]) from error
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(
            f"{path} is no COCO file: {f'{where}: ' if where else ''}{first['msg']}.", hint=FORM
        ) from error


def _told_apart(images: Sequence[_Image]) -> Sequence[_Image]:
    """Pages of one file by their numbers too: a job with pages = "all" has an image of each, under the file's name."""
    counts = Counter(one.file_name for one in images)
    return [
        one.model_copy(update={"file_name": f"{one.file_name} (page {one.page})"})
        if counts[one.file_name] > 1 and one.page is not None
        else one
        for one in images
    ]


def _by_id(what: str, entries: Iterable[_Image | _Category], name: str) -> dict[int | str, str]:
    """Id -> name. Raises ValueError where two entries have the same id."""
    names: dict[int | str, str] = {}
    for entry in entries:
        told = getattr(entry, name)
        if names.setdefault(entry.id, told) != told:
            raise ValueError(f"the {what} id {entry.id} stands for both {names[entry.id]!r} and {told!r}")
    return names


def _require_once(what: str, names: Sequence[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"the {what} {name!r} is listed twice; name images by their paths, each once")
        seen.add(name)


def _require_no_copies(annotations: Iterable[_Annotation]) -> None:
    """The same id twice does no harm; the same object twice counts twice."""
    seen: dict[int | str, _Annotation] = {}
    for one in annotations:
        if one.id is not None and seen.setdefault(one.id, one) is not one and seen[one.id] == one:
            raise ValueError(f"annotation {one.id} is in the file twice; was it put together of files that overlap?")


def _picture(one: _Image) -> Picture:
    return Picture(file_name=one.file_name, width=one.width, height=one.height)


def _thing(one: _Annotation, pictures: Mapping[int | str, str], names: Mapping[int | str, str]) -> Thing:
    """Raises ValueError, which names the annotation."""
    called = "an annotation" if one.id is None else f"annotation {one.id}"
    if one.image_id not in pictures or one.category_id not in names:
        missing = one.image_id if one.image_id not in pictures else one.category_id
        raise ValueError(f"{called} names the image or category {missing!r}, which is not in it")
    file_name = pictures[one.image_id]
    try:
        box, segmentation = _covered(_box(one.bbox), _segmentation(one.segmentation), one.attributes)
    except ValueError as error:
        raise ValueError(f"{called} of {file_name} {error}") from error
    return Thing(
        file_name=file_name,
        category=names[one.category_id],
        box=box,
        segmentation=segmentation,
        score=one.score,
        is_crowd=bool(one.iscrowd),
    )


# --- what an object covers ---


def _covered(box: Box | None, segmentation: Segmentation | None, attributes: Any) -> tuple[Box, Segmentation | None]:
    degrees = attributes.get("rotation") if isinstance(attributes, Mapping) else None
    if box is not None and segmentation is None and isinstance(degrees, int | float) and degrees % 360:
        turned = [_turned(box, degrees)]
        return _box_around(turned), turned
    return box or _box_around(segmentation), segmentation


def _turned(box: Box, degrees: float) -> Sequence[float]:
    """The outline of a box that was drawn and then turned about its middle, clockwise: CVAT writes it as it was before,
    and the angle beside it."""
    x, y, width, height = box
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    halves = [(sx * width / 2, sy * height / 2) for sx, sy in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
    corners = [(dx * cos - dy * sin, dx * sin + dy * cos) for dx, dy in halves]
    return [place for dx, dy in corners for place in (x + width / 2 + dx, y + height / 2 + dy)]


def _box(told: Sequence[float] | None) -> Box | None:
    if not told:
        return None
    if len(told) != 4 or not all(map(math.isfinite, told)) or min(told[2:]) < 0:
        raise ValueError(f"has the bbox {_some(told)}; write [x, y, width, height] in pixels")
    x, y, width, height = told
    return x, y, width, height


def _segmentation(told: Any) -> Segmentation | None:
    """Run lengths or polygons. Raises ValueError for what is neither, and says what it is."""
    if not told:
        return None
    if isinstance(told, Mapping):
        try:
            runs = runs_of(told)
        except ValueError as error:
            raise ValueError(f"cannot be read: {error}") from error
        return {"size": told["size"], "counts": told["counts"] if isinstance(told["counts"], str) else runs}
    if not isinstance(told, list):
        raise ValueError(f"has a segmentation that is neither polygons nor run lengths, but {str(told)[:40]!r}")
    if _are_numbers(told):
        numbers = _some(told)
        raise ValueError(
            f"has a flat segmentation: a list of {len(told)} numbers, where COCO has a list of polygons; "
            f"write [{numbers}] in place of {numbers}"
        )
    for outline in told:
        _require_outline(outline)
    return told


def _require_outline(outline: Any) -> None:
    """Raises ValueError; pycocotools takes four numbers for a box, and fails at what is no number."""
    if isinstance(outline, list) and outline and all(isinstance(one, list) for one in outline):
        raise ValueError(
            f"has polygons of points, {_some(outline)}; write [[x1, y1, x2, y2, …]], without brackets within"
        )
    if not isinstance(outline, list) or not _are_numbers(outline):
        raise ValueError(f"has a polygon that is not a list of numbers: {str(outline)[:40]}")
    if any(abs(one) > SIDE_PX_AT_MOST for one in outline):
        raise ValueError(f"has a polygon that lies in no picture: {_some(outline)}; its numbers are pixels")
    if len(outline) == 2:
        raise ValueError(f"has polygons of points, {_some([outline])}; write [[x1, y1, x2, y2, …]], one list a polygon")
    if len(outline) < POLYGON_NUMBERS_AT_LEAST or len(outline) % 2:
        raise ValueError(
            f"has a polygon of {len(outline)} numbers, {_some(outline)}; it takes three corners, x and y each"
        )


def _are_numbers(values: Sequence[Any]) -> bool:
    return all(isinstance(one, int | float) and not isinstance(one, bool) and math.isfinite(one) for one in values)


def _box_around(segmentation: Segmentation | None) -> Box:
    """The box of an annotation that has none of its own."""
    if segmentation is None:
        raise ValueError("has neither bbox nor polygons")
    if isinstance(segmentation, Mapping):
        return box_of(runs_of(segmentation), height=int(segmentation["size"][0]))
    xs = [x for outline in segmentation for x in outline[0::2]]
    ys = [y for outline in segmentation for y in outline[1::2]]
    return min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)


def _some(values: Sequence[Any]) -> str:
    return f"[{', '.join(map(str, values[:4]))}{', …' if len(values) > 4 else ''}]"
