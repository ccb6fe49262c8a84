"""Free floor between closed walls: regions, their outlines, and why some of them are no rooms."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

LEAST_BREADTH_WALLS = 2.2
"""A room is broader than this many usual walls; less is the hollow of a double wall or a duct."""
_LEAST_FILL = 0.05
_FRAME_OF_PAGE, _FRAME_FILL = 0.85, 0.97
_BUILDING_OF_FRAME = 0.25
"""Rooms hold at least this share of the frame that a sheet has; what stands in the middle of a hall holds less."""


_LEAST_ENCLOSED = 0.3
"""At least this share of a room's outline is wall; less was made of gaps between things that are none."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Region:
    """A room on the upright canvas: `corners` n×2 (pixels' outer corners), and how much of its outline is wall."""

    corners: NDArray[np.float64]
    enclosed: float


@dataclass(frozen=True, kw_only=True)
class Found:
    """The rooms, top to bottom and left to right, and how many regions were refused for which reason."""

    regions: list[Region]
    rejected: Counter[str]


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What a room may be: its area in pixels, its breadth, and how much its outline may be simplified."""

    least_area: float
    most_area: float
    least_breadth_px: float
    epsilon_factor: float


def regions_of(walls: NDArray[np.uint8], closed: NDArray[np.uint8], bounds: Bounds) -> Found:
    """Rooms among the parts of the paper that `closed` (walls and bridged holes) keeps apart; it and
    `walls` are H×W uint8 of 0 and 1."""
    free: NDArray[np.uint8] = (cv2.copyMakeBorder(closed, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0) == 0).view(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(free, connectivity=4, ltype=cv2.CV_32S)
    outside = int(labels[0, 0])
    broad = _broad(free, labels, count, bounds.least_breadth_px)
    rejected: Counter[str] = Counter()
    regions = []
    for number in range(1, count):
        left, top, width, height, area = (int(value) for value in stats[number])
        # Crumbs between strokes are not worth a count.
        if number == outside or area < bounds.least_area / 10:
            continue
        reason = _refusal(area, width * height, bounds, broad=bool(broad[number]))
        if reason:
            rejected[reason] += 1
            continue
        crop = (labels[top : top + height, left : left + width] == number).view(np.uint8)
        outline = _outline(crop) + np.array([left - 1, top - 1], np.int32)
        corners, enclosed = _simplified(outline, bounds.epsilon_factor), _enclosed(walls, outline)
        if len(corners) < 3 or enclosed < _LEAST_ENCLOSED:
            rejected["too_thin" if len(corners) < 3 else "open"] += 1
        else:
            regions.append(Region(corners=corners, enclosed=enclosed))
    rooms = [region for region in regions if not _is_margin(region, regions, walls.shape)]
    if len(rooms) < len(regions):
        rejected["margin"] += len(regions) - len(rooms)
    return Found(regions=rooms, rejected=rejected)


def _is_margin(region: Region, regions: list[Region], shape: tuple[int, ...]) -> bool:
    """Whether it is the paper between a drawn frame and the building: a rectangle nearly as large as the page in which
    all other rooms lie, and they fill enough of it to be no core of one large room."""
    others = [one for one in regions if one is not region]
    low, high = region.corners.min(0), region.corners.max(0)
    if not others or (high - low < _FRAME_OF_PAGE * np.array(shape[1::-1])).any():
        return False
    _, sides, _ = cv2.minAreaRect(region.corners.astype(np.float32))
    if _area(region) < _FRAME_FILL * sides[0] * sides[1]:
        return False
    inside = all((one.corners.min(0) > low).all() and (one.corners.max(0) < high).all() for one in others)
    return inside and sum(_area(one) for one in others) >= _BUILDING_OF_FRAME * _area(region)


def _area(region: Region) -> float:
    return float(cv2.contourArea(region.corners.astype(np.float32)))


def _broad(
    free: NDArray[np.uint8], labels: NDArray[np.int32], count: int, least_breadth_px: float
) -> NDArray[np.bool_]:
    """For each label whether a disc of that diameter fits in; one pass for all of them."""
    distance = cv2.distanceTransform(free, cv2.DIST_L2, 3)
    return np.bincount(labels[2 * distance >= least_breadth_px], minlength=count) > 0


def _refusal(area: int, box_area: int, bounds: Bounds, *, broad: bool) -> str:
    """Why a region is no room; "" where it may be one."""
    if area < bounds.least_area:
        return "too_small"
    if area > bounds.most_area:
        return "too_large"
    # What fills so little of its box is a stripe or a web, and would cost a page's work to trace.
    return "" if broad and area >= _LEAST_FILL * box_area else "too_thin"


def _outline(crop: NDArray[np.uint8]) -> NDArray[np.int32]:
    """The outer edge of a mask (n×2) between its pixels: traced at double size, whose border pixels lie beside it."""
    doubled = cv2.resize(crop, None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)
    contours, _ = cv2.findContours(doubled, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    longest = max(contours, key=len)
    outline: NDArray[np.int32] = ((longest[:, 0, :] + 1) // 2).astype(np.int32)
    return outline


def _simplified(outline: NDArray[np.int32], epsilon_factor: float) -> NDArray[np.float64]:
    epsilon = epsilon_factor * cv2.arcLength(outline, True)
    corners: NDArray[np.float64] = cv2.approxPolyDP(outline, epsilon, True)[:, 0, :].astype(np.float64)
    return corners


def _enclosed(walls: NDArray[np.uint8], outline: NDArray[np.int32]) -> float:
    """The share of an outline that has real wall within two pixels."""
    columns = np.clip(outline[:, 0], 0, walls.shape[1] - 1)
    rows = np.clip(outline[:, 1], 0, walls.shape[0] - 1)
    left, top = max(0, int(columns.min()) - 3), max(0, int(rows.min()) - 3)
    near = cv2.dilate(walls[top : int(rows.max()) + 4, left : int(columns.max()) + 4], np.ones((5, 5), np.uint8))
    return float(near[rows - top, columns - left].mean())
