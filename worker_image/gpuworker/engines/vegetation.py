"""Vegetation: crowns and plants by colour and shape alone: excess green, Otsu's threshold, a watershed; no weights.

The agronomist's baseline. Excess green (Woebbecke 1995) tells plants from soil, Otsu's threshold (1979) where the line
is, and a watershed parts plants that touch: from every green pixel one climbs to the top of its plant, over a surface
that is high far from the edge and where it is greenest. Where a whole scene is green, or a plant is not, it is blind.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from gpuworker.engines.base import Engine
from gpuworker.engines.options import Options
from gpuworker.images.decoding import Image
from gpuworker.masks.instances import Instance

VERSION = "1"
CATEGORY = "vegetation"

PIXELS_AT_MOST = 12_000_000
"""Larger pictures are looked at reduced: some fifty bytes a pixel are at work, in every thread."""
USUAL_RADIUS_PX = 10.0
"""Plants' half width for which all sizes in pixels below are meant; pictures of larger ones are reduced to it."""
CLOSED_CANOPY = 0.7
"""A share of green beyond which its extent says nothing about the size of a plant."""
ROUNDS, CLOSE_ENOUGH = 4, 0.9
SHORT_SIDE_PX = 256
"""No picture is reduced below this on its way to the usual radius."""

LEAST_GREEN = 0.03
"""Otsu's threshold parts any picture in two, one of bare soil as well: what is less green than this is no plant."""
DARK = 60.0
"""Added to the brightness that green is compared with: in shadows a grey level or two would make a strong colour."""
SMOOTH_PX = 1.5
TOP_PX = 3.0
"""Standard deviations of the smoothing before the index, and of the tops."""
SHALLOW = 0.05
"""Two tops are one plant's if the saddle between them is at most this share lower than the lower top."""
LEAST_SIDE_PX = 12
LEAST_AREA_PX = 200
"""What is smaller is a weed or a speck."""
FREE_FLOOR = 0.4
"""What remains of the score of a plant that others enclose."""

Labels = NDArray[np.int32]
Floats = NDArray[np.float32]


class Vegetation(Engine):
    """It has no state, so any number of threads may be inside."""

    def __init__(self) -> None:
        self.infer_threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

    def load(self, device: str) -> None:
        """Nothing to load."""

    @property
    def info(self) -> Mapping[str, Any]:
        return {
            "name": "vegetation",
            "version": VERSION,
            "notes": "green plants by excess green, Otsu's threshold and a watershed; it tells no kinds apart",
        }

    def categories(self, options: Options) -> Sequence[str]:
        if len(options.prompts) > 1:
            asked = ", ".join(map(repr, options.prompts))
            raise ValueError(
                f"vegetation tells no kinds of plants apart: it takes one prompt as their name, not {asked}"
            )
        return options.prompts or (CATEGORY,)

    def detect(self, prepared: Sequence[Image], options: Options) -> Sequence[list[Instance]]:
        return [self._detect(image, options) for image in prepared]

    def _detect(self, image: Image, options: Options) -> list[Instance]:
        self.categories(options)
        plants = sorted(plants_in(image.rgb), key=lambda plant: -plant.score)
        return [_instance(plant, image) for plant in plants if plant.score >= options.lowest_threshold]


@dataclass(frozen=True, kw_only=True, eq=False)
class Plant:
    """One plant: `mask` h×w bool with its left upper corner at (`left`, `top`) of a picture of `shape` (H, W)."""

    left: int
    top: int
    mask: NDArray[np.bool_]
    score: float
    shape: tuple[int, int]


def plants_in(rgb: NDArray[np.uint8]) -> Iterator[Plant]:
    """Plants of H×W×3 uint8 `rgb`, in coordinates of the picture as it was looked at (`Plant.shape`)."""
    looked_at = _reduced(rgb, min(1.0, (PIXELS_AT_MOST / (rgb.shape[0] * rgb.shape[1])) ** 0.5))
    green = excess_green(looked_at)
    mask = green_mask(green)
    for _ in range(ROUNDS):  # leaves and gaps make plants look smaller than they are, until they are smoothed away
        share = _to_usual_radius(mask)
        if share > CLOSE_ENOUGH:
            break
        looked_at = _reduced(looked_at, share)
        green = excess_green(looked_at)
        mask = green_mask(green)
    labels = watershed(_surface(green, mask), mask)
    return _plants(labels)


