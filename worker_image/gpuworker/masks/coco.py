"""COCO documents: the record of one image, the fragment it adds to a job's merged file, and the head they share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpuworker.contract import caveats_in
from gpuworker.geo.georeference import Georeference
from gpuworker.images.masked import Masked
from gpuworker.images.notes import NOTHING, PAGES_LEFT, Notes
from gpuworker.masks.instances import polygon_area, polygons, rle_texts, runs_of


def header(*, engine: Mapping[str, Any], options: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """`info`, `licenses` and `categories`; the same for every image of a job, and with every run of it."""
    return {
        "info": {
            "description": "Instances found in images by gpupipe",
            "version": str(engine["version"]),
            "engine": dict(engine),
            "options": dict(options),
        },
        "licenses": [],
        "categories": [{"id": i, "name": name, "supercategory": "object"} for i, name in enumerate(names, 1)],
    }


def fragment(
    instances: Sequence[Masked],
    *,
    file_name: str,
    height: int,
    width: int,
    segmentation: str,
    hidden_pixels: Sequence[int] | None = None,
    notes: Notes = NOTHING,
    place: Georeference | None = None,
) -> dict[str, Any]:
    """`image` and its `annotations`, ids from 1 in the order of `instances`, which must have at least a pixel each.

    `hidden_pixels`: for each instance, how many of its pixels the label image shows as another's. `notes`: their
    `warnings`, `page` and `pages_left` become keys of the image where there are any.
    `place`: of a georeferenced image, which gets `crs` (`EPSG:32617`; null where unknown) and `transform` (six numbers
    as rasterio's Affine has them; null where unknown), and each annotation `area_m2` where that can be told.
    """
    annotations: list[dict[str, Any]] = []
    runs: list[NDArray[np.int64]] = []
    for i, one in enumerate(instances, 1):
        tight = one.tight()
        if tight is None:
            raise ValueError(f"instance {i} has an empty mask")
        hidden = {} if hidden_pixels is None else {"hidden_pixels": hidden_pixels[i - 1]}
        shape = _as_polygons(tight) if segmentation == "polygons" else _as_rle(tight, height=height, width=width)
        annotations.append(_annotation(i, one, shape) | hidden | _on_earth(one, place))
        if segmentation != "polygons":
            runs.append(runs_of(tight.mask, x=tight.x, y=tight.y, height=height, width=width))
    for annotation, text in zip(annotations, rle_texts(runs), strict=False):
        annotation["segmentation"]["counts"] = text
    image: dict[str, Any] = {"id": 1, "file_name": file_name, "width": width, "height": height}
    if place is not None:
        image |= {"crs": place.crs, "transform": place.transform and list(place.transform)}
    return {"image": image | notes.as_keys, "annotations": annotations}


def counts(*parts: Mapping[str, Any]) -> dict[str, int]:
    """What a file's pictures add to the job's sums: annotations, their area on the map, and each warning once."""
    annotations = [one for part in parts for one in part["annotations"]]
    areas = [one["area_m2"] for one in annotations if "area_m2" in one]
    area = {"area_m2": round(sum(areas))} if areas else {}
    return {"annotations": len(annotations), **area, **dict.fromkeys(_warnings(parts), 1)}


def _warnings(parts: Sequence[Mapping[str, Any]]) -> list[str]:
    return [word for part in parts for word in part["image"].get("warnings", ())]


def record(head: Mapping[str, Any], *parts: Mapping[str, Any]) -> dict[str, Any]:
    """A complete COCO document of a file's pictures; `info` tells what their warnings mean, where they have any."""
    told = warnings_told(parts)
    info = {"info": {**head["info"], "warnings": told}} if told else {}
    images, annotations = numbered(parts)
    return {**head, **info, "images": images, "annotations": annotations}


def warnings_told(parts: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """What the warnings of a file's pictures mean; which pages were left, too."""
    told = caveats_in(_warnings(parts))
    left = [number for part in parts for number in part["image"].get("pages_left", ())]
    if PAGES_LEFT in told and left:
        told[PAGES_LEFT] += f" Left: {', '.join(map(str, left))}."
    return told


def numbered(parts: Sequence[Mapping[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """`images` and `annotations` of all pictures, ids from 1."""
    images = [{**part["image"], "id": number} for number, part in enumerate(parts, 1)]
    annotations: list[dict[str, Any]] = []
    for number, part in enumerate(parts, 1):
        annotations += [
            {**one, "id": len(annotations) + i, "image_id": number} for i, one in enumerate(part["annotations"], 1)
        ]
    return images, annotations


def _annotation(number: int, one: Masked, shape: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": number,
        "image_id": 1,
        "category_id": one.category_id,
        **shape,
        "iscrowd": 0,
        "score": round(one.score, 4),
        "mask_source": one.source,
    }


def _on_earth(one: Masked, place: Georeference | None) -> dict[str, float]:
    """Area to six digits: more than the mask's edge is worth, and free of the noise of multiplying."""
    area_m2 = place.area_m2(one) if place is not None else None
    return {} if area_m2 is None else {"area_m2": float(f"{area_m2:.6g}")}


def _as_rle(one: Masked, *, height: int, width: int) -> dict[str, Any]:
    """Without the run lengths themselves, which are written for all masks of an image together."""
    return {
        "segmentation": {"size": [height, width]},
        "area": one.area,
        "bbox": [one.x, one.y, one.width, one.height],
    }


def _as_polygons(one: Masked) -> dict[str, Any]:
    """Area and box of the outlines themselves, which fill holes and cut corners a little."""
    outlines = polygons(one.mask, x=one.x, y=one.y)
    xs = [value for outline in outlines for value in outline[0::2]]
    ys = [value for outline in outlines for value in outline[1::2]]
    return {
        "segmentation": outlines,
        "area": round(sum(polygon_area(outline) for outline in outlines), 1),
        "bbox": [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)],
    }
