"""The exact outline of a mask: rings along the edges of its pixels, with holes, valid as polygons everywhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """One connected part of a mask: N×2 (column, row) corners of its outer ring and of its holes, not closed."""

    outer: NDArray[np.int64]
    holes: tuple[NDArray[np.int64], ...]


def parts(mask: NDArray[np.bool_], *, x: int, y: int) -> Iterator[Part]:
    """The parts of a crop placed at (x, y), the topmost first.

    Pixels that touch at a corner only are parts of their own, else a ring would touch itself there, which simple
    features (OGC 06-103r4) forbid. Within a part so cut no ring meets a corner twice, for two pixels that touch there
    and are connected elsewhere have the hole's and the outer side between them.
    """
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=4, ltype=cv2.CV_32S)
    for i in range(1, count):
        left, top, width, height = (int(value) for value in boxes[i][:4])
        crop = labels[top : top + height, left : left + width] == i
        yield _part(crop, x + left, y + top)


def _part(crop: NDArray[np.bool_], x: int, y: int) -> Part:
    # At double size every pixel has border pixels of its own on each side; halved, they fall on the pixels' edges.
    doubled = cv2.resize(crop.view(np.uint8), None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)
    contours, hierarchy = cv2.findContours(doubled, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    outer = next(i for i in range(len(contours)) if hierarchy[0][i][3] < 0)
    rings = [_ring(contour) + np.array((x, y)) for contour in contours]
    return Part(outer=rings[outer], holes=tuple(ring for i, ring in enumerate(rings) if i != outer))


def _ring(contour: NDArray[np.int32]) -> NDArray[np.int64]:
    """A contour at double size as corners of pixels, without those that lie on a straight line."""
    corners: NDArray[np.int64] = ((contour[:, 0, :] + 1) // 2).astype(np.int64)
    corners = corners[np.any(corners != np.roll(corners, 1, axis=0), axis=1)]
    before, after = corners - np.roll(corners, 1, axis=0), np.roll(corners, -1, axis=0) - corners
    turns: NDArray[np.bool_] = before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]
    kept: NDArray[np.int64] = corners[turns]
    return kept
