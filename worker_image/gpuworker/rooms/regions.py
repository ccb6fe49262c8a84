"""Free floor between closed walls: regions, their outlines, and why some of them are no rooms."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

_LEAST_BREADTH_WALLS = 1.6
"""A room is broader than this many usual walls; less is the hollow of a double wall or a duct."""


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


def regions_of(
    walls: NDArray[np.uint8],
    closed: NDArray[np.uint8],
    *,
    least_area: float,
    most_area: float,
    usual_wall_px: float,
    epsilon_factor: float,
) -> Found:
    """Rooms among the parts of the paper that `closed` (walls and bridged holes, H×W of 0 and 1) keeps apart."""
    page = cv2.copyMakeBorder(closed, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    free: NDArray[np.uint8] = (page == 0).view(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(free, connectivity=4, ltype=cv2.CV_32S)
    rejected: Counter[str] = Counter()
    regions = []
    outside = int(labels[0, 0])
    for number in range(1, count):
        if number == outside:
            continue
        left, top, width, height, area = (int(value) for value in stats[number])
        if area < least_area:
            # Crumbs between strokes are not worth a count.
            rejected["too_small"] += area >= least_area / 10
            continue
        if area > most_area:
            rejected["too_large"] += 1
            continue
        crop = (labels[top : top + height, left : left + width] == number).view(np.uint8)
        reason = _refusal(crop, usual_wall_px)
        if reason:
            rejected[reason] += 1
            continue
        outline = _outline(crop) + np.array([left - 1, top - 1], np.int32)
        corners = _simplified(outline, epsilon_factor)
        if len(corners) < 3:
            rejected["too_thin"] += 1
            continue
        regions.append(Region(corners=corners, enclosed=_enclosed(walls, outline)))
    return Found(regions=regions, rejected=+rejected)


def _refusal(crop: NDArray[np.uint8], usual_wall_px: float) -> str:
    padded = cv2.copyMakeBorder(crop, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    breadth = 2 * float(cv2.distanceTransform(padded, cv2.DIST_L2, 3).max())
    return "too_thin" if breadth < _LEAST_BREADTH_WALLS * usual_wall_px else ""


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
