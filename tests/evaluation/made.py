"""Truth and results in files, made from lists of boxes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Document = dict[str, Any]
Boxes = Sequence[tuple[str, str, tuple[float, float, float, float]]]
"""Image, category, x y width height."""


def document(boxes: Boxes, *, scores: Sequence[float] = (), images: Sequence[str] = (), size: int = 200) -> Document:
    """A COCO document; each box is its own mask as well."""
    names = list(dict.fromkeys([*images, *(name for name, _, _ in boxes)]))
    categories = list(dict.fromkeys(category for _, category, _ in boxes))
    return {
        "images": [{"id": i, "file_name": name, "width": size, "height": size} for i, name in enumerate(names, 1)],
        "categories": [{"id": i, "name": name} for i, name in enumerate(categories, 1)],
        "annotations": [
            {
                "id": i,
                "image_id": names.index(name) + 1,
                "category_id": categories.index(category) + 1,
                "bbox": list(box),
                "area": box[2] * box[3],
                "segmentation": [outline(box)],
                "iscrowd": 0,
                **({"score": scores[i - 1]} if scores else {}),
            }
            for i, (name, category, box) in enumerate(boxes, 1)
        ],
    }


def outline(box: tuple[float, float, float, float]) -> list[float]:
    x, y, width, height = box
    return [x, y, x + width, y, x + width, y + height, x, y + height]


def written(path: Path, what: Mapping[str, Any]) -> Path:
    path.write_text(json.dumps(what))
    return path


def scattered(seed: int, *, images: int = 4, each: int = 15, ties: bool = True) -> tuple[Document, Document]:
    """(truth, results) of two categories: most found again a little beside, some missed, some made up, one crowd."""
    random = np.random.default_rng(seed)
    true, found, scores = [], [], []
    for image in range(images):
        for _ in range(each):
            category = str(random.choice(["tree", "shrub"]))
            x, y, width, height = (float(value) for value in random.integers((0, 0, 10, 10), (150, 150, 50, 50)))
            true.append((f"{image}.png", category, (x, y, width, height)))
            if random.random() < 0.7:
                moved = (max(0.0, x + random.normal(0, 4)), y, width, max(2.0, height + random.normal(0, 4)))
                found.append((f"{image}.png", category, tuple(float(value) for value in moved)))
                alike = [0.5, 0.6] if ties else []
                scores.append(float(random.choice([*alike, random.random()])))
        for _ in range(each // 3):
            box = tuple(float(value) for value in random.integers((0, 0, 10, 10), (150, 150, 50, 50)))
            found.append((f"{image}.png", "tree", box))
            scores.append(float(random.random()))
    truth = document(true)  # type: ignore[arg-type]
    truth["annotations"][0]["iscrowd"] = 1
    truth["annotations"][0]["segmentation"] = _uncompressed(truth["annotations"][0]["bbox"], 200)
    results = document(found, scores=scores)  # type: ignore[arg-type]
    return truth, results


def _uncompressed(box: Sequence[float], size: int) -> dict[str, Any]:
    """Run lengths as COCO writes those of crowds."""
    mask = np.zeros((size, size), np.uint8)
    x, y, width, height = (int(value) for value in box)
    mask[y : y + height, x : x + width] = 1
    column = mask.ravel(order="F")
    edges = np.flatnonzero(np.diff(column)) + 1
    runs = np.diff(np.concatenate([[0], edges, [column.size]])).tolist()
    return {"size": [size, size], "counts": runs if column[0] == 0 else [0, *runs]}