def _reduced(rgb: NDArray[np.uint8], share: float) -> NDArray[np.uint8]:
    if share >= 1:
        return rgb
    size = (max(1, round(rgb.shape[1] * share)), max(1, round(rgb.shape[0] * share)))
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)


def _to_usual_radius(mask: NDArray[np.uint8]) -> float:
    """By how much to reduce the picture so that its plants are of the usual size; 1 where they are not much larger."""
    if not mask.any() or mask.mean() > CLOSED_CANOPY:
        return 1.0
    inside = cv2.distanceTransform(mask, cv2.DIST_L2, 5).astype(np.float64)
    radius = float(np.square(inside).sum() / inside.sum())
    return min(1.0, max(USUAL_RADIUS_PX / radius, SHORT_SIDE_PX / float(min(mask.shape))))


def excess_green(rgb: NDArray[np.uint8]) -> Floats:
    """H×W×3 uint8 -> H×W: twice green less red and blue, as a share of the brightness; 0 is grey."""
    smooth = cv2.GaussianBlur(rgb, (0, 0), SMOOTH_PX).astype(np.float32)
    red, green, blue = cv2.split(smooth)
    return np.asarray((2 * green - red - blue) / (red + green + blue + np.float32(DARK)), np.float32)


def green_mask(green: Floats) -> NDArray[np.uint8]:
    """H×W, 1 where a plant is, without specks and pinholes."""
    grey = np.clip(green * 256 + 64, 0, 255).astype(np.uint8)
    otsu, _ = cv2.threshold(grey, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    level = max((otsu - 64) / 256, LEAST_GREEN)
    mask = (green > level).astype(np.uint8)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))
    for step in (cv2.MORPH_OPEN, cv2.MORPH_CLOSE):
        mask = np.asarray(cv2.morphologyEx(mask, step, disc), np.uint8)
    return mask


def _surface(green: Floats, mask: NDArray[np.uint8]) -> Floats:
    """H×W: high far from the edge and where it is greenest; 0 outside of the mask."""
    # Where all is green there is no edge to be far from, and distances are without bound.
    far = np.minimum(cv2.distanceTransform(mask, cv2.DIST_L2, 5), np.float32(max(mask.shape)))
    inside = cv2.GaussianBlur(far, (0, 0), TOP_PX)
    colour = cv2.GaussianBlur(np.clip(green, 0, None) * mask, (0, 0), TOP_PX)
    return np.asarray(np.sqrt(inside * colour) * mask, np.float32)


# --- the watershed ---


def watershed(surface: Floats, mask: NDArray[np.uint8]) -> Labels:
    """H×W labels from 1, 0 outside of `mask` (H×W uint8): a label a top, where tops that no deep saddle parts are one.

    cv2.watershed floods by the difference of neighbouring colours, not by height: it cannot follow a surface.
    """
    ends = _climb(surface)
    inside = mask.ravel() > 0
    is_top = (ends == np.arange(len(ends))) & inside
    # Tops that touch are equally high, or one would climb to the other: a plateau is one top.
    count, plateau = cv2.connectedComponents(is_top.astype(np.uint8).reshape(surface.shape), connectivity=8)
    number = plateau.ravel() - 1
    height = np.zeros(count - 1, np.float32)
    height[number[is_top]] = surface.ravel()[is_top]
    basin = np.where(inside, number[ends], count - 1).astype(np.int32).reshape(surface.shape)
    plant_of = np.append(_joined(height, *_saddles(basin, surface, count - 1)), -1)
    return np.asarray(plant_of[basin] + 1, np.int32)


def _climb(surface: Floats) -> NDArray[np.int32]:
    """For every pixel the one (of the flattened picture) where the steepest way up from it ends."""
    height, width = surface.shape
    way = np.arange(height * width, dtype=np.int32).reshape(height, width)
    highest, steps = surface.copy(), way.copy()
    around = np.pad(surface, 1, constant_values=-1)
    for down, right in ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)):
        neighbour = around[1 + down : 1 + down + height, 1 + right : 1 + right + width]
        better = neighbour > highest
        np.copyto(highest, neighbour, where=better)
        np.copyto(steps, way + (down * width + right), where=better)
    ends = steps.ravel()
    while True:  # every round doubles the way that was gone, so a few suffice
        further = ends[ends]
        if np.array_equal(further, ends):
            return ends
        ends = further


def _saddles(basin: Labels, surface: Floats, outside: int) -> tuple[Labels, Labels, Floats]:
    """(one basin, the other, the highest pass between them) of all that touch, the highest pass first."""
    ones, others, heights = [], [], []
    for a, b in ((np.s_[:, 1:], np.s_[:, :-1]), (np.s_[1:], np.s_[:-1])):
        meets = (basin[a] != basin[b]) & (basin[a] != outside) & (basin[b] != outside)
        left, right = basin[a][meets], basin[b][meets]
        ones.append(np.minimum(left, right))
        others.append(np.maximum(left, right))
        heights.append(np.minimum(surface[a][meets], surface[b][meets]))
    one, other, height = np.concatenate(ones), np.concatenate(others), np.concatenate(heights)
    order = np.lexsort((other, one, -height))
    return one[order], other[order], height[order]


def _joined(tops: Floats, one: Labels, other: Labels, saddle: Floats) -> NDArray[np.int64]:
    """Top -> number of its plant, from 0: passes from the highest down, each joining what it hardly parts."""
    parent = list(range(len(tops)))
    height = tops.tolist()

    def root(node: int) -> int:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for a, b, at in zip(one.tolist(), other.tolist(), saddle.tolist(), strict=True):
        high, low = root(a), root(b)
        if high == low:
            continue
        if height[high] < height[low]:
            high, low = low, high
        if height[low] - at <= SHALLOW * height[low]:
            parent[low] = high
    return np.unique([root(node) for node in range(len(tops))], return_inverse=True)[1]


# --- from labels to instances ---


def _plants(labels: Labels) -> Iterator[Plant]:
    """Each label's pixels, unless there are too few of them to tell anything."""
    at = np.flatnonzero(labels)
    label = labels.ravel()[at]
    at = at[np.argsort(label, kind="stable")]
    starts = np.cumsum(np.bincount(label, minlength=1))[:-1] if len(label) else np.zeros(0, np.int64)
    for pixels in np.split(at, starts[1:]):
        if len(pixels) < LEAST_AREA_PX:
            continue
        rows, columns = np.divmod(pixels, labels.shape[1])
        top, left = int(rows.min()), int(columns.min())
        height, width = int(rows.max()) + 1 - top, int(columns.max()) + 1 - left
        if min(height, width) < LEAST_SIDE_PX:
            continue
        mask = np.zeros((height, width), np.bool_)
        mask[rows - top, columns - left] = True
        score = _score(mask, _free(labels, mask, top=top, left=left))
        yield Plant(left=left, top=top, mask=mask, score=score, shape=(labels.shape[0], labels.shape[1]))


def _score(mask: NDArray[np.bool_], free: float) -> float:
    """How much it looks like one whole plant, 0 to 1: of a usual size, without bays, and standing free of others.

    Seen on drawn crowns: how green it is tells nothing, and where a plant touches others its outline is a guess.
    """
    rows, columns = np.nonzero(mask)
    hull = float(cv2.contourArea(cv2.convexHull(np.stack([columns, rows], 1).astype(np.int32))))
    solid, size = len(rows) / max(hull, len(rows)), min(mask.shape) / (3 * USUAL_RADIUS_PX)
    return float(solid * min(1.0, size) * (FREE_FLOOR + (1 - FREE_FLOOR) * free))


def _free(labels: Labels, mask: NDArray[np.bool_], *, top: int, left: int) -> float:
    """The share of a plant's rim that touches no other plant."""
    wide = np.pad(mask, 1).astype(np.uint8)
    rim = cv2.dilate(wide, np.ones((3, 3), np.uint8)) > wide
    rows, columns = np.nonzero(rim)
    rows, columns = rows + top - 1, columns + left - 1
    inside = (rows >= 0) & (columns >= 0) & (rows < labels.shape[0]) & (columns < labels.shape[1])
    return float((labels[rows[inside], columns[inside]] == 0).mean()) if inside.any() else 1.0


def _instance(plant: Plant, image: Image) -> Instance:
    """The plant in the full image's pixels."""
    down, across = image.height / plant.shape[0], image.width / plant.shape[1]
    left, right = round(plant.left * across), round((plant.left + plant.mask.shape[1]) * across)
    top, bottom = round(plant.top * down), round((plant.top + plant.mask.shape[0]) * down)
    size = (max(1, right - left), max(1, bottom - top))
    mask = plant.mask
    if size != mask.shape[::-1]:
        mask = cv2.resize(mask.astype(np.uint8) * 255, size, interpolation=cv2.INTER_LINEAR) > 127
    return Instance(x=left, y=top, mask=mask, score=plant.score, category_id=1, source="watershed")
